"""Shared by commands that walk: taking part in a shared walk, progress, times, waiting for a lease."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sync.cli.reporting import EXIT_USAGE, console
from sync.errors import Contention, SyncError
from sync.model import CHECKS
from sync.model.timestamps import typed_time
from sync.operators.walks import NewWalk, begin_walk, read_progress
from sync.ports import Control, Jobs, ReadFeeds, Services
from sync.protocol.walk_rows import Slice, WalkProgress, WalkRow, WalkState, read_board, read_walk
from sync.walks.inline_projection import HintsHere, LeftForTheApp, Projector
from sync.walks.sharing import Kinds, Worker, cut_walk, end_walks
from sync.walks.walk import HELD, Walk
from sync.words import counted, tallied

SAY_EVERY = 10.0
"""Seconds between two lines of progress without a terminal."""

_DRAW_EVERY = 0.5

_LOOK_SECONDS = 0.15
"""Seconds between two searches for slices while none is free and the walk is not over."""

_CUTTER_SECONDS = 1.0
"""Seconds between two checks whether another process still cuts the walk."""

WAITED_SECONDS = 3.0
"""Seconds without progress in a walk that another process holds, before the command says so."""

_CUT_FIRST_SECONDS = 1.0
"""Seconds for which a walk is cut before the work begins."""


def timestamp(text: str | None, option: str) -> datetime | None:
    """
    Read a time with its zone, ISO 8601, or a date, which begins at midnight UTC.

    Raises
    ------
    typer.Exit
        With `EXIT_USAGE`: the text is not a time, or has no zone.
    """
    if text is None:
        return None
    try:
        return typed_time(text)
    except ValueError as problem:
        refuse(f"{option}: {problem}")


def refuse(problem: str) -> NoReturn:
    """Print the error of the command line, and exit."""
    console().print(problem)
    raise typer.Exit(EXIT_USAGE)


def refuse_projected_dry_run(*, dry_run: bool, project: bool) -> None:
    """Refuse both options of a command at once."""
    if dry_run and project:
        refuse("--dry-run writes nothing, so it cannot be combined with --project")


class Counting(Protocol):
    """The counts that a meter shows."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Counts by outcome."""
        ...


class Merged:
    """The counts of all workers of a walk; those of this worker up to the present."""

    def __init__(self, live: Mapping[str, Walk]) -> None:
        self._live = live
        self._rows: Mapping[str, Mapping[str, int]] = {}

    @property
    def counts(self) -> Counter[str]:
        """Counts by outcome."""
        counts = Counter[str]()
        for name in {*self._rows, *self._live}:
            counts.update(self._live[name].counts if name in self._live else self._rows[name])
        return counts

    def take(self, slices: Sequence[Slice]) -> None:
        """Adopt the counts of the walk's rows."""
        self._rows = {piece.name: piece.counts for piece in slices}


async def begin_or_go_on(
    asked: NewWalk, s: Control, out: Console, *, who: str, dealt: Callable[[Mapping[str, int]], str]
) -> None:
    """
    Begin a walk, or print the progress of the one that is running already.

    Parameters
    ----------
    who
        Name of the operator, for the audit trail.
    dealt
        Formats its counts.
    """
    if not await begin_walk(asked, s, who=who):
        progress = await read_progress(asked.name, s)
        out.print(f"going on  {dealt(progress.counts)} before")


async def share_walk(
    name: str, kinds: Kinds, s: ReadFeeds, out: Console, *, heading: str, parallel: int, as_json: bool
) -> tuple[WalkProgress, float]:
    """
    Cut a walk and work on its slices, beside other workers, until it is over or paused; show the total progress.

    Returns
    -------
    tuple
        Its progress, and the objects a second of all workers while this one took part.

    Raises
    ------
    TransientError
        A service did not answer; the walk continues from where it is.
    """
    worker = Worker(kinds=kinds, s=s, parallel=parallel, only=name)
    waiting = WaitNotice(out, as_json=as_json)
    merged = Merged(worker.live)
    board = await read_board(s)
    row = board.walks[name]
    merged.take(board.of_walk(row))
    meter = Meter(heading, merged, out, as_json=as_json)
    try:
        async with meter.shown():
            # A small walk has all its slices before the first search for one.
            await _cut_some(name, kinds, s)
            return await _take_part(worker, merged, meter, waiting)
    except asyncio.CancelledError:  # Ctrl-C
        _tell_left(row, out, as_json=as_json)
        raise


