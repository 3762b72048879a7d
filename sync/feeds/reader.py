"""
Runs a feed: a timer or an event wakes it, one process at a time reads it, and failures are handled here.

The failure of a service is logged once per run and stored with the cursor for the status. It does not fail the timer:
the next run continues from the same position. A single instance that keeps failing while others succeed gets a dead
letter, and the feed continues.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from sync.delivery.handlers import dead_letter_delivery, handle_change
from sync.errors import Contention, PermanentError, SourceUnavailable
from sync.feeds import dicom_windows, orthanc
from sync.model import Batch, Change, Json, ObjectKey, dicom_cursor, orthanc_cursor
from sync.ports import Core, Ingest, ReadFeeds
from sync.protocol.feed_problems import PROBLEM, FeedProblem
from sync.telemetry.instruments import FAILURES
from sync.walks.suspects import alone_if_suspect
from sync.walks.walk import Walk, Work, retry_then_dead_letter, run_walk, walk_of

PARALLEL = 32
"""Instances of a feed that are processed concurrently."""

BUDGET = 120.0
"""Seconds after which a run ends, so that it fits into any plan of Azure Functions; the next one continues."""


async def read_dicom_feed(s: ReadFeeds) -> Mapping[str, int] | None:
    """
    Read the DICOM service's change feed from the stored position to its end. Idempotent; may be interrupted.

    Returns
    -------
    Mapping or None
        Number of changes by outcome in this run; None when no service is configured, or another process reads.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: the position is unknown, so nothing is read.
    """
    feed = s.dicom_feed
    if feed is None:
        return None
    return await _run(dicom_cursor(feed.account), lambda position: dicom_windows.batches(feed, position, s), s)


async def read_orthanc_feed(s: ReadFeeds) -> Mapping[str, int] | None:
    """Read the changes of the Orthanc, and compare its instances when needed; like `read_dicom_feed`."""
    server = s.orthanc
    if server is None:
        return None
    return await _run(orthanc_cursor(server.account), lambda position: orthanc.batches(server, position, s), s)


async def wake(sequences: Sequence[int | None], s: ReadFeeds) -> None:
    """
    Read the DICOM service's feed if a message of queue ``objects`` named an entry that is not read yet.

    Of many simultaneous events, the first reads and the others find their sequences read. An event that cannot read
    because another process does leaves its entry to the timer.
    """
    if not sequences:
        return
    if s.dicom_feed is None:
        s.telemetry.event("feed.not_configured", logging.WARNING, events=len(sequences))
        return
    name = dicom_cursor(s.dicom_feed.account)
    async with s.caches.object_locks.setdefault(ObjectKey("feed", name), asyncio.Lock()):
        cursor = await s.cursors.read(name)
        read = dicom_windows.sequence_in(cursor.value.position, s.dicom_feed.account) if cursor else 0
        if any(sequence is None or sequence > read for sequence in sequences):
            await read_dicom_feed(s)


async def _run(name: str, batches: Callable[[Json], AsyncIterator[Batch]], s: ReadFeeds) -> Mapping[str, int] | None:
    try:
        async with walk_of(name, s) as walk:
            not_before = PROBLEM.read(walk.position, row=name).not_before
            if not_before is not None and s.clock.now() < not_before:
                return {}
            before = dict(walk.counts)
            await _read(batches(walk.position), walk, s)
            return {key: more for key, number in walk.counts.items() if (more := number - before.get(key, 0))}
    except Contention as held:
        if held.code == "walk.held":
            return None
        raise


async def _read(batches: AsyncIterator[Batch], walk: Walk, s: ReadFeeds) -> None:
    async def aside(change: Change, refusal: PermanentError) -> None:
        await dead_letter_delivery(change, refusal, s)

    try:
        until, longest = time.monotonic() + BUDGET, s.settings.longest_wait_seconds
        alone = alone_if_suspect(_inspecting(walk, s), walk, aside, s)
        work = retry_then_dead_letter(alone, walk, aside, longest_wait=longest, until=until)
        await run_walk(batches, work, walk, parallel=PARALLEL, until=until)
    except SourceUnavailable as outage:
        s.telemetry.measure(FAILURES, code=outage.code)
        s.telemetry.event("feed.failed", logging.WARNING, code=outage.code, detail=outage.detail)
        problem = FeedProblem(error=outage.code, hint=outage.hint, not_before=_later(outage, s))
        await walk.note(PROBLEM.write(problem))


def _inspecting(walk: Walk, s: Ingest) -> Work:
    async def work(change: Change) -> None:
        # Before the walk advances the cursor past this change: a crash in between reads it again, which is idempotent.
        outcome = await handle_change(change, s)
        walk.count(outcome.value)

    return work


def _later(outage: SourceUnavailable, s: Core) -> datetime | None:
    """Return when to read again if the service asked for a delay, limited to what the setting allows."""
    if not outage.retry_after:
        return None
    wait = min(outage.retry_after, s.settings.longest_wait_seconds)
    return s.clock.now() + timedelta(seconds=wait)
