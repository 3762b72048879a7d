"""
Walks that any number of processes share: one cuts slices, all work on them, each slice under a lease.

    begin  ->  cut  ->  work, work, work …  ->  the last slice done  ->  end

A worker takes a slice by the lease of its row, and its position moves like that of any walk (`sync.walks.walk`). A
killed worker loses only its work since the last batch, and its slice is free again when the lease expires. A holder
that was wrongly presumed dead may work beside the new one: the work of both is idempotent, and the old holder fails at
its next batch. Cutting runs under the lease of the walk's own row, and continues in the same way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from sync.errors import Contention, PermanentError, SourceGone, SyncError, TransientError
from sync.model import Batch, Change, Cursor
from sync.ports import Core, Jobs, ReadFeeds
from sync.ports.state import MOST_BESIDE
from sync.protocol.walk_rows import (
    Board,
    Slice,
    WalkRow,
    WalkState,
    end_walk,
    read_board,
    read_walk,
    remove_leftovers,
)
from sync.telemetry.defects import only_sync_errors
from sync.walks.choosing import Look
from sync.walks.cutting import Cut
from sync.walks.pacing import Pace, PacedMarks
from sync.walks.suspects import alone_if_suspect
from sync.walks.walk import Walk, Work, retry_then_dead_letter, run_walk, walk_of

PARALLEL = 24
"""Default number of objects that a worker inspects concurrently."""

WATCH = 2.0
"""Seconds between two checks whether a walk still runs: after a pause no worker continues for longer."""

GRACE = 60.0
"""Seconds that a slice has to finish its begun work when its worker's time is over; then it is left as it is."""

NOTED_SECONDS = 3.0
"""Seconds between notes of the position of cutting within a slice; after a kill that much is listed again."""


class Kind(Protocol):
    """One kind of walk: its range, and its work. ``request`` is as in `WalkRow`."""

    def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """Cut the walk from ``row.plan`` on. Only reads."""
        ...

    def batches(self, row: WalkRow, piece: Slice, after: Sequence[Slice], s: ReadFeeds) -> AsyncIterator[Batch]:
        """
        Iterate over a slice from ``piece.at`` on; ``after`` are later slices.

        Only reads, except for idempotent work that must precede any change.
        """
        ...

    def work(self, row: WalkRow, walk: Walk, s: ReadFeeds) -> Work:
        """Return the function that processes one change. It must be idempotent and may be interrupted."""
        ...

    async def give_up(self, walk: Walk, s: ReadFeeds, change: Change, refusal: PermanentError) -> None:
        """Handle a change that alone keeps failing."""
        ...


_DONE = {"done": True}
"""Position of a slice that is done."""


def _is_left(cursor: Cursor) -> bool:
    """Return whether a row is a slice that is not done: only then its lease is worth taking."""
    piece = Slice.of(cursor)
    return piece is not None and not piece.done


Kinds = Mapping[str, Kind]
"""Kinds of walks by name."""


async def cut_walk(row: WalkRow, kinds: Kinds, s: ReadFeeds, *, until: float, most: int | None = None) -> None:
    """
    Cut slices off a walk. Idempotent, and may be interrupted; of two simultaneous calls one cuts.

    Parameters
    ----------
    until
        `time.monotonic` after which nothing more is listed.
    most
        Maximum number of slices to cut.

    Raises
    ------
    Contention
        Another process cuts this walk now, or an operator has changed it.
    TransientError
        The source or storage did not answer; it continues from here.
    """
    try:
        async with only_sync_errors(), walk_of(row.name, s) as walk:
            await _cut(walk, row.name, kinds, s, until=until, most=most)
    except (PermanentError, SourceGone) as refusal:
        await _fail(row, refusal, s)


async def _cut(walk: Walk, name: str, kinds: Kinds, s: ReadFeeds, *, until: float, most: int | None) -> None:
    row = WalkRow.of(Cursor(name=name, position=walk.position))
    if row is None or row.state is not WalkState.RUNNING:
        return
    row = await _adopted(row, walk, s)
    cut_now = 0
    if row.planned:
        return
    noted = time.monotonic()
    new: list[Slice] = []
    async for cut in kinds[row.kind].cuts(row):
        if cut.scope is None:
            row = replace(row, plan=cut.position, unit=cut.unit or row.unit)
        else:
            new.append(_slice_of(cut, row))
            row, cut_now = _with(row, new[-1]), cut_now + 1
        if row.planned or time.monotonic() >= until or (most is not None and cut_now >= most):
            await walk.finish(row.position, new=_rows(new))
            return
        if cut.more and len(new) < MOST_BESIDE:
            continue
        # Rarely within a slice: after a kill its pages are listed again. The unit is not in a slice's row, so it is
        # noted before the first slice: a process that adopts that slice would not know it.
        if new or cut.unit or time.monotonic() - noted >= NOTED_SECONDS:
            # Slices and their note in one transaction: a crash leaves no unnoted slice, and no gap.
            await walk.advance(row.position, new=_rows(new))
            noted, new = time.monotonic(), []