def _tell_left(row: WalkRow, out: Console, *, as_json: bool) -> None:
    """Report that the walk continues without this command."""
    stops = f"python -m sync walks pause {row.id}"
    hint = f"Running functions continue the walk, and so does the same command; {stops} stops it."
    out.print(json.dumps({"event": "left", "walk": row.id, "hint": hint}) if as_json else f"left      {hint}")


async def _take_part(worker: Worker, merged: Merged, meter: Meter, waiting: WaitNotice) -> tuple[WalkProgress, float]:
    name, kinds, s = worker.only, worker.kinds, worker.s
    async with _beside(_cut_all(name, kinds, s, waiting)) as cutting, _beside(_follow(name, merged, meter, s)):
        while True:
            await worker.work(until=math.inf)
            if cutting.done():
                cutting.result()
            board = await read_board(s)
            row = board.walks[name]
            # If another process has ended the walk, that process deletes its slices.
            if row.state is WalkState.FAILED or (row.state is WalkState.RUNNING and board.is_complete(row)):
                await end_walks(s)
                board = await read_board(s)
            progress = board.progress(board.walks[name], s.clock.now())
            if progress.row.state is not WalkState.RUNNING:
                return progress, meter.rate_of(progress)  # the slices of a walk that is over are gone
            waiting.see(progress)
            merged.take(board.of_walk(progress.row))
            await asyncio.sleep(_LOOK_SECONDS)


async def _cut_some(name: str, kinds: Kinds, s: ReadFeeds) -> None:
    row = await read_walk(name, s)
    with suppress(Contention):
        if row is not None and row.state is WalkState.RUNNING and not row.planned:
            await cut_walk(row, kinds, s, until=time.monotonic() + _CUT_FIRST_SECONDS)


async def _cut_all(name: str, kinds: Kinds, s: ReadFeeds, waiting: WaitNotice) -> None:
    """Cut the walk to its end, or wait until another process has done so."""
    while (row := await read_walk(name, s)) is not None and row.state is WalkState.RUNNING and not row.planned:
        try:
            await cut_walk(row, kinds, s, until=math.inf)
        except Contention:
            waiting.cut_elsewhere = True
        await asyncio.sleep(_CUTTER_SECONDS)
    waiting.cut_elsewhere = False


async def _follow(name: str, merged: Merged, meter: Meter, s: Jobs) -> None:
    while True:
        await asyncio.sleep(1.0)
        with suppress(SyncError):
            board = await read_board(s)
            row = board.walks[name]
            merged.take(board.of_walk(row))
            meter.follow(board.progress(row, s.clock.now()))


