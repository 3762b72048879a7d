"""
A walk over many objects: batches in, bounded work in flight, a position that moves only over finished batches.

    batches (a listing, a feed)  ->  at most ``parallel`` changes at once  ->  the cursor, batch by batch

A batch is done when all of its changes are, and the cursor moves only over contiguous finished batches: a walk that is
killed at any time restarts at the first change that it may have missed. It keeps a few batches in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from sync.errors import Contention, PermanentError, StoreConflict, SyncError, TransientError
from sync.model import Batch, Change, Cursor, Ingested, Json
from sync.model.timestamps import Timestamp
from sync.ports import Jobs
from sync.protocol.leases import Lease, take
from sync.protocol.row_values import RowValue

LEASE = 30.0
"""Seconds for which a walk leases its cursor. It renews the lease three times as often; a killed walk blocks the next
one for that long."""

AHEAD = 2
"""Batches that may begin while an earlier one still has unfinished changes."""

FIRST_PAUSE = 0.5
"""Seconds before a change that met an outage is retried; doubles each time."""

TRIES = 7
"""Attempts for a change while the store does not answer: about half a minute."""

HELD = "Another process holds this job's lease. If it crashed, the lease expires within 30 s."

Work = Callable[[Change], Awaitable[None]]
"""Processes one change; raises TransientError if a retry may help."""


SUSPECT_AFTER = 3
"""Holders that died in a row at one position of a walk; from then on its changes are processed one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    The counts that every walk keeps with its position.

    ``deaths`` counts the holders that died since the position last moved. ``crashed`` is when a change was last given
    up, because its process died of it.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    deaths: int = 0
    crashed: Timestamp | None = None


COUNTS: RowValue[Counts] = RowValue(Counts)


class Walk:
    """
    A held cursor, and the counts of the walk.

    Get one from `walk_of`; a walk without a lease writes nothing. ``counts`` starts with those of the position, so that
    the counts of several runs add up.
    """

    def __init__(self, lease: Lease | None = None) -> None:
        self._lease = lease
        self._turn = asyncio.Lock()
        self.position: Json = lease.position if lease else {}
        """Position of the walk; empty at its beginning."""
        before = COUNTS.read(self.position, row=lease.name) if lease else Counts()
        self.counts: Counter[str] = Counter(before.counts)
        self._done: Counter[str] = Counter(before.counts)
        self._deaths = before.deaths
        self.crashed = before.crashed
        """When a change was last given up because its process died of it; kept with the position."""
        self.successes = 0
        self.others_succeed = False
        """Whether changes of other walks are known to succeed at this time."""

    @property
    def name(self) -> str:
        """Name of the cursor; empty without a lease."""
        return self._lease.name if self._lease else ""

    @property
    def is_suspect(self) -> bool:
        """Whether a change behind the position has probably ended the process that worked on it."""
        return self._deaths >= SUSPECT_AFTER

    async def note_death(self) -> None:
        """Count that the holder before died. The count ends when the position moves. Raises like `advance`."""
        self._deaths += 1
        await self.note({"deaths": self._deaths})

    def count(self, outcome: str, number: int = 1) -> None:
        """Add to a count; the position receives it once the batch is done, so that nothing counts twice."""
        self.counts[outcome] += number
        if (tally := _tally.get()) is not None:
            tally[outcome] += number

    def settle(self, tally: Counter[str]) -> None:
        """Add the counts of a batch that is done."""
        self._done += tally

    async def advance(self, position: Json, *, new: Sequence[Cursor] = ()) -> None:
        """
        Move the position.

        Parameters
        ----------
        new
            Rows to insert in the same write, all or none.

        Raises
        ------
        Contention
            Another process runs this walk now, or has inserted one of the rows.
        """
        await self._move(position, new, last=False)

    async def finish(self, position: Json, *, new: Sequence[Cursor] = ()) -> None:
        """Move the position for the last time and release the lease, in one write. ``new`` and errors as `advance`."""
        await self._move(position, new, last=True)

    async def _move(self, position: Json, new: Sequence[Cursor], *, last: bool) -> None:
        crashed = {"crashed": self.crashed.isoformat()} if self.crashed else {}
        self.position = {**position, "counts": dict(self._done), **crashed}
        self._deaths = 0
        if self._lease is None:
            return
        async with self._turn:
            try:
                await (self._lease.finish if last else self._lease.advance)(self.position, new=new)
            except StoreConflict:
                raise _held() from None

    async def note(self, remarks: Json) -> None:
        """Keep notes with the position until it moves. Raises like `advance`."""
        self.position = {**self.position, **remarks}
        if self._lease is None:
            return
        async with self._turn:
            try:
                await self._lease.note(self.position)
            except StoreConflict:
                raise _held() from None

    async def hold(self, lease: Lease) -> None:
        """Renew the lease until cancelled, or until it is lost: then the next `advance` raises."""
        while True:
            await asyncio.sleep(LEASE / 3)
            async with self._turn:
                if lease.is_released:
                    return  # a renewal would take it again
                try:
                    await lease.renew()
                except StoreConflict:
                    return
                except TransientError:
                    continue  # two more attempts follow before it expires


