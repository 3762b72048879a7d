"""
Detects events that never came: the one failure that the sync cannot notice from its own state.

Each call lists a page of the source and checks, for some of its recent objects, whether the sync has seen their current
state. If it has not, although no event waits in the queue, the object's event has been missing for as long as the
object is old. The walk cycles through the containers, one page per call: a container of a million objects takes hours,
and costs a few cents a month. Only recent objects are checked: objects from before the sync need a backfill, and
objects that a restart left out need a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from sync.errors import SourceGone, StaleToken
from sync.model import ListedObject, Page
from sync.model.circles import Passed, listed_on
from sync.model.timestamps import Timestamp
from sync.monitoring.counts import MISSING_EVENTS_CURSOR
from sync.ports import Inspect, ObjectListing, Watch
from sync.protocol.leases import held
from sync.protocol.row_values import RowValue

GRACE = timedelta(minutes=2)
"""Time that an event may take; the threshold of the alert, if it is shorter."""

RECENT = timedelta(days=1)

INSPECTED = 20
"""Maximum objects of a page whose rows are read, spread over the page: missing events affect many objects."""

_LEASE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """
    The position of the walk: the container, and the token of its next page.

    ``oldest`` is the earliest time since which an object of this round is unseen; ``unseen_since`` includes the round
    before.
    """

    container: int = 0
    token: str | None = None
    passed: Passed = field(default_factory=Passed)
    """Tokens of the container up to this position."""
    oldest: Annotated[Timestamp | None, Field(alias="found")] = None
    unseen_since: Timestamp | None = None


_STAND: RowValue[_Stand] = RowValue(_Stand)


async def find_missing_events(s: Watch, listing: ObjectListing) -> None:
    """
    Check one more page, and store since when an object has been unseen. Idempotent; one worker at a time.

    While events wait in the queue, missing events cannot be distinguished from late ones, so the walk pauses.

    Raises
    ------
    TransientError
        Storage or the source did not answer.
    """
    began = s.clock.now()  # read before the queue: by then, an object must have been without an event for long
    if not await s.object_queue.is_empty():
        return
    async with held(MISSING_EVENTS_CURSOR, s, seconds=_LEASE) as lease:
        if lease is not None:
            stand = _STAND.read(lease.position, row=MISSING_EVENTS_CURSOR)
            await lease.finish(_STAND.write(await _one_page_on(stand, began, s, listing)))


async def _one_page_on(stand: _Stand, began: datetime, s: Watch, listing: ObjectListing) -> _Stand:
    containers = s.settings.containers
    if stand.container >= len(containers):
        stand = _Stand(unseen_since=stand.unseen_since)
    try:
        page = await listing.page(containers[stand.container], token=stand.token)
    except (SourceGone, StaleToken):
        page = Page()
    passed = listed_on(stand.passed, page.token)
    unseen = await _oldest_without_event(page.objects, began, s)
    oldest = _earlier(stand.oldest, unseen)
    unseen_since = _earlier(stand.unseen_since, oldest)
    if page.token is not None:
        return replace(stand, passed=passed, token=page.token, oldest=oldest, unseen_since=unseen_since)
    if stand.container + 1 < len(containers):
        return _Stand(container=stand.container + 1, oldest=oldest, unseen_since=unseen_since)
    return _Stand(unseen_since=oldest)


def _earlier(*times: datetime | None) -> datetime | None:
    return min(filter(None, times), default=None)


async def _oldest_without_event(objects: Sequence[ListedObject], now: datetime, s: Watch) -> datetime | None:
    grace = min(GRACE, timedelta(seconds=s.settings.alert.missing_events_seconds))
    recent = [listed for listed in objects if now - RECENT < listed.last_modified < now - grace]
    times: list[datetime] = []
    for listed in recent[:: max(-(-len(recent) // INSPECTED), 1)]:
        stored = await s.locators.read(listed.object)
        unseen = stored is None or (stored.value.etag != listed.etag and not stored.value.has_dead_letter)
        if unseen and await _is_as_listed(listed, s):
            times.append(listed.last_modified)
    return min(times, default=None)


async def _is_as_listed(listed: ListedObject, s: Inspect) -> bool:
    """Ask the source: if an object was changed or deleted since it was listed, its current state may have been seen."""
    try:
        return await s.objects.etag(listed.object) == listed.etag
    except SourceGone:
        return False
