"""
Reads the blob change feed for a walk: records of a time window in, batches of changes out.

The feed covers the whole account and every kind of change; only blobs that were created, overwritten or deleted in our
containers matter. A segment's time is right to a quarter of an hour, so the hour on either side of the window is read
too, and each record is judged by its own time. Source: Azure "Change feed support in Azure Blob Storage".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sync.errors import BadEvent
from sync.events import Sources, parse_event
from sync.model import Batch, Change, ObjectRef
from sync.model.timestamps import Timestamp, utc_of
from sync.ports import BlobFeed
from sync.protocol.row_values import RowValue

OVERLAP = timedelta(hours=1)
"""Read on either side of a window: a segment's records may be of its neighbours' time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """
    Position in a feed: the segment being read, how many portions of it are done, and whether the feed is over.

    Portions are counted for finished segments only, because the others may still grow in the middle.
    """

    segment: Timestamp | None = None
    portions: int = 0
    over: bool = False


FEED_POSITION: RowValue[FeedPosition] = RowValue(FeedPosition)

_KINDS = frozenset({"blobcreated", "blobdeleted", "blobrenamed"})


def segments_of(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """
    Return the bounds of the begin times of segments that may hold records of a window, the second exclusive.

    Pure.
    """
    return _hour(start.astimezone(UTC) - OVERLAP), end + OVERLAP


async def feed_batches(
    feed: BlobFeed,
    allowed: Sources,
    window: tuple[datetime, datetime],
    segments: tuple[datetime, datetime],
    position: FeedPosition,
) -> AsyncIterator[Batch]:
    """
    Iterate over the changes of our containers in some segments, limited to a time window. Only reads.

    Both are from their first time on and before their second; `segments_of` tells which segments a window needs.

    Within a batch an object occurs once.

    Raises
    ------
    FeedMissing
        The account has no change feed.
    FeedMalformed
        It is not as documented.
    SourceUnavailable
        The store did not answer.
    """
    begun, skip = position.segment, position.portions
    async for segment in feed.segments(begun or segments[0], segments[1]):
        if position.over and segment.begin == begun:
            continue
        portions = 0
        stands = FeedPosition(segment=segment.begin)
        async for records in feed.records(segment):
            portions += 1
            # An open segment may grow in the middle: its portions are not counted as done, and are read again.
            if segment.finished:
                stands = replace(stands, portions=portions)
            if segment.begin != begun or portions > skip:
                yield _batch(records, allowed, *window, stands)
        yield Batch(position=FEED_POSITION.write(replace(stands, over=segment.finished)))


def _hour(timestamp: datetime) -> datetime:
    return timestamp.replace(minute=0, second=0, microsecond=0)


def _batch(
    records: Sequence[Mapping[str, Any]], allowed: Sources, start: datetime, end: datetime, stands: FeedPosition
) -> Batch:
    latest: dict[ObjectRef, Change] = {}
    passed, unusable = 0, 0
    for record in records:
        changes = _changes(record, allowed, start, end)
        unusable += any(isinstance(change, BadEvent) for change in changes)
        # Most objects of a replayed feed are known already.
        ours = [replace(change, likely_new=False) for change in changes if isinstance(change, Change)]
        passed += not ours
        latest.update({change.object: change for change in ours})
    return Batch(
        changes=tuple(latest.values()),
        position=FEED_POSITION.write(stands),
        passed=passed - unusable,
        unusable=unusable,
    )


def _changes(record: Mapping[str, Any], allowed: Sources, start: datetime, end: datetime) -> Sequence[Any]:
    """Read one record; the last change of an object wins, because records of one blob are in order."""
    if str(record.get("eventType", "")).casefold() not in _KINDS:
        return ()
    at = _time(record.get("eventTime"))
    if at is not None and not start <= at < end:
        return ()
    return parse_event(record, allowed)


def _time(value: Any) -> datetime | None:
    """Return a record's time; None when it has none: then it counts as inside the window."""
    try:
        return utc_of(value.isoformat() if isinstance(value, datetime) else value)
    except ValueError:
        return None
