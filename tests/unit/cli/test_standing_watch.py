"""Standing watch from outside: round after round, through outages, until a signal."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from local.host.timers import Schedule
from sync.cli import alerts as command
from sync.cli import app
from sync.cli.standing_watch import stand_watch, stop_by_signal, watch_once
from sync.config import EVALUATED_EVERY
from sync.errors import StoreUnavailable
from sync.monitoring.alerts.watch import watch
from sync.monitoring.clock import StorageClock
from sync.monitoring.status import read_status
from tests.unit.monitoring.test_alerts import Watched, old_study

BINDINGS = Path(__file__).parents[2] / "data" / "bindings.json"
"""What the app binds to, which `test_function_index` holds."""


def running(world):
    return SimpleNamespace(
        services=world.s, recorder=world.recorder, channels={"channel": world}, listing=world.w.store.objects
    )


async def test_a_round_that_storage_prevents_is_told_and_the_next_one_is_done(monkeypatch):
    world, told, warned = Watched(), [], []
    await old_study(world)
    depths = world.w.store.study_queue.depths

    async def down():
        monkeypatch.setattr(world.w.store.study_queue, "depths", depths)
        raise StoreUnavailable("503")

    monkeypatch.setattr(world.w.store.study_queue, "depths", down)
    monkeypatch.setattr("sync.monitoring.alerts.watch.find_missing_events", lambda *_: asyncio.sleep(0))
    stop = asyncio.Event()

    def tell(notices):
        told.extend(notices)
        stop.set()

    await stand_watch(running(world), every=0.01, stop=stop, tell=tell, warn=warned.append)
    assert [failure.code for failure in warned] == ["store.unavailable"]
    assert {notice.code for notice in told} == {"alert.lag", "alert.stopped"}
    assert world.told() == [("raised", notice.code) for notice in told]


class Ahead:
    """The clock of another machine, an hour ahead."""

    def __init__(self, clock):
        self.clock = clock

    def now(self):
        return self.clock.now() + timedelta(hours=1)

    async def sleep(self, seconds):
        await self.clock.sleep(seconds)


def ahead(world):
    """Give the watch of a machine whose clock is an hour ahead, with the clock that `sync.bootstrap` gives it."""
    elsewhere, offset = running(world), world.s.caches.clock_offset
    elsewhere.services = replace(world.s, clock=StorageClock(Ahead(world.s.clock), offset))
    return elsewhere


@pytest.mark.parametrize("known", [True, False])
async def test_a_wrong_clock_of_the_watching_machine_raises_no_alert(known):
    """It took the sweeps of an app that runs for an hour old, and raised a critical alert."""
    world = Watched()
    await world.tick(times=2)
    world.s.caches.clock_offset.seconds_ahead = 3600.0 if known else None
    await watch_once(ahead(world))
    assert world.told() == ([] if known else [("raised", "alert.stopped")])


async def test_a_clock_that_went_wrong_since_the_last_round_raises_no_alert(monkeypatch):
    """Before the first answer of a round the offset is as old as the round before: no age is computed by it."""
    world, warned = Watched(), []
    await world.tick(times=2)
    read = world.s.cursors.read

    async def answered(name):
        world.s.caches.clock_offset.seconds_ahead = 3600.0
        return await read(name)

    monkeypatch.setattr(world.s.cursors, "read", answered)
    stop = asyncio.Event()
    await stand_watch(ahead(world), every=600, stop=stop, tell=lambda _: stop.set(), warn=warned.append)
    assert (world.told(), warned) == ([], [])


@pytest.fixture
def handlers():
    """Signals do afterwards what they did before."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
async def test_a_signal_ends_it_after_the_round_that_is_under_way():
    world, rounds = Watched(), []
    stop = stop_by_signal()

    def tell(notices):
        rounds.append(notices)
        os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(
        stand_watch(running(world), every=600, stop=stop, tell=tell, warn=lambda failure: None), timeout=20
    )
    assert [list(notices) for notices in rounds] == [[]]
    assert not (await world.w.store.cursors.read("alerts")).value.holder


async def test_two_who_watch_ring_once():
    world = Watched()
    await old_study(world)
    await world.tick()
    await asyncio.gather(*(watch_once(running(world)) for _ in range(5)))
    assert world.told() == [("raised", "alert.lag")]


def test_once_says_by_its_exit_code_and_on_standard_output_what_is_raised(monkeypatch):
    world = Watched()

    def with_services(work):
        async def broken():
            await old_study(world)
            return await work(running(world))

        return asyncio.run(broken())

    monkeypatch.setattr(command, "with_services", with_services)
    answer = CliRunner().invoke(app, ["alerts", "watch", "--once", "--json"])
    assert answer.exit_code == 1
    notices = [json.loads(line) for line in answer.stdout.splitlines()]
    assert {(notice["step"], notice["code"]) for notice in notices} == {
        ("raised", "alert.lag"),
        ("raised", "alert.stopped"),
    }


async def test_a_round_reads_no_more_than_the_alerts_need(monkeypatch):
    """Each answer tells the storage's time: two further rows were read for it."""
    world, names = Watched(), []
    await world.tick(times=2)
    read = world.s.cursors.read

    async def counted(name):
        names.append(name)
        return await read(name)

    monkeypatch.setattr(world.s.cursors, "read", counted)
    for _ in range(2):  # the first counts the tables, which the next rounds need not
        names.clear()
        await watch(world.s, recorder=world.recorder, channels={}, listing=world.w.store.objects, outside=True)
        await read_status(world.s)
    needed = list(names)
    names.clear()
    assert not await command._watched(running(world), every=1, once=True, as_json=False)
    assert names == needed


def test_who_watches_from_outside_does_it_as_often_as_the_app():
    (timer,) = json.loads(BINDINGS.read_text(encoding="utf-8"))["evaluate_alerts"]
    schedule, times = Schedule(timer["schedule"]), [datetime(2026, 3, 31, 12, 0, 5, tzinfo=UTC)]
    for _ in range(4):
        times.append(schedule.next(times[-1]))
    assert {(after - before).total_seconds() for before, after in pairwise(times[1:])} == {EVALUATED_EVERY}
