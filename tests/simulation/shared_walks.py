"""
A walk that several processes share, in a random order of everything, with kills, pauses and clocks that jump.

A process is killed as a kill does it: at any call of a port or right after any write, and nothing of it runs on, so
that its leases stay until they run out. The clock jumps past leases of processes that live, so that two hold one slice.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

from sync.errors import StoreUnavailable, SyncError
from sync.model import Locator
from sync.ports import Services
from sync.protocol.attempts import CRASH_CODE
from sync.walks.backfill import KIND, Scope
from tests.worlds import MemoryWorld

CHAIN = (
    "sync.protocol.walk_rows",
    "sync.protocol.walk_states",
    "sync.operators.walks",
    "sync.walks.cutting",
    "sync.walks.backfill",
    "sync.walks.choosing",
    "sync.walks.sharing",
    "sync.walks.tending",
)
"""Modules that import one another in this order."""

SCOPE = Scope(container="dicom")
MOST_STEPS = 200
TROUBLED = 60
"""Steps in which processes are killed and the walk is paused; then what is left must come to its end."""

ALIVE = 3
"""Processes that share the walk at any time."""


def real(chain: Sequence[str] = CHAIN) -> dict[str, ModuleType]:
    """Return the modules as they are."""
    return {name: import_module(name) for name in chain}


_WRITES = frozenset({"write", "replace_beside", "note", "transact", "create"})
"""Calls after which a process may die at once."""


class Port:
    """A port of one process: others run before each call, and after a kill there is none."""

    def __init__(self, port: Any, process: Process) -> None:
        self._port, self._process = port, process

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if asyncio.iscoroutinefunction(method):

            async def called(*args: Any, **more: Any) -> Any:
                await self._process.step()
                answer = await method(*args, **more)
                if name in _WRITES:
                    self._process.wrote()
                return answer

            self.__dict__[name] = called  # the next time it is at hand
            return called
        return method


class LosingAnswers:
    """The rows of walks behind a connection that breaks: writes take effect, and some of them are told as outages."""

    def __init__(self, cursors: Any, process: Process, share: float) -> None:
        self._cursors, self._process, self._share = cursors, process, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursors, name)

    async def write(self, *args: Any) -> Any:
        """Write a row, and perhaps give no answer, in a process that is going to be killed."""
        return self._perhaps(await self._cursors.write(*args))

    async def replace_beside(self, *args: Any) -> Any:
        """Lose answers of writes of several rows likewise."""
        return self._perhaps(await self._cursors.replace_beside(*args))

    def _perhaps(self, etag: Any) -> Any:
        if self._process.last_write and self._process.rng.random() < self._share:
            raise StoreUnavailable("no answer")
        return etag


@dataclass
class Process:
    """One process that takes part."""

    cursor: str
    sharing: ModuleType
    tending: ModuleType
    kinds: Mapping[str, Any]
    services: Services
    rng: random.Random
    last_write: int = 0
    writes: int = 0
    dead: bool = False
    task: asyncio.Task[None] | None = None

    def wrote(self) -> None:
        """Die right after the write that this process does not outlive: the next call is never made."""
        self.writes += 1
        self.dead = self.dead or self.writes == self.last_write

    async def step(self) -> None:
        """Let others run, and die if this process was killed meanwhile."""
        await asyncio.sleep(0)
        if self.dead:
            raise asyncio.CancelledError

    async def live(self) -> None:
        """Do what is to be done, in any order, until killed."""
        while not self.dead:
            with suppress(SyncError):
                await self._one_thing()
            await asyncio.sleep(0)

    async def _one_thing(self) -> None:
        row = await self.sharing.read_walk(self.cursor, self.services)
        match self.rng.choice(("cut", "work", "work", "end", "message")):
            case "cut" if row is not None:
                await self.sharing.cut_walk(
                    row, self.kinds, self.services, until=math.inf, most=self.rng.choice((1, 2))
                )
            case "work":
                until = self.rng.choice((0.0, math.inf, math.inf))
                await self.sharing.Worker(kinds=self.kinds, s=self.services, parallel=3).work(until=until)
            case "message":
                await self.tending.take_turn(self.kinds, self.services, redelivered=False)
            case _:
                await self.sharing.end_walks(self.services)


@dataclass
class SharedWalk:
    """One schedule."""

    seed: int
    modules: Mapping[str, ModuleType] = field(default_factory=real)
    objects: int = 23
    outside: bool = True
    """Whether objects are added and deleted meanwhile; else every object has to be counted exactly once."""
    lost_answers: float = 0.0
    """Share of the writes of walks' rows that take effect and whose answer is lost."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.w = MemoryWorld(**self.settings)
        self.names = {f"{number % 5}/{number:03}" for number in range(self.objects)}
        self.fill()
        self.processes: list[Process] = []
        self.begun = 0

    more_ports: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[Mapping[str, Any]] = {}
    """Ports beside those of a backfill at whose calls a process may be killed."""

    ticks: ClassVar[int] = 25
    """Turns of the processes between two troubles: a batch takes some of them."""

    asking_again_covers_more: ClassVar = False
    """Whether a walk that is asked for again while it runs covers what was added until then."""

    @property
    def cursor(self) -> str:
        """Name of the walk's row."""
        return SCOPE.cursor

    def asked(self) -> Any:
        """Return the walk that is begun."""
        return self.modules["sync.walks.backfill"].new_backfill(SCOPE)

    def kinds_of(self, process: Process) -> Mapping[str, Any]:
        """Return the kinds of a process."""
        listing = Port(self.w.store.objects, process)
        return {KIND: self.modules["sync.walks.backfill"].Backfill(listing=listing)}

    def shown(self, name: str, port: Any, process: Process) -> Any:
        """Return what a process sees of a port."""
        if name == "cursors" and self.lost_answers:
            port = LosingAnswers(port, process, self.lost_answers)
        return Port(port, process)

    def fill(self) -> None:
        """Store the objects."""
        for number, name in enumerate(sorted(self.names)):
            self.w.put(name, sop=f"2.25.{1000 + number}", study=f"2.25.{number % 4 + 1}")

    async def run(self) -> None:
        """Play the walk to its end, and check what must hold."""
        sharing, cutting = self.modules["sync.walks.sharing"], self.modules["sync.walks.cutting"]
        backfill = self.modules["sync.walks.backfill"]
        seeded = random.Random(self.seed)
        with (
            patch.object(cutting, "SMALLEST", 3),
            patch.object(backfill, "PAGE", 2),
            patch.object(sharing, "WATCH", 0),
            patch.object(self.modules["sync.walks.choosing"], "random", seeded),
            patch.object(self.modules["sync.walks.tending"], "random", seeded),
            patch.object(sharing, "NOTED_SECONDS", 1000 * (self.seed % 2)),
            patch("sync.walks.walk.FIRST_PAUSE", 0),
        ):
            await self._begin()
            try:
                await self._play()
            finally:
                for process in list(self.processes):
                    await self._kill(process)
            await self.check()

    async def _begin(self) -> None:
        walks = self.modules["sync.operators.walks"]
        covered = self.covered()
        if await walks.begin_walk(self.asked(), self.w.services, who="ada"):
            self.begun += 1
        elif not self.asking_again_covers_more:
            return
        self.names = covered

    async def _begin_if_over(self) -> None:
        # Not one that runs: that would have what may grow read again, and again.
        if not (await self._row()).state.is_open:
            await self._begin()

    def covered(self) -> set[str]:
        """Name the objects that a walk which begins now covers."""
        return {ref.name for ref in self.w.store.objects.refs()}

    async def _play(self) -> None:
        for step in range(MOST_STEPS):
            for dead in [process for process in self.processes if process.dead]:
                await self._kill(dead)
            while len(self.processes) < ALIVE:
                self._start(last_write=self.rng.randrange(20) if step < TROUBLED else 0)
            for _ in range(self.rng.randrange(1, self.ticks)):
                await asyncio.sleep(0)
            row = await self._row()
            if not row.state.is_open and row.state.value == "done":
                return
            await (self._trouble() if step < TROUBLED else self.calm())
        raise AssertionError("the walk came to no end")

    async def _trouble(self) -> None:
        walks = self.modules["sync.operators.walks"]
        match self.rng.choice(
            ("kill", "kill", "clock", "clock", "pause", "resume", "resume", "cancel", "begin", "outside")
        ):
            case "kill":
                await self._kill(self.rng.choice(self.processes))
            case "clock":
                self.w.clock.advance(self.rng.choice((1, 20, 40)))
            case "pause":
                await walks.control_walk(self.cursor, walks.Deed.PAUSE, self.w.services, who="ada")
            case "resume":
                await walks.control_walk(self.cursor, walks.Deed.RESUME, self.w.services, who="ada")
            case "cancel" if self.rng.random() < 0.3:
                await walks.control_walk(self.cursor, walks.Deed.CANCEL, self.w.services, who="ada")
            case "begin":
                await self._begin()
            case "outside" if self.outside:
                self.change_something()

    async def calm(self) -> None:
        """Do what lets the walk come to its end."""
        walks = self.modules["sync.operators.walks"]
        if not await walks.control_walk(self.cursor, walks.Deed.RESUME, self.w.services, who="ada"):
            await self._begin_if_over()
        self.w.clock.advance(40)

    def is_inspected(self, row: Locator) -> bool:
        """Return whether the row shows that its object was inspected to the end."""
        return row.settled

    def change_something(self) -> None:
        number = self.rng.randrange(self.objects)
        if self.rng.random() < 0.5:
            self.w.delete(f"{number % 5}/{number:03}")
        else:
            self.w.put(f"{number % 5}/{number:03}new", sop=f"2.25.{5000 + number}", study="2.25.1")

    def _start(self, *, last_write: int) -> None:
        ports = ("cursors", "locators", "ledger", "dirty", "objects", "dead_letters", "study_queue", *self.more_ports)
        base = self.w.process(**self.settings)
        sharing, tending = self.modules["sync.walks.sharing"], self.modules["sync.walks.tending"]
        process = Process(self.cursor, sharing, tending, {}, base, self.rng, last_write)
        named = [port.name for port in fields(Services) if port.name in ports]
        shown = {name: self.shown(name, getattr(base, name), process) for name in named}
        process.services = replace(base, **shown)
        process.kinds = self.kinds_of(process)
        process.task = asyncio.create_task(process.live())
        self.processes.append(process)

    async def _kill(self, process: Process) -> None:
        process.dead = True
        assert process.task is not None
        process.task.cancel()
        await asyncio.gather(process.task, return_exceptions=True)
        if process in self.processes:
            self.processes.remove(process)

    async def _row(self) -> Any:
        row = await self.modules["sync.protocol.walk_rows"].read_walk(self.cursor, self.w.services)
        assert row is not None
        return row

    def _blamed(self) -> set[str]:
        letters = {letter.subject for letter in self.w.store.dead_letters.table.values() if letter.code == CRASH_CODE}
        rows = self.w.store.locators.table.values()
        return {row.object.name for row in rows if row.has_dead_letter and str(row.object.key) in letters}

    async def check(self) -> None:
        """Check that every object that was there when the walk began, and still is, was inspected and counted once."""
        there = {ref.name for ref in self.w.store.objects.refs()} & self.names
        stored = {row.object.name for row in self.w.store.locators.table.values() if self.is_inspected(row)}
        # Processes are killed so often that one may die of an innocent object each time: it has a dead letter then.
        assert there <= stored | self._blamed(), f"{len(there - stored)} objects were never inspected"
        row = await self._row()
        counted = sum(number for outcome, number in row.counts.items() if outcome != "studies")
        if not self.outside:
            assert counted == len(self.names), f"{counted} counted of {len(self.names)}"
        await self.modules["sync.walks.sharing"].end_walks(self.w.services)
        left = [cursor.name for cursor in self.w.store.cursors.table.values() if cursor.name.startswith("slice ")]
        assert left == []
