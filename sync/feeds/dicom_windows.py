"""
Reads a DICOM service's change feed by time, with an overlap, one page at a time, and keeps the position.

Rows are ordered by timestamp, but a row may appear after later ones, if its transaction took longer. So the position is
the highest timestamp seen (of the service's clock, never of ours), and reading begins some time before it; entries
handled before are recognised by their sequence. A row may also appear behind a slow run, so the next run begins some
time before the row that was the last when this run *began*. Once such a second reading, long enough after the last row,
found nothing new, later runs begin at that row itself. ``offset`` counts rows of the window, which the service must
read each time, so a new window begins after some pages.

Only an empty page is the end, not a short one: services may return fewer entries than requested.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from sync.dicom.feed_entries import FEED, Entry, entries_of
from sync.dicom.inspect import UNAVAILABLE
from sync.errors import SourceUnavailable
from sync.model import Batch, Change, Json, ObjectRef, dicom_cursor
from sync.model.timestamps import Timestamp
from sync.ports import ChangeFeed, Reject
from sync.protocol.dead_letters import dead_letter_message
from sync.protocol.row_values import RowValue

LIMIT = 200
"""Entries on a page, the service's maximum."""

OVERLAP = timedelta(seconds=60)
"""By how much a row may appear later than rows with higher timestamps."""

SKEW = timedelta(minutes=5)
"""How far our clock may be ahead of the service's, plus the delay of rows, in a run over a long backlog."""

LONGEST_WINDOW = 2000
"""Maximum rows to skip before a new window begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """
    Position of reading: ``until`` is the highest timestamp read from ``start`` on, ``sequence`` the highest sequence.

    It is the same ``since`` then; ``closed`` once no earlier row can still appear.
    """

    until: Timestamp | None = None
    start: Annotated[Timestamp | None, Field(alias="from")] = None
    sequence: int = 0
    since: Timestamp | None = None
    closed: bool = False


_POSITION: RowValue[FeedPosition] = RowValue(FeedPosition)


async def pages(
    feed: ChangeFeed, *, start: datetime | None, end: datetime | None, metadata: bool = True
) -> AsyncIterator[Sequence[Entry]]:
    """
    Read the pages of a time window from ``start`` until before ``end``; None is the feed's beginning or its end.

    Only reads. A page that fails with metadata is read without them, and its instances are requested one by one: one of
    them may be stored but unreadable, and must not stop the feed.

    Raises
    ------
    SourceUnavailable
        The service did not answer as it should.
    """
    offset, before = 0, None
    while True:
        raw = await _page(feed, start=_text(start), end=_text(end), offset=offset, metadata=metadata)
        if not raw or raw == before:
            return
        entries = entries_of(raw, feed.account)
        yield entries
        before, offset = raw, offset + len(raw)
        last = entries[-1].at
        if offset >= LONGEST_WINDOW and last is not None and (start is None or last > start):
            start, offset, before = last, 0, None


async def _page(feed: ChangeFeed, *, start: str, end: str, offset: int, metadata: bool) -> Sequence[Any]:
    """Read a page; the adapter has already retried the request if that may help."""
    try:
        return await feed.page(start=start, end=end, offset=offset, limit=LIMIT, metadata=metadata)
    except SourceUnavailable as failure:
        if not metadata or failure.code not in UNAVAILABLE:
            raise
        return await feed.page(start=start, end=end, offset=offset, limit=LIMIT, metadata=False)


async def next_timestamp(feed: ChangeFeed, start: datetime, end: datetime) -> datetime:
    """
    Return the time of the first entry from ``start`` on, or ``end`` if there is none before it.

    Raises
    ------
    SourceUnavailable
        The service did not answer as it should.
    """
    raw = await feed.page(start=_text(start), end=_text(end), limit=1, metadata=False)
    if not raw:
        return end
    at = entries_of(raw, feed.account)[0].at
    return start if at is None else max(start, at)


async def batches(feed: ChangeFeed, kept: Json, s: Reject) -> AsyncIterator[Batch]:
    """
    Read the feed from a position on; each batch has the position that holds once its changes are processed.

    Entries that name no instance get their dead letters here. Idempotent from any position that it returned.

    Raises
    ------
    SourceUnavailable
        The service did not answer as it should.
    """
    now, before = s.clock.now(), _POSITION.read(kept, row=dicom_cursor(feed.account))
    reached, sequence = before.until, before.sequence
    moving = replace(before, since=now, closed=False)
    start = before.until if before.closed else before.start
    async for entries in pages(feed, start=start, end=None, metadata=s.settings.dicom_header != "always"):
        # Before the batch is yielded: its position moves past these entries, and nothing else remembers them.
        await _dead_letter_bad(_new(entries, before), feed.account, s)
        changes = latest(entries)
        reached = max([at for at in (reached, *_times(entries, now)) if at is not None], default=None)
        sequence = max((change.sequence or 0 for change in changes), default=sequence)
        moved = moving if reached != before.until else before
        position = _POSITION.write(_reached(reached, moved, before.until, now, sequence))
        yield Batch(changes=changes, position=position, passed=len(entries) - len(changes))
    resting = moving if reached != before.until else _at_rest(before, now)
    yield Batch(position=_POSITION.write(_reached(reached, resting, before.until, now, sequence)))


def sequence_in(kept: Json, account: str) -> int:
    """Return the highest sequence read, from the position of the feed's cursor; 0 if none was read."""
    return _POSITION.read(kept, row=dicom_cursor(account)).sequence


