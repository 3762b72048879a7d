"""
Dead letters that are retried automatically: those of outages that ended an attempt, and held removals.

A walk dead-letters an object that keeps failing and continues, but the cause may be a gateway. So these objects are
inspected again, with a delay that doubles; only success clears them. An object that is still in a queue writes its dead
letter again at each attempt, and so is never due here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sync.dead_letters.actions import retry_one
from sync.errors import RemovalHeld
from sync.events import Sources
from sync.model import DeadLetter
from sync.ports import Operate
from sync.protocol.leases import held
from sync.protocol.removals import lift_if_over
from sync.protocol.row_values import RowValue

CODES = (
    RemovalHeld.code,
    *(f"source.{name}" for name in ("dependency", "forbidden", "garbage", "garbled", "gateway", "refused")),
    *("source.throttled", "source.unavailable", "poison.object", "poison.study"),
    *(f"store.{name}" for name in ("contention", "forbidden", "garbled", "gateway", "unavailable")),
)
"""Codes of conditions that pass; their objects and studies are retried automatically."""

CURSOR = "dead-letters.retried"
"""Row of table ``cursors``: code -> where its next page begins."""

FIRST_DELAY = timedelta(minutes=20)
"""Longer than any delay between two attempts in a queue; doubles with each attempt."""

LONGEST_DELAY = timedelta(hours=6)

EVERY = timedelta(minutes=2)
PAGE = 100
"""Dead letters of each code that one run inspects."""

_LEASE = 120.0

_TOKENS: RowValue[Mapping[str, str]] = RowValue(Mapping[str, str])


def is_due(letter: DeadLetter, now: datetime) -> bool:
    """Return whether a dead letter has waited for long enough since its last attempt."""
    delay = FIRST_DELAY * float(2 ** min(max(letter.attempts - 1, 0), 16))
    return now - letter.last_at >= min(delay, LONGEST_DELAY)


async def retry_passing(sources: Sources, s: Operate) -> int:
    """
    Reinspect due objects and studies, a page of each code; lift the ceiling if no removal is held. Idempotent.

    Returns
    -------
    int
        Number of inspections requested.
    """
    cursor = await s.cursors.read(CURSOR)
    at = cursor.value.advanced_at if cursor is not None else None
    if at is not None and s.clock.now() - at < EVERY:
        return 0
    requeued, following = 0, dict[str, str]()
    async with held(CURSOR, s, seconds=_LEASE) as lease:
        if lease is None:
            return 0
        tokens = _TOKENS.read_or({}, lease.position, row=CURSOR)
        for code in CODES:
            page = await s.dead_letters.page(code=code, limit=PAGE, token=tokens.get(code))
            for letter in page.letters:
                if is_due(letter, s.clock.now()):
                    # The message before the position: after a crash in between it is sent twice, which is idempotent.
                    await retry_one(letter, sources, s)
                    requeued += 1
            if page.token:
                following[code] = page.token
        await lease.advance(_TOKENS.write(following))
    await lift_if_over(s)
    if requeued:
        s.telemetry.event("letters.retried_by_themselves", letters=requeued)
    return requeued
