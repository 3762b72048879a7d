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
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sync.delivery.deletions import enqueue_lost_deletions
from sync.errors import SourceGone, StaleToken
from sync.events import lost_message
from sync.model import Action, Change, ListedObject, Page
from sync.model.queues import OBJECTS_QUEUE
from sync.model.timestamps import timestamp_from
from sync.ports import Deliver, Locate, ObjectListing, QueueDepths
from sync.protocol.known_rows import inspected_of
from sync.protocol.leases import held

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
        position = _begun(lease.position, began)
        if position is None:
            if not lease.position.get("told"):
                s.telemetry.event("object.left_to_leases", logging.WARNING, listings=ROUNDS)
                await lease.note({**lease.position, "told": True})
            return 0
        position, enqueued = await _list_on(position, began, s, listing)
        # Only now: whatever a crash leaves out here is listed again.
        await lease.advance(position)
    if enqueued:
        s.telemetry.event("object.swept", objects=enqueued, more=str(enqueued >= MOST).lower())
    return enqueued


def _begun(position: Mapping[str, Any], now: datetime) -> Mapping[str, Any] | None:
    """Return where to list on; None when enough rounds were made in the length of a lease."""
    rounds = [began for began in position.get("rounds", ()) if _since(began, now) < LEASE]
    if position.get("container") is not None and rounds:
        return {**position, "rounds": rounds}
    if len(rounds) >= ROUNDS:
        return None
    return {"container": 0, "token": None, "rounds": [*rounds, now.isoformat()]}


def _since(text: str, now: datetime) -> timedelta:
    began = timestamp_from(text)
    return now - began if began is not None else LEASE


async def _list_on(
    position: Mapping[str, Any], now: datetime, s: Deliver, listing: ObjectListing
) -> tuple[Mapping[str, Any], int]:
    place, token, enqueued = position["container"], position["token"], 0
    for _ in range(PAGES):
        if place >= len(s.settings.containers):
            return {"rounds": position["rounds"]}, enqueued
        try:
            page = await listing.page(s.settings.containers[place], token=token)
        except (SourceGone, StaleToken):
            page = Page()
        lost = (await _lost(page.objects, now, s))[: MOST - enqueued]
        for listed in lost:
            await s.object_queue.send(lost_message(Change(object=listed.object, action=Action.CREATED)))
        enqueued += len(lost)
        if enqueued >= MOST:
            break  # the same page once more, when these have been inspected
        place, token = (place, page.token) if page.token is not None else (place + 1, None)
    return {"container": place, "token": token, "rounds": position["rounds"]}, enqueued


async def _lost(objects: Sequence[ListedObject], now: datetime, s: Deliver) -> Sequence[ListedObject]:
    recent = [listed for listed in objects if SETTLING <= now - listed.last_modified < LEASE + SETTLING]
    inspected = await inspected_of(recent, s)
    unknown = [listed for listed in recent if listed.object.key not in inspected]
    lost: list[ListedObject] = []
    for start in range(0, len(unknown), _AT_ONCE):
        some = unknown[start : start + _AT_ONCE]
        seen = await asyncio.gather(*(_is_seen(listed, s) for listed in some))
        lost += [listed for listed, is_seen in zip(some, seen, strict=True) if not is_seen]
    return lost


async def _is_seen(listed: ListedObject, s: Locate) -> bool:
    """Return whether the object was inspected as it is listed, or waits for an operator."""
    stored = await s.locators.read(listed.object)
    if stored is None:
        return False
    return stored.value.has_dead_letter or (stored.value.settled and stored.value.etag == listed.etag)
