"""
Those who evaluate alerts, at once, dying at any call, with a storage that fails and channels that do.

A scheduler decides at every port call who goes on, who dies there, and whose call fails, before it had its effect or
after. Things break and are repaired; in the end of each phase all evaluate in peace.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

from sync.config import Settings
from sync.errors import StoreUnavailable, SyncError, WebhookUnavailable
from sync.model import Drift, DriftKind, StudyRef
from sync.monitoring.alerts import evaluation
from sync.monitoring.history import Recorder
from sync.ports import Notice, Services
from sync.telemetry.telemetry import Telemetry
from sync.testing.clock import ManualClock
from sync.testing.store import MemoryStore
from tests.simulation.scheduling import Stepping, Turns
from tests.worlds import ports_of

STUDY = StudyRef(study_instance_uid="2.25.1")
SETTINGS = Settings(
    fhir_url="http://localhost/fhir",
    AzureWebJobsStorage="UseDevelopmentStorage=true",
    alert={"stopped_seconds": 100_000, "clear_after_seconds": 60},  # the clock leaps here further than timers ever rest
)
WATCHED = ("cursors", "metrics", "tallies")


class Failing(Stepping):
    """A port of which a call may fail, before it had its effect or after."""

    def __init__(self, port: Any, world: AlertWorld) -> None:
        super().__init__(port, world.slots)
        self._world = world

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if method == getattr(self._port, name):
            return method

        async def called(*args: Any, **kwargs: Any) -> Any:
            fails, chance = self._world.outage_rate, self._world.rng.random()
            if chance < fails / 2:
                await self._turns.pause(name)
                raise StoreUnavailable("503")
            result = await method(*args, **kwargs)
            if chance < fails:
                raise StoreUnavailable("the answer was lost, the write was not")
            return result

        return called


class Channel:
    """Keeps what it got; may fail before it got it, and the sender may die after."""

    def __init__(self, world: AlertWorld) -> None:
        self.got: list[Notice] = []
        self.fail_rate = 0.0
        self._world = world

    async def send(self, notice: Notice) -> None:
        await self._world.slots.pause("send")
        if self._world.rng.random() < self.fail_rate:
            raise WebhookUnavailable("503")
        self.got.append(notice)
        await self._world.slots.pause("sent")

    def distinct(self, code: str = "alert.lag") -> list[Notice]:
        """Return each notice of an alert once, in the order of its first arrival; a repeat must be equal."""
        first: dict[str, Notice] = {}
        for notice in self.got:
            assert first.setdefault(notice.id, notice) == notice
        return [notice for notice in first.values() if notice.code == code]

    def steps(self, code: str = "alert.lag") -> list[str]:
        """Return the kinds of notice that were sent about an alert."""
        return [notice.step for notice in self.distinct(code)]


class AlertWorld:
    """State that several workers share, and what happens to them."""

    def __init__(
        self,
        seed: int,
        *,
        crash_rate: float = 0.0,
        fail_rate: float = 0.0,
        outage_rate: float = 0.0,
        settings: Settings = SETTINGS,
        module: ModuleType = evaluation,
    ) -> None:
        self.rng = random.Random(seed)
        self.slots = Turns(self.rng)
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.crash_rate, self.outage_rate = crash_rate, outage_rate
        self.settings, self.module = settings, module
        self.channels = {name: Channel(self) for name in ("webhook", "events")}
        for channel in self.channels.values():
            channel.fail_rate = fail_rate
        self.crashes, self.may_die = 0, 10_000
        self.defects: list[BaseException] = []

    def services(self, *, plain: bool = False) -> Services:
        """Return the services of a fresh process."""
        ports = ports_of(self.store)
        watched = {} if plain else {name: Failing(ports[name], self) for name in WATCHED}
        return Services(
            settings=self.settings,
            fhir=SimpleNamespace(),
            telemetry=Telemetry(),
            **{**ports, "clock": self.clock, **watched},
        )

    def worker(self, *, outside: bool = False) -> Coroutine[Any, Any, Any]:
        """Return the evaluation of a fresh process: of the app, or of a watcher outside."""
        s = self.services()
        recorder = Recorder(s.telemetry, s.metrics, self.clock)
        return self.module.evaluate_alerts(s, recorder=recorder, channels=self.channels, outside=outside)

    async def run(self, *works: Coroutine[Any, Any, Any]) -> None:
        """Let all of them go on in any order, to their ends."""
        for work in works:
            self.slots.start(work, self._ended)
        await self.slots.rest()
        while self.slots.actors:
            if self.may_die and self.rng.random() < self.crash_rate:
                self.may_die -= 1
                self.crashes += 1
                await self.slots.kill(self.rng.choice(self.slots.actors))
            else:
                await self.slots.step()
        if self.defects:
            raise self.defects[0]

    def _ended(self, failure: BaseException | None) -> None:
        if isinstance(failure, Exception) and not isinstance(failure, SyncError):
            self.defects.append(failure)

    # What happens.

    async def late(self, *, broken: bool) -> None:
        """Make a study wait for too long, or none."""
        row = await self.store.dirty.read(STUDY)
        if broken and row is None:
            await self.store.dirty.mark(STUDY, self.clock.now() - timedelta(seconds=1000))
        elif not broken and row is not None:
            await self.store.dirty.delete(STUDY, row.etag)

    async def drifting(self, *, broken: bool) -> None:
        """Make source, ledger and FHIR disagree, or agree."""
        drift = Drift(subject="s", kind=DriftKind.MISSING, resource="ImagingStudy/is-1")
        await self.store.drifts.note("s", [drift] if broken else [], self.clock.now())

    async def storm(self, *, rounds: int = 3) -> None:
        """Let two processes evaluate at once several times, with the worst timing."""
        for _ in range(rounds):
            await self.run(self.worker(), self.worker())
            self.clock.advance(self.rng.choice([1, 30, 100]))

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Let no process die and no call fail within the block."""
        kept = self.crash_rate, self.outage_rate, {name: channel.fail_rate for name, channel in self.channels.items()}
        self.crash_rate = self.outage_rate = 0.0
        for channel in self.channels.values():
            channel.fail_rate = 0.0
        yield
        self.crash_rate, self.outage_rate, rates = kept
        for name, channel in self.channels.items():
            channel.fail_rate = rates[name]

    async def peace(self, *, rounds: int = 3) -> None:
        """Let both processes evaluate for a while, unharmed."""
        with self.unharmed():
            for _ in range(rounds):
                self.clock.advance(100)
                await self.run(self.worker(), self.worker())

    async def flap(self) -> None:
        """What is broken looks repaired again and again, never as long as clearing takes; every process sees it."""
        with self.unharmed():
            for _ in range(3):
                await self.late(broken=False)
                for seconds in (20, 20):
                    await self.run(self.worker(), self.worker())
                    self.clock.advance(seconds)
                await self.late(broken=True)
                await self.run(self.worker(), self.worker())
                self.clock.advance(5)


