"""
How things stand now: what waits, for how long, what is in FHIR, what was set aside. In a time that does not grow.

    read_figures   one page of each table  ->  exact, when that page is all; else the counts that were kept
    keep_counts    some pages more, each time it is called; the end of the table  ->  new counts are kept

So a world of up to a thousand rows a table is told exactly, and a larger one as it was at most a walk ago. A count
cannot drift, for it is always counted anew; a crash repeats a few pages.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync import leases
from sync.errors import StoreConflict
from sync.instruments import (
    DIRTY_AGE,
    DIRTY_STUDIES,
    FEED_LAG,
    KEPT_DEAD_LETTERS,
    QUEUE_AGE,
    QUEUE_MESSAGES,
    SILENCE,
    SYNCED_STUDIES,
)
from sync.model import Cursor
from sync.ports import Counted, Services, Tally

PAGES_AT_ONCE = 10
"""Pages of each table that one call of `keep_counts` reads at most: ten thousand rows."""

FEEDS: Mapping[str, str] = {"dicom-feed ": "dicom", "orthanc-changes ": "orthanc"}
"""How the names of the feeds' cursors begin (see `sync.feeds`), and what each is called in figures."""

SILENCE_CURSOR = "silence"

_LEASE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Rows of one table by word, such as dead letters by code; ``at`` is None when it was counted just now."""

    counts: Mapping[str, int]
    oldest: datetime | None = None
    at: datetime | None = None

    @property
    def total(self) -> int:
        """All rows, whatever their word."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How things stand at one moment; ages in seconds."""

    at: datetime
    queues: Mapping[str, int]
    queue_ages: Mapping[str, float]
    dirty: Count
    projections: Count
    dead_letters: Count
    drifts: Count
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
    read_feeds: frozenset[str] = frozenset()
    """Feeds that the settings name; the cursor of one that is read no more stands still for ever."""

    @property
    def dirty_age(self) -> float:
        """How long the oldest outstanding study has been waiting."""
        return max((self.at - self.dirty.oldest).total_seconds(), 0.0) if self.dirty.oldest else 0.0

    @property
    def feeds(self) -> Mapping[str, float]:
        """Feed -> seconds since it last moved or was found to be at its end; of several of one name the longest."""
        lags: dict[str, float] = {}
        for cursor in self.cursors.values():
            feed = next((name for begins, name in FEEDS.items() if cursor.name.startswith(begins)), None)
            if feed in self.read_feeds and feed is not None and cursor.advanced_at is not None:
                lags[feed] = max(lags.get(feed, 0.0), (self.at - cursor.advanced_at).total_seconds())
        return lags

    @property
    def silence(self) -> float:
        """How long an object has been in the source without any event that told of it."""
        kept = self.cursors.get(SILENCE_CURSOR)
        since = kept.position.get("unseen_since") if kept is not None else None
        return max((self.at - datetime.fromisoformat(since)).total_seconds(), 0.0) if since else 0.0

    @property
    def queued(self) -> int:
        """Messages of all our queues."""
        return sum(self.queues.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is outstanding and nothing is queued."""
        return not self.dirty.total and not self.queued


async def read_figures(s: Services) -> Figures:
    """
    Tell how things stand. Only reads.

    Queues before dirty studies: what left the one is in the other by then, so ``idle`` is never told too early.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    queues, oldest = await asyncio.gather(s.queues.depths(), s.queues.oldest())
    now = s.clock.now()
    dirty, projections, letters, drifts, cursors = await asyncio.gather(
        _count(Counted.DIRTY, s),
        _count(Counted.PROJECTIONS, s),
        _count(Counted.DEAD_LETTERS, s),
        _count(Counted.DRIFTS, s),
        _cursors(s),
    )
    return Figures(
        at=now,
        queues=queues,
        queue_ages={name: max((now - since).total_seconds(), 0.0) for name, since in oldest.items()},
        dirty=dirty,
        projections=projections,
        dead_letters=letters,
        drifts=drifts,
        cursors=cursors,
        read_feeds=frozenset(name for name in FEEDS.values() if getattr(s.settings, f"{name}_url", "")),
    )


def measure_figures(figures: Figures, s: Services) -> None:
    """Tell the gauges how things stand, for charts and exporters."""
    for queue, depth in figures.queues.items():
        s.telemetry.measure(QUEUE_MESSAGES, depth, queue=queue)
        s.telemetry.measure(QUEUE_AGE, figures.queue_ages.get(queue, 0.0), queue=queue)
    for feed, lag in figures.feeds.items():
        s.telemetry.measure(FEED_LAG, lag, feed=feed)
    s.telemetry.measure(DIRTY_STUDIES, figures.dirty.total)
    s.telemetry.measure(DIRTY_AGE, figures.dirty_age)
    s.telemetry.measure(SYNCED_STUDIES, figures.projections.counts.get("studies", 0))
    s.telemetry.measure(SILENCE, figures.silence)
    s.telemetry.measure(KEPT_DEAD_LETTERS, figures.dead_letters.total)


async def _count(table: Counted, s: Services) -> Count:
    tally = await s.tallies.page(table)
    if tally.token is None:
        return Count(counts=tally.counts, oldest=tally.oldest)
    stored = await s.cursors.read(_cursor(table))
    kept = stored.value.position.get("kept") if stored is not None else None
    return _kept(kept, tally, s.clock.now())


def _kept(kept: Mapping[str, Any] | None, tally: Tally, now: datetime) -> Count:
    """Return the counts that were kept; of a table that never was counted to its end, what one page says."""
    if kept is None:
        return Count(counts=tally.counts, oldest=tally.oldest, at=now)
    oldest = datetime.fromisoformat(kept["oldest"]) if kept.get("oldest") else None
    return Count(counts=kept["counts"], oldest=oldest, at=datetime.fromisoformat(kept["at"]))


async def _cursors(s: Services) -> dict[str, Cursor]:
    return {cursor.name: cursor async for cursor in s.cursors.all()}


async def keep_counts(s: Services) -> None:
    """Count on where the last call stopped, in every table; one worker at a time. Safe to repeat and to interrupt."""
    for table in Counted:
        lease = await leases.take(_cursor(table), s.cursors, s.clock, seconds=_LEASE)
        if lease is None:
            continue
        try:
            await lease.advance(await _counted_on(table, lease.position, s))
            await lease.release()
        except StoreConflict:
            continue


async def _counted_on(table: Counted, position: Mapping[str, Any], s: Services) -> Mapping[str, Any]:
    walk = position.get("walk") or {}
    counts, oldest, token = Counter(walk.get("counts", {})), walk.get("oldest"), walk.get("token")
    for _ in range(PAGES_AT_ONCE):
        tally = await s.tallies.page(table, token)
        counts.update(tally.counts)
        oldest = min(filter(None, (oldest, tally.oldest.isoformat() if tally.oldest else None)), default=None)
        token = tally.token
        if token is None:
            return {"kept": {"counts": dict(counts), "oldest": oldest, "at": s.clock.now().isoformat()}}
    kept = {"kept": position["kept"]} if "kept" in position else {}
    return {**kept, "walk": {"counts": dict(counts), "oldest": oldest, "token": token}}


def _cursor(table: Counted) -> str:
    return f"count:{table.value}"
