"""
Two workers evaluate the same alerts, die at any call, and find the channel failing: raised once, cleared once.

A scheduler decides at every port call which worker goes on, and which dies there. What was sent twice must be the same
notice with the same id, and that only after a death; between two breakages nothing is lost and nothing is made up.
"""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sync.adapters.clocks import ManualClock
from sync.adapters.memory.store import MemoryStore
from sync.config import Settings
from sync.errors import WebhookUnavailable
from sync.model import StudyRef
from sync.ops import alerts
from sync.ports import Services
from sync.series import Recorder
from sync.telemetry import Telemetry
from tests.simulation.mutants import apart

STUDY = StudyRef(study_instance_uid="2.25.1")
SEEDS = 12
SETTINGS = Settings(
    fhir_url="http://localhost/fhir",
    AzureWebJobsStorage="UseDevelopmentStorage=true",
    alert={"stopped": 100_000},  # the clock leaps here further than timers ever rest
)


class Scheduler:
    """Holds every port call back until it is that worker's turn."""

    def __init__(self, seed, crash_rate):
        self.chance = random.Random(seed)
        self.crash_rate = crash_rate
        self.held = []
        self.crashes = 0

    async def pause(self):
        turn = asyncio.get_running_loop().create_future()
        self.held.append(turn)
        await turn

    async def run(self, *workers):
        tasks = [asyncio.create_task(worker) for worker in workers]
        while not all(task.done() for task in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            self.held = [turn for turn in self.held if not turn.done()]
            if self.chance.random() < self.crash_rate:
                self.crashes += 1
                self.chance.choice(tasks).cancel()
            elif self.held:
                self.held.pop(self.chance.randrange(len(self.held))).set_result(None)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


class Stepping:
    def __init__(self, port, scheduler):
        self._port, self._scheduler = port, scheduler

    def __getattr__(self, name):
        method = getattr(self._port, name)
        if name in ("all", "between"):
            return method

        async def stepped(*args, **kwargs):
            await self._scheduler.pause()
            return await method(*args, **kwargs)

        return stepped


class Channel:
    """Keeps what it got; may fail before it got it, and after."""

    def __init__(self, scheduler):
        self.got = []
        self.fail_rate = 0.0
        self._scheduler = scheduler

    async def send(self, notice):
        await self._scheduler.pause()
        if self._scheduler.chance.random() < self.fail_rate:
            raise WebhookUnavailable("503")
        self.got.append(notice)
        await self._scheduler.pause()


class World:
    def __init__(self, seed, *, crash_rate=0.0, fail_rate=0.0, module=alerts):
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.scheduler = Scheduler(seed, crash_rate)
        self.channel = Channel(self.scheduler)
        self.channel.fail_rate = fail_rate
        self.module = module

    def worker(self):
        """A fresh process on this state, about to evaluate."""
        names = (
            "objects",
            "locators",
            "ledger",
            "projections",
            "patients",
            "dead_letters",
            "study_queue",
            "object_queue",
            "audit",
            "history",
            "outbox",
            "drifts",
        )
        ports = {name: getattr(self.store, name) for name in names}
        watched = {
            name: Stepping(getattr(self.store, name), self.scheduler) for name in ("cursors", "series", "tallies")
        }
        telemetry = Telemetry()
        services = Services(
            settings=SETTINGS,
            clock=self.clock,
            queues=self.store.queues,
            dirty=self.store.dirty,
            fhir=SimpleNamespace(),
            telemetry=telemetry,
            **{**ports, **watched},
        )
        recorder = Recorder(telemetry, services.series, self.clock)
        return self.module.evaluate_alerts(services, recorder=recorder, channels={"webhook": self.channel})

    async def phase(self, *, broken):
        """Break or mend, let both evaluate for a while in the worst way, then twice in peace."""
        if broken:
            await self.store.dirty.mark(STUDY, self.clock.now() - timedelta(seconds=1000))
        elif (row := await self.store.dirty.read(STUDY)) is not None:
            await self.store.dirty.delete(STUDY, row.etag)
        for _ in range(3):
            await self.scheduler.run(self.worker(), self.worker())
            self.clock.advance(self.scheduler.chance.choice([1, 30, 100]))
        rate, fails = self.scheduler.crash_rate, self.channel.fail_rate
        self.scheduler.crash_rate = self.channel.fail_rate = 0.0
        for _ in range(3):
            self.clock.advance(100)
            await self.scheduler.run(self.worker(), self.worker())
        self.scheduler.crash_rate, self.channel.fail_rate = rate, fails


def distinct(notices):
    """Each notice once, in the order of its first arrival; a repeat must be equal."""
    first = {}
    for notice in notices:
        assert first.setdefault(notice.id, notice) == notice
    return list(first.values())


async def history(seed, **faults):
    world = World(seed, **faults)
    for broken in (False, True, False, True, True, False, False, True, False):
        await world.phase(broken=broken)
    return world, distinct(world.channel.got)


EXPECTED = ["raised", "cleared"] * 3


@pytest.mark.parametrize("seed", range(3))
async def test_two_workers_raise_once_and_clear_once(seed):
    world, notices = await history(seed)
    assert [notice.step for notice in notices] == EXPECTED
    assert len(world.channel.got) == len(EXPECTED)
    assert {notice.code for notice in notices} == {"alert.lag"}
    assert [notice.alert for notice in notices[::2]] == [notice.alert for notice in notices[1::2]]
    assert len({notice.alert for notice in notices}) == 3


async def test_deaths_and_a_failing_channel_lose_nothing_and_make_nothing_up():
    repeats, crashes = Counter(), 0
    for seed in range(SEEDS):
        world, notices = await history(seed, crash_rate=0.03, fail_rate=0.3)
        assert [notice.step for notice in notices] == EXPECTED, seed
        repeats[len(world.channel.got) - len(notices)] += 1
        crashes += world.scheduler.crashes
    assert crashes > SEEDS  # the schedules are as bad as they are meant to be
    assert repeats[0] > SEEDS / 4


async def test_a_channel_that_fails_alone_sends_nothing_twice():
    for seed in range(5):
        world, notices = await history(seed, fail_rate=0.5)
        assert [notice.step for notice in notices] == EXPECTED
        assert len(world.channel.got) == len(notices)


MUTANTS = {
    "what a predecessor left unsent is sent": (
        "[*_unsent(lease.position), *[(n, channel) for n in notices for channel in channels]]",
        "[(n, channel) for n in notices for channel in channels]",
    ),
    "a notice is kept before it is sent": (
        "        await lease.advance(_position(alerts, unsent, ran_at))\n        left =",
        "        left =",
    ),
}


@pytest.mark.parametrize("rule", list(MUTANTS))
async def test_without_the_rule_something_is_lost_or_doubled(rule):
    module = apart("sync.ops.alerts", MUTANTS[rule], rule=rule)
    for seed in range(10 * SEEDS):
        _, notices = await history(seed, crash_rate=0.03, fail_rate=0.3, module=module)
        if [notice.step for notice in notices] != EXPECTED:
            return
    pytest.fail(f"nobody noticed that this rule was gone: {rule}")
