"""What the commands that walk share: progress that says how fast and how long still, moments, waiting for a turn."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sync.cli.reporting import EXIT_USAGE, console
from sync.errors import Contention
from sync.model.timestamps import typed_time
from sync.ports import Jobs, Services
from sync.walks.inline_projection import HintsHere, LeftForTheApp, Projector
from sync.walks.walk import LEASE, Walk, walk_of

SAY_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""

_DRAW_EVERY = 0.5


def timestamp(text: str | None, option: str) -> datetime | None:
    """
    Read a time with its zone, ISO 8601, or a date, which begins at midnight UTC.

    Raises
    ------
    typer.Exit
        With `EXIT_USAGE`: it is none, or does not say in which zone.
    """
    if text is None:
        return None
    try:
        return typed_time(text)
    except ValueError as problem:
        refuse(f"{option}: {problem}")


def refuse(problem: str) -> NoReturn:
    """Say what is wrong with the command line, and end."""
    console().print(problem)
    raise typer.Exit(EXIT_USAGE)


@asynccontextmanager
async def leased_walk(name: str, s: Jobs, out: Console) -> AsyncIterator[Walk]:
    """
    Hold a walk's cursor; wait, as long as a killed walker would keep it, for one who holds it.

    Raises
    ------
    Contention
        Another process holds the lease of this job.
    """
    async with AsyncExitStack() as stack:
        deadline, waiting = time.monotonic() + LEASE + 1, False
        while True:
            try:
                walk = await stack.enter_async_context(walk_of(name, s))
                break
            except Contention:
                if time.monotonic() > deadline:
                    raise
                if not waiting:
                    out.print(f"waiting   another process walks here; if it was killed, {LEASE:.0f} s at most")
                    waiting = True
                await asyncio.sleep(1)
        yield walk


class Meter:
    """
    How a walk gets on, for people or for machines: a bar on a terminal, else a line now and then.

    ``total`` is None until it is known; only then is there an estimate of the time left.
    """

    def __init__(self, heading: str, walk: Walk, out: Console, *, as_json: bool) -> None:
        self.total: int | None = None
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
        """Show it for the length of the block."""
        with self._bar:
            drawing = asyncio.create_task(self._draw())
            try:
                yield
            finally:
                drawing.cancel()

    @property
    def rate(self) -> float:
        """Objects a second, in this run."""
        return (done(self._walk) - self._before) / max(time.monotonic() - self._began, 0.001)

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(_DRAW_EVERY if self._on_terminal else SAY_EVERY)
            if self._on_terminal:
                of = f" of {self.total:,}" if self.total is not None else ""
                self._bar.update(self._task, completed=done(self._walk), total=self.total, rate=self.rate, of=of)
            else:
                self._say()

    def _say(self) -> None:
        number, rate = done(self._walk), round(self.rate, 1)
        if self._as_json:
            self._out.print(json.dumps({"event": "progress", "done": number, "of": self.total, "per_second": rate}))
        else:
            self._out.print(f"so far    {number:,}" + (f" of {self.total:,}" if self.total else "") + f", {rate}/s")


def done(walk: Walk) -> int:
    """Return how many objects or entries a walk has dealt with, in all its runs."""
    return sum(number for name, number in walk.counts.items() if name != "studies")


@asynccontextmanager
async def projecting(s: Services, counts: Counter[str], *, enabled: bool) -> AsyncIterator[Services]:
    """Give services whose marks are projected here, and wait in the end until nothing is outstanding."""
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


def print_line(heading: str, counted: Counter[str], *, as_json: bool, **more: float) -> None:
    """Write a result to standard output."""
    counts = {name: number for name, number in sorted(counted.items()) if number}
    if as_json:
        typer.echo(json.dumps({"what": heading, "counts": counts, **more}))
        return
    listed = ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "none"
    measured = ", ".join(_measured(name.replace("_", " "), value) for name, value in more.items() if value is not False)
    typer.echo(f"{heading}: {listed}" + (f" ({measured})" if measured else ""))


def _measured(name: str, value: float) -> str:
    return name if value is True else f"{value} {name}"
