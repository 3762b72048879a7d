"""
Current counts: queued and dirty studies and their age, studies in FHIR, dead letters. Takes bounded time.

    read_counts    one page of a table  ->  exact if that page is all; else the counts that were stored
    store_counts   some more pages, each time it is called; the end of the table  ->  new counts are stored

So a table of up to a thousand rows is counted exactly, and a larger one as of its last complete count. A table that
recently had more rows than a page is not read at all, except that of dirty studies: these come and go quickly, and
decide whether any work is left. A count cannot drift, because it always starts from zero; a crash repeats a few pages.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sync.errors import RemovalHeld
from sync.model import Cursor, dicom_cursor, orthanc_cursor
from sync.model.circles import Passed, queried_on
from sync.model.queues import CALLS
from sync.model.timestamps import Timestamp
from sync.ports import Configured, Core, Counted, DeadLetterGroup, Jobs, Measure, Tally
from sync.protocol.leases import held
from sync.protocol.row_values import RowValue
from sync.protocol.stored_counts import STORED_COUNT, CountedPages, StoredCount, stored_count
from sync.telemetry.instruments import (
    DIRTY_AGE,
    DIRTY_STUDIES,
    FEED_LAG,
    HELD_REMOVALS,
    KEPT_DEAD_LETTERS,
    MISSING_EVENT_AGE,
    QUEUE_AGE,
    QUEUE_MESSAGES,
    SYNCED_STUDIES,
)

PAGES_AT_ONCE = 10
"""Maximum pages of each table that one call of `store_counts` reads: ten thousand rows."""

_FEWEST, _CALLS = 2, 10
"""Minimum pages that a call reads, and the calls that a walk should take, so that the load is spread evenly."""

FEEDS: Mapping[str, str] = {dicom_cursor(""): "dicom", orthanc_cursor(""): "orthanc"}
"""Prefix of the names of the feeds' cursors -> the feed's name in counts."""

MISSING_EVENTS_CURSOR = "missing_events"

UNREAD_CURSOR = "feeds.unread"
"""Row of feeds that were never read, with the time since when; `sync.monitoring.alerts.unread_feeds` writes it."""

LATELY = timedelta(minutes=15)
"""Maximum age of a large table's count that is shown without reading the table; the timer counts far more often."""

_LEASE = 120.0

_JUST_NOW = timedelta(seconds=60)
"""Age up to which a process assumes that a page it read was the whole table: two rounds of the watch."""