async def history(seed: int, **faults: Any) -> AlertWorld:
    """Let a study be late three times, for longer or shorter, with all that may go wrong meanwhile."""
    world = AlertWorld(seed, **faults)
    for broken in (False, True, False, True, True, False, False, True, False):
        await world.late(broken=broken)
        await world.storm()
        await world.peace()
        if broken:
            await world.flap()
            await world.peace()
    return world


def with_stops() -> Settings:
    """Return settings by which a stopped app is noticed."""
    return SETTINGS.model_copy(update={"alert": SETTINGS.alert.model_copy(update={"stopped_seconds": 180.0})})


async def always_second(module: ModuleType) -> AlertWorld:
    """Let a watcher outside begin just before the app, every time."""
    world = AlertWorld(0, settings=with_stops(), module=module)
    for _ in range(12):
        first = world.slots.start(world.worker(outside=True), world._ended)
        await world.slots.go(first, "page")
        await world.slots.go(world.slots.start(world.worker(), world._ended))
        await world.slots.go(first)
        world.clock.advance(30)
    return world


async def stoppages(seed: int, **faults: Any) -> AlertWorld:
    """Let the app stop twice while a watcher outside runs all the time."""
    world = AlertWorld(seed, settings=with_stops(), **faults)
    for runs in (True, False, True, True, False, False, True):
        if not runs:
            world.clock.advance(100)
        world.may_die = 1  # a second death would keep the lease for so long that it would look like a stop
        for _ in range(8):
            await world.run(world.worker(outside=True), *([world.worker()] if runs else []))
            world.clock.advance(30)
        with world.unharmed():
            for _ in range(4):
                await world.run(world.worker(outside=True))
                if runs:
                    await world.run(world.worker())
                world.clock.advance(30)
    return world
