"""
Events that never came: the one failure that nothing inside the sync can notice by itself.

Each call lists a page of the source and asks, for some of its recent objects, whether the sync has seen them as they
are. One that it has not seen, though no event waits in the queue, misses its event, for as long as it is old.
The walk goes round and round, one page a call: a container of a million objects is passed within hours, for a few cents
a month. Recent objects only: what was there before the sync is for a backfill, and what a restart left for a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sync.errors import SourceGone, StaleToken
from sync.model import ListedObject, Page
from sync.monitoring.counts import MISSING_EVENTS_CURSOR
from sync.ports import Inspect, ObjectListing, Watch
from sync.protocol.leases import held

GRACE = timedelta(minutes=2)
"""An event may take so long, or as long as the threshold of the alert allows when that is less."""

RECENT = timedelta(days=1)

INSPECTED = 20
"""Objects of a page whose rows are read at most, spread over the page: missing events concern many."""

_LEASE = 60.0


async def find_missing_events(s: Watch, listing: ObjectListing) -> None:
    """
    Go one page on, and keep since when an object has been unseen. Idempotent; one worker at a time.

    While events wait in the queue, missing ones cannot be told from late ones: the walk rests.

    Raises
    ------
    TransientError
        Storage or the source did not answer.
    """
    began = s.clock.now()  # before the queue is inspected: an object must have been without an event for long then
    if not await s.object_queue.is_empty():
        return
    async with held(MISSING_EVENTS_CURSOR, s, seconds=_LEASE) as lease:
        if lease is not None:
            await lease.finish(await _one_page_on(lease.position, began, s, listing))


async def _one_page_on(
    position: Mapping[str, Any], began: datetime, s: Watch, listing: ObjectListing
) -> Mapping[str, Any]:
    containers = s.settings.containers
    place, token, oldest = position.get("container", 0), position.get("token"), position.get("found")
    if place >= len(containers):
        place, token, oldest = 0, None, None
    try:
        page = await listing.page(containers[place], token=token)
    except (SourceGone, StaleToken):
        page = Page()
    unseen = await _oldest_without_event(page.objects, began, s)
    oldest = min(filter(None, (oldest, unseen)), default=None)
    if page.token is not None:
        unseen_since = min(filter(None, (position.get("unseen_since"), oldest)), default=None)
        return {"container": place, "token": page.token, "found": oldest, "unseen_since": unseen_since}
    if place + 1 < len(containers):
        unseen_since = min(filter(None, (position.get("unseen_since"), oldest)), default=None)
        return {"container": place + 1, "token": None, "found": oldest, "unseen_since": unseen_since}
    return {"container": 0, "token": None, "found": None, "unseen_since": oldest}


async def _oldest_without_event(objects: Sequence[ListedObject], now: datetime, s: Watch) -> str | None:
    grace = min(GRACE, timedelta(seconds=s.settings.alert.missing_events_seconds))
    recent = [listed for listed in objects if now - RECENT < listed.last_modified < now - grace]
    times: list[datetime] = []
    for listed in recent[:: max(-(-len(recent) // INSPECTED), 1)]:
        stored = await s.locators.read(listed.object)
        unseen = stored is None or (stored.value.etag != listed.etag and not stored.value.has_dead_letter)
        if unseen and await _is_as_listed(listed, s):
            times.append(listed.last_modified)
    return min(times).isoformat() if times else None


async def _is_as_listed(listed: ListedObject, s: Inspect) -> bool:
    """Ask the source: what was changed or deleted since it was listed may have been seen as it is now."""
    try:
        return await s.objects.etag(listed.object) == listed.etag
    except SourceGone:
        return False
