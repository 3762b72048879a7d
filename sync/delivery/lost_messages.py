"""
Finds objects whose message a killed host holds, so that they are inspected within a minute, not when the lease ends.

A host that is killed leaves its messages leased for ten minutes. A study among them has a dirty row, by which the sweep
enqueues it again; an object has only its message. So when the queue of objects holds messages and none of them waits
for a worker, the source is listed: objects that arrived within the length of a lease and that the sync has not seen are
enqueued again. Messages that an outage has delayed look the same, so the source is listed only a few times in the
length of a lease; objects that are still missing then wait for the lease to end, and the log says so. A deleted object
is in no listing: `sync.delivery.deletions` finds it.

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
"""Time after which the queue delivers a killed host's message again by itself."""

SETTLING = timedelta(seconds=20)
"""Age from which an unseen object counts as lost: a delivery takes less time."""

ROUNDS = 4
"""How often the source is listed from its beginning within the length of a lease."""

PAGES = 20
"""Pages that one call lists; the next call continues."""

MOST = 256
"""
Objects that one call enqueues, about as many as two killed hosts held: messages delayed by an outage must not multiply.
"""

_AT_ONCE = 32
_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """
    Position of the listing: the container (None between two rounds) and the token of its next page.

    ``rounds`` are the times at which the last rounds began; ``told``: the log says that there were enough of them.
    """

    container: int | None = None
    token: str | None = None
    passed: Passed = field(default_factory=Passed)
    """Tokens of the container so far."""
    rounds: tuple[Timestamp, ...] = ()
    told: bool = False


_STAND: RowValue[_Stand] = RowValue(_Stand)


async def enqueue_lost_objects(s: Deliver, queues: QueueDepths, listing: ObjectListing) -> int:
    """
    Enqueue recent objects that the sync has not seen while all messages of the queue are leased or delayed.

    Deletions that a killed process had begun are enqueued too, whatever the state of the queue. Idempotent: inspecting
    an object twice changes nothing. One worker at a time.

    Returns
    -------
    int
        Number of objects enqueued.

    Raises
    ------
    TransientError
        Storage or the source did not answer.
    """
    if await s.object_queue.is_empty():
        return 0  # no killed host holds any, because messages count as long as they are leased
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
        # Only now: after a crash before this line, the page is listed again.
        await lease.advance(_STAND.write(stand))
    if enqueued:
        s.telemetry.event("object.swept", objects=enqueued, more=str(enqueued >= MOST).lower())
    return enqueued


def _begun(stand: _Stand, now: datetime) -> _Stand | None:
    """Return where to continue the listing; None after enough rounds in the length of a lease."""
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
            break  # the same page again, once these have been inspected
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
    """Return whether the object was inspected in its listed state, or waits for an operator."""
    stored = await s.locators.read(listed.object)
    if stored is None:
        return False
    return stored.value.has_dead_letter or (stored.value.settled and stored.value.etag == listed.etag)
