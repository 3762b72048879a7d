"""
Objects whose message a killed host holds: inspected within a minute, not when its lease ends.

A host that is killed leaves its messages leased for ten minutes. A study among them has a dirty row, by which the sweep
enqueues it again; an object has nothing but its message. So when the queue of objects holds messages and none of them
waits for a worker, the source is listed: what it has received within the length of a lease, and the sync has not seen,
is enqueued once more. Messages that an outage has delayed look the same, so this is done a few times in the length of a
lease at most; what is left then waits for its lease, and the log says so. A deletion leaves nothing to list:
`sync.delivery.deletions` finds it.

Source: Azure Storage queue trigger, "Poison messages" (a lease of ten minutes, renewed while the host lives).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sync.delivery.deletions import enqueue_lost_deletions
from sync.errors import SourceGone, StaleToken
from sync.events import lost_message
from sync.model import Action, Change, ListedObject, Page
from sync.model.batches import batched
from sync.model.circles import Passed, listed_on
from sync.model.queues import OBJECTS_QUEUE
from sync.model.timestamps import Timestamp
from sync.ports import Deliver, Locate, ObjectListing, QueueDepths
from sync.protocol.known_rows import inspected_of
from sync.protocol.leases import held
from sync.protocol.row_values import RowValue

CURSOR = "lost object messages"

LEASE = timedelta(minutes=10)
"""Time after which the host's queue gives a message back by itself."""

SETTLING = timedelta(seconds=20)
"""Age from which an unseen object is taken for lost: a delivery takes less."""

ROUNDS = 4
"""Times in the length of a lease that the source is listed from its beginning."""

PAGES = 20
"""Pages that one call lists; the next call continues there."""

MOST = 256
"""
Objects that one call enqueues, about what two killed hosts held: delayed messages of an outage must not multiply.
"""

_AT_ONCE = 32
_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """
    Where listing stands: the container, None between two rounds, and the token of its next page.

    ``rounds`` are when the last ones began; ``told``: that there were enough of them has been logged.
    """

    container: int | None = None
    token: str | None = None
    passed: Passed = field(default_factory=Passed)
    """Tokens of the container until here."""
    rounds: tuple[Timestamp, ...] = ()
    told: bool = False


_STAND: RowValue[_Stand] = RowValue(_Stand)


async def enqueue_lost_objects(s: Deliver, queues: QueueDepths, listing: ObjectListing) -> int:
    """
    Enqueue recent objects that the sync has not seen while all messages of the queue are leased or delayed.

    The deletions that a killed process had in hand are enqueued too, whatever the queue looks like. Idempotent: an
    object that is inspected twice stays as it is. One worker at a time.

    Returns
    -------
    int
        How many were enqueued.

    Raises
    ------
    TransientError
        Storage or the source did not answer.
    """
    if await s.object_queue.is_empty():
        return 0  # a killed host holds none, because its messages count as long as they are leased
    deletions = await enqueue_lost_deletions(s)
    if not s.settings.containers or OBJECTS_QUEUE in await queues.oldest([OBJECTS_QUEUE]):
        return deletions
    return deletions + await _enqueue_listed(s, listing)


async def _enqueue_listed(s: Deliver, listing: ObjectListing) -> int:
    began, enqueued = s.clock.now(), 0
    async with held(CURSOR, s, seconds=_SECONDS) as lease:
        if lease is None:
            return 0
        before = _STAND.read_or(_Stand(), lease.position, row=CURSOR)
        stand = _begun(before, began)
        if stand is None:
            if not before.told:
                s.telemetry.event("object.left_to_leases", logging.WARNING, listings=ROUNDS)
                await lease.note(_STAND.write(replace(before, told=True)))
            return 0
        stand, enqueued = await _list_on(stand, began, s, listing)
        # Only now: whatever a crash leaves out here is listed again.
        await lease.advance(_STAND.write(stand))
    if enqueued:
        s.telemetry.event("object.swept", objects=enqueued, more=str(enqueued >= MOST).lower())
    return enqueued


def _begun(stand: _Stand, now: datetime) -> _Stand | None:
    """Return where to list on; None when enough rounds were made in the length of a lease."""
    rounds = tuple(began for began in stand.rounds if now - began < LEASE)
    if stand.container is not None and rounds:
        return replace(stand, rounds=rounds)
    if len(rounds) >= ROUNDS:
        return None
    return _Stand(container=0, rounds=(*rounds, now))


async def _list_on(stand: _Stand, now: datetime, s: Deliver, listing: ObjectListing) -> tuple[_Stand, int]:
    place, token, passed, enqueued = stand.container or 0, stand.token, stand.passed, 0
    for _ in range(PAGES):
        if place >= len(s.settings.containers):
            return _Stand(rounds=stand.rounds), enqueued
        try:
            page = await listing.page(s.settings.containers[place], token=token)
        except (SourceGone, StaleToken):
            page = Page()
        onward = listed_on(passed, page.token)
        lost = (await _lost(page.objects, now, s))[: MOST - enqueued]
        for listed in lost:
            await s.object_queue.send(lost_message(Change(object=listed.object, action=Action.CREATED)))
        enqueued += len(lost)
        if enqueued >= MOST:
            break  # the same page once more, when these have been inspected
        place, token, passed = (place, page.token, onward) if page.token is not None else (place + 1, None, Passed())
    return _Stand(container=place, token=token, passed=passed, rounds=stand.rounds), enqueued


async def _lost(objects: Sequence[ListedObject], now: datetime, s: Deliver) -> Sequence[ListedObject]:
    recent = [listed for listed in objects if SETTLING <= now - listed.last_modified < LEASE + SETTLING]
    inspected = await inspected_of(recent, s)
    unknown = [listed for listed in recent if listed.object.key not in inspected]
    lost: list[ListedObject] = []
    for some in batched(unknown, _AT_ONCE):
        seen = await asyncio.gather(*(_is_seen(listed, s) for listed in some))
        lost += [listed for listed, is_seen in zip(some, seen, strict=True) if not is_seen]
    return lost


async def _is_seen(listed: ListedObject, s: Locate) -> bool:
    """Return whether the object was inspected as it is listed, or waits for an operator."""
    stored = await s.locators.read(listed.object)
    if stored is None:
        return False
    return stored.value.has_dead_letter or (stored.value.settled and stored.value.etag == listed.etag)