UNREAD_SINCE: RowValue[Mapping[str, datetime]] = RowValue(Mapping[str, Timestamp])
"""The content of row `UNREAD_CURSOR`: the name of a feed's cursor -> since when the cursor is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unseen:
    """The part of row `MISSING_EVENTS_CURSOR` that is read here: since when an object has been without an event."""

    unseen_since: Timestamp | None = None


_UNSEEN: RowValue[_Unseen] = RowValue(_Unseen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Rows of one table by word, such as dead letters by code; ``at`` is None when it was counted just now."""

    counts: Mapping[str, int]
    oldest: datetime | None = None
    groups: Mapping[str, DeadLetterGroup] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def total(self) -> int:
        """Number of all rows, whatever their word."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCounts:
    """The counts at one time; ages in seconds."""

    at: datetime
    queues: Mapping[str, int]
    queue_ages: Mapping[str, float]
    dirty: Count
    projections: Count
    dead_letters: Count
    drifts: Count
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
    read_feeds: Mapping[str, str] = field(default_factory=dict)
    """As `feeds_of` returns them; the cursor of a feed that is no longer read never advances."""

    @property
    def dirty_age(self) -> float:
        """Seconds that the oldest outstanding study has been waiting."""
        return max((self.at - self.dirty.oldest).total_seconds(), 0.0) if self.dirty.oldest else 0.0

    @property
    def feeds(self) -> Mapping[str, float]:
        """Feed -> seconds since it last advanced or was at its end, or, for an unread feed, since it was expected."""
        read = ((feed, self._read_at(name)) for name, feed in self.read_feeds.items())
        return {feed: (self.at - at).total_seconds() for feed, at in read if at is not None}

    def _read_at(self, name: str) -> datetime | None:
        cursor, unread = self.cursors.get(name), self.cursors.get(UNREAD_CURSOR)
        if cursor is not None and cursor.advanced_at is not None:
            return cursor.advanced_at
        return UNREAD_SINCE.read_or({}, unread.position, row=unread.name).get(name) if unread is not None else None

    @property
    def missing_event_age(self) -> float:
        """Seconds that an object has been in the source without an event."""
        cursor = self.cursors.get(MISSING_EVENTS_CURSOR)
        # The walk refuses a row of another form each time it runs; the other counts are still reported.
        unseen = _UNSEEN.read_or(_Unseen(), cursor.position, row=cursor.name) if cursor is not None else _Unseen()
        return max((self.at - unseen.unseen_since).total_seconds(), 0.0) if unseen.unseen_since else 0.0

    @property
    def held_removals(self) -> int:
        """Removals past the ceiling, which wait for an operator."""
        return int(self.dead_letters.counts.get(RemovalHeld.code, 0))

    @property
    def queued(self) -> int:
        """Messages of all our queues."""
        return sum(self.queues.values())

    @property
    def idle(self) -> bool:
        """Whether no study is outstanding and no message is queued except calls for workers."""
        return not self.dirty.total and not any(depth for name, depth in self.queues.items() if name not in CALLS)


async def read_counts(s: Measure) -> SystemCounts:
    """
    Return the current counts. Only reads.

    Queues are read before dirty studies: a message that left a queue is a dirty study by then, so ``idle`` is never
    reported too early.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    queues, cursors = await asyncio.gather(s.queues.depths(), _cursors(s))
    now = s.clock.now()
    oldest, dirty, projections, letters, drifts = await asyncio.gather(
        s.queues.oldest([name for name, depth in queues.items() if depth]),
        _count(Counted.DIRTY, cursors, s),
        _count(Counted.PROJECTIONS, cursors, s),
        _count(Counted.DEAD_LETTERS, cursors, s),
        _count(Counted.DRIFTS, cursors, s),
    )
    return SystemCounts(
        at=now,
        queues=queues,
        queue_ages={name: max((now - since).total_seconds(), 0.0) for name, since in oldest.items()},
        dirty=dirty,
        projections=projections,
        dead_letters=letters,
        drifts=drifts,
        cursors=cursors,
        read_feeds=feeds_of(s),
    )


def feeds_of(s: Configured) -> Mapping[str, str]:
    """Return the feeds that are configured: name of the cursor -> feed."""
    dicom = {dicom_cursor(s.dicom_feed.account): "dicom"} if s.dicom_feed is not None else {}
    orthanc = {orthanc_cursor(s.orthanc.account): "orthanc"} if s.orthanc is not None else {}
    return dicom | orthanc


def measure_counts(counts: SystemCounts, s: Core) -> None:
    """Set the gauges from the counts, for charts and exporters."""
    for queue, depth in counts.queues.items():
        s.telemetry.measure(QUEUE_MESSAGES, depth, queue=queue)
        s.telemetry.measure(QUEUE_AGE, counts.queue_ages.get(queue, 0.0), queue=queue)
    for feed, lag in counts.feeds.items():
        s.telemetry.measure(FEED_LAG, lag, feed=feed)
    s.telemetry.measure(DIRTY_STUDIES, counts.dirty.total)
    s.telemetry.measure(DIRTY_AGE, counts.dirty_age)
    s.telemetry.measure(SYNCED_STUDIES, counts.projections.counts.get("studies", 0))
    s.telemetry.measure(MISSING_EVENT_AGE, counts.missing_event_age)
    s.telemetry.measure(KEPT_DEAD_LETTERS, counts.dead_letters.total)
    s.telemetry.measure(HELD_REMOVALS, counts.held_removals)


async def read_count(table: Counted, s: Measure) -> Count:
    """Count the rows of one table, as `read_counts` does."""
    stored = await s.cursors.read(table.cursor)
    return await _count(table, {table.cursor: stored.value} if stored is not None else {}, s)