def _slice_of(cut: Cut, row: WalkRow) -> Slice:
    return Slice(
        name=row.slice_name(row.made),
        walk=row.name,
        run=row.run,
        scope=cut.scope or {},
        size=cut.size,
        following=cut.position,
        last=cut.last,
        grows=cut.grows,
        needs=cut.needs,
    )


def _rows(slices: Sequence[Slice]) -> list[Cursor]:
    return [Cursor(name=piece.name, position=piece.position) for piece in slices]


async def _adopted(row: WalkRow, walk: Walk, s: Jobs) -> WalkRow:
    """
    Adopt a slice that was written but not noted: earlier versions wrote both one after the other.

    A worker may hold it already, so it stays unchanged.
    """
    stored = await s.cursors.read(row.slice_name(row.made))
    piece = Slice.of(stored.value) if stored is not None else None
    if piece is None or row.planned:
        return row
    row = _with(row, piece)
    await walk.advance(row.position)
    return row


def _with(row: WalkRow, piece: Slice) -> WalkRow:
    return replace(row, plan=piece.following, planned=piece.last, made=row.made + 1, size=row.size + piece.size)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """
    One of the workers that share walks.

    ``only`` is the name of the walk to work on, empty for all. ``live`` maps the present slice's row name to its walk,
    for code that shows progress.
    """

    kinds: Kinds
    s: ReadFeeds
    parallel: int = PARALLEL
    only: str = ""
    live: dict[str, Walk] = field(default_factory=dict)

    async def work(self, *, until: float) -> bool:
        """
        Take free slices of running walks, one after the other, until none is free or the time is over.

        Idempotent; may be interrupted, and run in any number of processes. A slice that fails is left until another one
        succeeds: then its objects are at fault, and those that fail again become dead letters. If the next slice fails
        too, it is an outage.

        Parameters
        ----------
        until
            Time of `time.monotonic` after which no batch is begun.

        Returns
        -------
        bool
            Whether free slices are left.

        Raises
        ------
        TransientError
            A source or storage did not answer; completed work stays done.
        """
        failed: dict[str, int] = {}
        succeeded = 0
        look: Look | None = None
        last: Slice | None = None
        while True:
            seen, look = look or await self._look(), None
            board, free = seen.board, seen.free
            if not free or time.monotonic() >= until:
                return bool(free)
            row, piece = seen.choose(last, but=failed)
            alone = failed.get(piece.name, succeeded) < succeeded
            try:
                succeeded += await self._take(row, piece, board, until, others_succeed=alone)
                look, last = seen.without(piece), piece
            except Contention:
                last = None  # another worker continues from here
            except TransientError:
                if len(free) == 1 or piece.name in failed or succeeded in failed.values():
                    raise
                failed[piece.name] = succeeded

    async def _look(self) -> Look:
        board = await read_board(self.s)
        running = [row for row in running_walks(board, self.kinds) if self.only in {"", row.name}]
        return Look.at(board, free_slices(running, board, self.s), self.s.clock.now())

    async def _take(
        self, row: WalkRow, chosen: Slice, board: Board, until: float, *, others_succeed: bool = False
    ) -> int:
        """Work on a slice; return how many of its changes were processed."""
        # A row that was deleted since it was found free is not created again: nothing would delete it.
        async with only_sync_errors(), walk_of(chosen.name, self.s, only_if=_is_left) as walk:
            # Read again under the lease: its position may have moved since.
            piece = Slice.of(Cursor(name=chosen.name, position=walk.position))
            if piece is None or piece.done or await _if_running(row, self.s) is None:
                raise Contention("another process has done this slice, or its walk no longer runs")
            self.live[piece.name] = walk
            after = [later for later in board.of_walk(row) if later.name > piece.name]
            pace = Pace(_share_of(row, board, self.s))
            try:
                walk.others_succeed = others_succeed
                await self._walk_slice(row, piece, after, walk, pace=pace, until=until)
            except (PermanentError, SourceGone) as refusal:
                await _fail(row, refusal, self.s)
            finally:
                self.live.pop(piece.name, None)
            return walk.successes

    async def _walk_slice(
        self, row: WalkRow, piece: Slice, after: Sequence[Slice], walk: Walk, *, pace: Pace, until: float
    ) -> None:
        """Walk a slice until it ends, the time is over, or an operator stops the walk; only its end makes it done."""
        s, kind = replace(self.s, dirty=PacedMarks(self.s.dirty, pace)), self.kinds[row.kind]
        batches = _noting(piece, kind.batches(row, piece, after, s))
        longest = s.settings.longest_wait_seconds
        give_up = partial(kind.give_up, walk, s)
        alone = alone_if_suspect(kind.work(row, walk, s), walk, give_up, s)
        work = retry_then_dead_letter(alone, walk, give_up, longest_wait=longest, until=until)
        walking = asyncio.create_task(run_walk(batches, work, walk, parallel=self.parallel, until=until, ending=_DONE))
        watching = asyncio.create_task(_watch(row, pace, s))
        try:
            left = max(until - time.monotonic(), 0.0) + GRACE
            await asyncio.wait({walking, watching}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if walking.done():
                walking.result()
        finally:
            # Stopped in the middle, as a crash would: the position is behind what is done, never ahead of it.
            for task in (walking, watching):
                task.cancel()
            await asyncio.gather(walking, watching, return_exceptions=True)


async def _noting(piece: Slice, batches: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
    async for batch in batches:
        yield replace(batch, position=replace(piece, at=batch.position, deaths=0).position)


async def _watch(row: WalkRow, pace: Pace, s: ReadFeeds) -> None:
    """Return once the walk no longer runs; apply changes of its rate meanwhile."""
    while True:
        await asyncio.sleep(WATCH)
        with suppress(SyncError):
            latest = await _if_running(row, s)
            if latest is None:
                return
            if latest.rate is not None or pace.rate is not None:
                pace.rate = _share_of(latest, await read_board(s), s)


def _share_of(row: WalkRow, board: Board, s: Core) -> float | None:
    if row.rate is None:
        return None
    return row.rate / max(sum(piece.is_held(s.clock.now()) for piece in board.of_walk(row)), 1)


async def _if_running(row: WalkRow, s: ReadFeeds) -> WalkRow | None:
    """Return the walk's present row; None once this run no longer runs."""
    latest = await read_walk(row.name, s)
    return latest if latest is not None and latest.run == row.run and latest.state is WalkState.RUNNING else None


def running_walks(board: Board, kinds: Kinds) -> list[WalkRow]:
    """Return the running walks of those kinds. Pure."""
    return [row for row in board.walks.values() if row.state is WalkState.RUNNING and row.kind in kinds]


def free_slices(running: Sequence[WalkRow], board: Board, s: Core) -> list[tuple[WalkRow, Slice]]:
    """Return the slices of walks that a worker may take. Only reads."""
    now = s.clock.now()
    return [(row, piece) for row in running for piece in board.free_of(row, now)]


async def _fail(row: WalkRow, refusal: SyncError, s: ReadFeeds) -> None:
    await end_walk(row, WalkState.FAILED, await read_board(s), s, problem=refusal.code)
    s.telemetry.event("walk.failed", logging.ERROR, walk=row.id, code=refusal.code)


async def end_walks(s: ReadFeeds) -> Board:
    """
    End the walks whose slices are all done, and delete slices of runs that are over. Idempotent.

    Returns
    -------
    Board
        The board before these changes.
    """
    board = await read_board(s)
    for problem in (one.problem for one in board.unreadable):
        s.telemetry.event("walk.unreadable", logging.WARNING, code=problem.code, detail=problem.detail)
    elsewhere = set[str]()
    for row in board.walks.values():
        if row.state is not WalkState.RUNNING or not board.is_complete(row):
            continue
        if await end_walk(row, WalkState.DONE, board, s):
            s.telemetry.event("walk.done", walk=row.id)
        else:
            elsewhere.add(row.run)  # another process has just ended it, and deletes its slices
    slices = {run: some for run, some in board.slices.items() if run not in elsewhere}
    await remove_leftovers(replace(board, slices=slices), s)
    return board