def latest(entries: Iterable[Entry]) -> list[Change]:
    """Return the latest change of each instance: a page shows one moment, so earlier entries add nothing."""
    newest: dict[ObjectRef, Change] = {}
    for entry in entries:
        change = entry.change
        if isinstance(change, Change):
            before = newest.get(change.object)
            if before is None or _rank(before) <= _rank(change):
                newest[change.object] = change
    return list(newest.values())


def _rank(change: Change) -> int:
    """Rank an entry without a sequence highest: its instance is inspected, so its state is the newest."""
    return change.sequence if change.sequence is not None else 2**63


def _times(entries: Iterable[Entry], now: datetime) -> list[datetime]:
    """Return the timestamps of the entries, none in our future: a wrong one would hide all entries that follow."""
    return [min(entry.at, now) for entry in entries if entry.at is not None]


def _reached(
    reached: datetime | None, moved: FeedPosition, before: datetime | None, began: datetime, sequence: int
) -> FeedPosition:
    """
    Return ``moved``, as the position after a run that has reached ``reached``.

    The row ``before`` existed when the run began, so no row older by the overlap can still appear behind it.
    """
    if reached is None:
        return replace(moved, until=None, start=None, sequence=sequence)
    settled = max(before - OVERLAP, began - SKEW) if before is not None else began - SKEW
    start = min(reached - OVERLAP, settled)
    return replace(moved, until=reached, start=start, sequence=sequence)


def _at_rest(position: FeedPosition, now: datetime) -> FeedPosition:
    """Set whether the last row is so old that no earlier one can still appear."""
    since = position.since
    return replace(position, closed=position.closed or (since is not None and now - since >= OVERLAP))


def _new(entries: Iterable[Entry], before: FeedPosition) -> list[Entry]:
    """Return the entries without those of a feed at rest that the run which closed the position has read already."""
    read = before.until if before.closed else None
    return [entry for entry in entries if read is None or entry.at is None or entry.at > read]


async def _dead_letter_bad(entries: Iterable[Entry], account: str, s: Reject) -> None:
    for entry in entries:
        if not isinstance(entry.change, Change):
            await dead_letter_message(entry.text, entry.change, s, queue=FEED + account)


def _text(timestamp: datetime | None) -> str:
    """Format a time for the service: with an offset, but without a plus sign, which URLs must escape."""
    return timestamp.isoformat(timespec="microseconds").replace("+00:00", "Z") if timestamp else ""