@asynccontextmanager
async def walk_of(name: str, s: Jobs, *, only_if: Callable[[Cursor], bool] | None = None) -> AsyncIterator[Walk]:
    """
    Hold the cursor of this name for the length of the block.

    Parameters
    ----------
    only_if
        As for `take`.

    Raises
    ------
    Contention
        Another process holds it, or the row does not meet the condition.
    StoreUnavailable
        Storage did not answer: the position is unknown, so no walk starts.
    """
    lease = await take(name, s.cursors, s.clock, seconds=LEASE, only_if=only_if)
    if lease is None:
        raise _held()
    walk = Walk(lease)
    holding = asyncio.create_task(walk.hold(lease))
    try:
        if lease.after_expiry:
            await walk.note_death()
        yield walk
    finally:
        holding.cancel()
        # The renewal ends first: a renewal after the release would take the lease again.
        with suppress(asyncio.CancelledError):
            await holding
        with suppress(SyncError):
            await lease.release()


def _held() -> Contention:
    return Contention("another process holds this job's lease", code="walk.held", hint=HELD)


async def run_walk(
    batches: AsyncIterator[Batch],
    work: Work,
    walk: Walk,
    *,
    parallel: int,
    until: float | None = None,
    ending: Json | None = None,
) -> bool:
    """
    Process every change of every batch, in any order, and move the position over finished batches. May be interrupted.

    Parameters
    ----------
    until
        `time.monotonic` after which no batch is begun.
    ending
        Fields to add to the position once all batches are done. The lease is released in the same write, so that the
        last batch, the end and the release are one write; by default the caller writes the end.

    Returns
    -------
    bool
        Whether all batches were read.

    Raises
    ------
    Contention
        Another process runs this walk now.
    TransientError
        From the work, or from the batches. Completed work stays done.
    """
    slots = asyncio.Semaphore(parallel)
    begun: deque[tuple[Batch, asyncio.Task[Counter[str]]]] = deque()
    ended = True
    try:
        async for batch in batches:
            begun.append((batch, asyncio.create_task(_all_of(batch, work, slots))))
            while len(begun) > AHEAD or (begun and begun[0][1].done()):
                await _finish(begun, walk)
            if until is not None and time.monotonic() >= until:
                ended = False
                break
        while begun:
            await _finish(begun, walk, ending=ending if ended and len(begun) == 1 else None)
        if ended and ending is not None and not ending.items() <= walk.position.items():
            # There was no batch, or none was left when the end became known.
            await walk.finish({**walk.position, **ending})
    finally:
        for _, task in begun:
            task.cancel()
        await asyncio.gather(*(task for _, task in begun), return_exceptions=True)
    return ended


async def _finish(
    begun: deque[tuple[Batch, asyncio.Task[Counter[str]]]], walk: Walk, *, ending: Json | None = None
) -> None:
    # In the order of the batches, though their work overlaps: the position may never pass a change that is not done.
    batch, task = begun[0]
    tally = await task
    begun.popleft()
    passed = Counter({"passed": batch.passed, "unusable": batch.unusable, Ingested.REPEAT.counted: batch.unchanged})
    passed.update(batch.counts)
    walk.counts += passed
    walk.settle(tally + passed)
    await (walk.advance(batch.position) if ending is None else walk.finish({**batch.position, **ending}))


_tally: ContextVar[Counter[str] | None] = ContextVar("tally", default=None)
"""The counts of the present batch."""


async def _all_of(batch: Batch, work: Work, slots: asyncio.Semaphore) -> Counter[str]:
    tally = Counter[str]()
    _tally.set(tally)  # a task has a context of its own

    async def work_on(change: Change) -> None:
        async with slots:
            await work(change)

    async with _first_failure(), asyncio.TaskGroup() as group:
        tasks = [group.create_task(work_on(change)) for change in batch.changes]
    if any(task.cancelled() for task in tasks):  # which a group takes for a normal end
        raise asyncio.CancelledError
    return tally


@asynccontextmanager
async def _first_failure() -> AsyncIterator[None]:
    """Raise the first failure of a group by itself."""
    try:
        yield
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def retry_then_dead_letter(
    work: Work,
    walk: Walk,
    give_up: Callable[[Change, PermanentError], Awaitable[None]],
    *,
    longest_wait: float,
    until: float | None = None,
) -> Work:
    """
    Try a change several times; give up on it if it alone keeps failing.

    If other changes succeed meanwhile, this object is at fault: it gets a dead letter and the walk continues. If none
    does, it is an outage: the walk stops, and the next one begins at its position.

    Parameters
    ----------
    longest_wait
        Maximum seconds between two attempts, whatever the store asks for.
    until
        `time.monotonic` at which the run ends: an attempt whose next wait would pass it is the last one.
    """

    def pause(state: RetryCallState) -> float:
        outage = state.outcome.exception() if state.outcome else None
        requested = outage.retry_after if isinstance(outage, TransientError) else None
        return min(requested or FIRST_PAUSE * 2.0 ** (state.attempt_number - 1), longest_wait)

    def is_last(state: RetryCallState) -> bool:
        ends = until is not None and time.monotonic() + state.upcoming_sleep >= until
        return ends or state.attempt_number >= TRIES

    async def tried(change: Change) -> None:
        before = walk.successes
        retrying = AsyncRetrying(
            stop=is_last,
            wait=pause,
            retry=retry_if_exception_type(TransientError),
            sleep=asyncio.sleep,
            reraise=True,
        )
        try:
            await retrying(work, change)
        except TransientError as failure:
            if walk.successes == before and not walk.others_succeed:
                raise
            await give_up(change, PermanentError(failure.detail, code=failure.code, hint=failure.hint))
        else:
            walk.successes += 1

    return tried