async def count_all(table: Counted, s: Measure) -> Count:
    """Count the rows of one table from its first page to its last; for commands, which are not limited in time."""
    tally, passed = Tally(counts={}), Passed()
    while True:
        page = await s.tallies.page(table, tally.token)
        tally, passed = tally + page, queried_on(passed, page.token)
        if tally.token is None:
            return _count_of(tally)


async def _count(table: Counted, cursors: Mapping[str, Cursor], s: Measure) -> Count:
    stored = stored_count(cursors.get(table.cursor))
    kept = _count_of(stored.kept, stored.kept.at) if stored.kept is not None else None
    if kept is not None and table is not Counted.DIRTY and _stands(stored, s.clock.now()):
        return kept
    tally = await s.tallies.page(table)
    if tally.token is None:
        if _is_young(stored, s.clock.now()):
            s.caches.whole_pages[table] = s.clock.now()
        return _count_of(tally)
    s.caches.whole_pages.pop(table, None)
    # If a table was not counted to its end since it grew, it has at least the rows of one page.
    page = _count_of(tally, s.clock.now())
    return kept if kept is not None and kept.total >= page.total else page


def _stands(stored: StoredCount, now: datetime) -> bool:
    """Return whether a stored count is used without reading the table: it is recent, and of more rows than a page."""
    kept = stored.kept
    return kept is not None and kept.pages > 1 and kept.at is not None and now - kept.at <= LATELY


def _count_of(tally: Tally, at: datetime | None = None) -> Count:
    return Count(counts=tally.counts, oldest=tally.oldest, groups=tally.groups, at=at)


async def _cursors(s: Jobs) -> dict[str, Cursor]:
    return {cursor.name: cursor async for cursor in s.cursors.all()}


async def store_counts(s: Measure) -> None:
    """Continue to count every table where the last call stopped; one worker at a time. Idempotent, interruptible."""
    for table in Counted:
        await store_count(table, s)


async def store_count(table: Counted, s: Measure, *, from_start: bool = False) -> None:
    """Continue to count one table, or begin ``from_start``, as far as one call may; see `store_counts`."""
    if not from_start and await _is_small(table, s):
        return
    async with held(table.cursor, s, seconds=_LEASE) as lease:
        if lease is None:
            return
        before = STORED_COUNT.read_or(StoredCount(), lease.position, row=lease.name)
        if from_start:
            before = replace(before, walk=None)
        counted = await _counted_on(table, before, PAGES_AT_ONCE if from_start else _pace(before), s)
        await lease.advance(STORED_COUNT.write(counted))


async def _is_small(table: Counted, s: Measure) -> bool:
    """
    Return whether one page was recently the whole table and still is: `read_counts` counts it exactly.

    A page that `read_counts` has just read in this process is not read again; `read_counts` notices a change within a
    round.
    """
    whole = s.caches.whole_pages.get(table)
    if whole is not None and s.clock.now() - whole <= _JUST_NOW:
        return True
    stored = await s.cursors.read(table.cursor)
    if not _is_young(stored_count(stored.value if stored is not None else None), s.clock.now()):
        return False
    return (await s.tallies.page(table)).token is None


def _is_young(stored: StoredCount, now: datetime) -> bool:
    """Return whether a count of one page was stored recently, and no walk has begun since."""
    kept = stored.kept
    if kept is None or kept.at is None or stored.walk is not None:
        return False
    return kept.pages <= 1 and now - kept.at <= LATELY


def _pace(stored: StoredCount) -> int:
    """Return how many pages to read in one call: few, unless there is no count yet or the table is very large."""
    if stored.kept is None:
        return PAGES_AT_ONCE
    return min(max(math.ceil(stored.kept.pages / _CALLS), _FEWEST), PAGES_AT_ONCE)


async def _counted_on(table: Counted, stored: StoredCount, most: int, s: Measure) -> StoredCount:
    walk = stored.walk if stored.walk is not None else CountedPages(counts={}, pages=0)
    for _ in range(most):
        page = await s.tallies.page(table, walk.token)
        if walk.passed.has(page.token):
            return replace(stored, walk=None)  # the pages led in a circle, so rows were counted twice: restart later
        walk = walk.on(page)
        if walk.token is None:
            return StoredCount(kept=replace(walk, passed=Passed(), at=s.clock.now()))
    return replace(stored, walk=walk)