class WaitNotice:
    """
    Says once that a walk makes no progress while another process holds one of its leases.

    That process may be slow or killed; only the end of its lease shows that it was killed.
    """

    def __init__(self, out: Console, *, as_json: bool) -> None:
        self._out, self._as_json = out, as_json
        self._seen: tuple[object, ...] = ()
        self._since = time.monotonic()
        self._said = False
        self.cut_elsewhere = False
        """Whether another process held the lease for cutting when this one last asked for it."""

    def see(self, progress: WalkProgress) -> None:
        """Note the walk's progress while this process works on none of its slices."""
        seen = (progress.slices, progress.slices_done, progress.counts)
        if seen != self._seen or not (progress.workers or self.cut_elsewhere):
            self._seen, self._since = seen, time.monotonic()
        elif not self._said and time.monotonic() - self._since >= WAITED_SECONDS:
            self._said = True
            line = {"event": "waiting", "code": "walk.held", "hint": HELD}
            self._out.print(json.dumps(line) if self._as_json else f"waiting   {HELD}")


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run the work concurrently with the block; it ends with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Meter:
    """
    Shows a walk's progress, for people or for machines: a bar on a terminal, else a line at intervals.

    ``total`` is None until it is known; only then is there an estimate of the time left. A walk that compares or
    exports is shown by its share and its studies.
    """

    def __init__(self, heading: str, walk: Counting, out: Console, *, as_json: bool) -> None:
        self.total: int | None = None
        self._progress: WalkProgress | None = None
        self._walk, self._out, self._as_json = walk, out, as_json
        self._before, self._began = done(walk), time.monotonic()
        self._on_terminal = out.is_terminal and not as_json
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}{task.fields[of]}  {task.fields[rate]:.0f}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=out,
            disable=not self._on_terminal,
        )
        self._task = self._bar.add_task(heading, total=None, rate=0.0, of="")

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show the meter for the length of the block."""
        with self._bar:
            drawing = asyncio.create_task(self._draw())
            try:
                yield
            finally:
                drawing.cancel()

    def follow(self, progress: WalkProgress) -> None:
        """Update the meter with the progress of all workers."""
        row = progress.row
        self.total = row.size if row.planned and row.unit == "objects" else None
        self._progress = progress if row.unit in {CHECKS, "studies"} else None

    @property
    def rate(self) -> float:
        """Return the objects a second in this run."""
        return self.rate_of(self._walk)

    def rate_of(self, walk: Counting) -> float:
        """Return the objects per second of this run, computed from other counts of the same walk."""
        return (done(walk) - self._before) / max(time.monotonic() - self._began, 0.001)

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(_DRAW_EVERY if self._on_terminal else SAY_EVERY)
            if self._progress is not None:
                self._show_share(self._progress)
            elif self._on_terminal:
                of = f" of {self.total:,}" if self.total is not None else ""
                self._bar.update(self._task, completed=done(self._walk), total=self.total, rate=self.rate, of=of)
            else:
                self._say()

    def _show_share(self, progress: WalkProgress) -> None:
        share, left = progress.share or 0.0, progress.seconds_left
        if self._on_terminal:
            done = round(share * 100)
            self._bar.update(self._task, completed=done, total=100, rate=progress.counts.get("studies", 0), of=" %")
        elif self._as_json:
            line = {"event": "progress", "share": round(share, 4), "seconds_left": round(left) if left else None}
            self._out.print(json.dumps(line))
        else:
            more = f", about {left:,.0f} s left" if left else ""
            self._out.print(
                f"so far    {share:.0%}, {counted(progress.counts.get('studies', 0), 'study', 'studies')}{more}"
            )

    def _say(self) -> None:
        number, rate = done(self._walk), round(self.rate, 1)
        if self._as_json:
            self._out.print(json.dumps({"event": "progress", "done": number, "of": self.total, "per_second": rate}))
        else:
            self._out.print(f"so far    {number:,}" + (f" of {self.total:,}" if self.total else "") + f", {rate}/s")


def tell_state(progress: WalkProgress, out: Console) -> None:
    """Report that a walk is not finished."""
    row = progress.row
    if row.state is WalkState.PAUSED:
        out.print(f"paused    the same command continues it, or python -m sync walks resume {row.id}")
    elif row.state is WalkState.CANCELLED:
        out.print("cancelled the same command restarts it")
    elif row.state is WalkState.FAILED:
        out.print(f"failed    {row.problem}: see its heading in docs/runbook.md")


def done(walk: Counting) -> int:
    """Return how many objects or entries a walk has processed, in all its runs."""
    return sum(number for name, number in walk.counts.items() if name != "studies")


@asynccontextmanager
async def projecting(s: Services, counts: Counter[str], *, enabled: bool) -> AsyncIterator[Services]:
    """Yield services whose marks are projected in this process; on exit, wait until no study is outstanding."""
    if not enabled:
        yield s
        return
    hints = HintsHere(s.clock)
    services, ended = replace(s, study_queue=hints, dirty=LeftForTheApp(s.dirty)), asyncio.Event()
    projector = Projector(hints, services, counts)
    running = asyncio.create_task(projector.run(ended))
    try:
        yield services
        ended.set()
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def print_line(heading: str, numbers: Counter[str], *, as_json: bool, **more: float) -> None:
    """Write a result to standard output."""
    counts = {name: number for name, number in sorted(numbers.items()) if number}
    if as_json:
        typer.echo(json.dumps({"what": heading, "counts": counts, **more}))
        return
    listed = tallied(counts) or "none"
    measured = ", ".join(_measured(name.replace("_", " "), value) for name, value in more.items() if value is not False)
    typer.echo(f"{heading}: {listed}" + (f" ({measured})" if measured else ""))


def _measured(name: str, value: float) -> str:
    return name if value is True else tallied({name: value})
