"""One function does the work of several timers: each job when it is due, whatever becomes of the others."""

import asyncio
import random
from itertools import pairwise

import pytest

from sync.errors import FhirUnavailable, StoreUnavailable, SyncError
from sync.monitoring.ticks import EARLY, LONGEST_TICK, SHORTEST, Job, run_due
from sync.monitoring.timers import Phase
from sync.telemetry.instruments import TIMER_RUNS

HOUR = 3600.0


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time: the next time-out is there once nothing else can go on."""

    def __init__(self):
        super().__init__()
        self._ahead = 0.0
        asked = self._selector.select

        def select(timeout):
            assert timeout is not None, "everything waits, and for no time-out"
            self._ahead += timeout
            return asked(0)

        self._selector.select = select

    def time(self):
        return self._ahead


class Ticking:
    """A host that fires one timer, one run at a time, a late one at once."""

    def __init__(self, w, every=30.0):
        self.w, self.every, self.begun, self.lengths = w, every, {}, []
        self.jobs, self.seen, self.running, self.failed = [], {}, set(), []

    def job(self, name, every, *, takes=0.0, problem=None, **more):
        async def work():
            assert name not in self.running
            self.running.add(name)
            self.seen.setdefault(name, []).append(self.now())
            try:
                await asyncio.sleep(takes)
            finally:
                self.running.discard(name)
            if problem is not None:
                raise problem

        self.jobs.append(Job(timer=name, every=every, phases=(Phase(name="all", work=work, seconds=HOUR),), **more))

    @staticmethod
    def now():
        return asyncio.get_running_loop().time()

    async def tick(self):
        began = self.now()
        try:
            await run_due(self.jobs, self.begun, self.w.services, now=self.now)
        except SyncError as failure:
            self.failed.append(failure)
        assert not self.running, "a job outlived its tick"
        self.lengths.append(self.now() - began)

    async def fires(self, seconds):
        due = self.now()
        while self.now() < seconds:
            due += self.every
            await self.tick()
            await asyncio.sleep(max(0.0, due - self.now()))
            due = max(due, self.now())

    def goes_on(self, seconds=HOUR):
        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            runner.run(self.fires(seconds))

    def gaps(self, name):
        return [after - before for before, after in pairwise(self.seen[name])]


@pytest.fixture
def host(w):
    return Ticking(w)


def test_each_job_begins_as_often_as_it_is_due_and_all_in_the_first_tick(host):
    for name, every in (("a", 30), ("b", 60), ("c", 300)):
        host.job(name, every)
    host.goes_on(600)
    assert {name: len(times) for name, times in host.seen.items()} == {"a": 20, "b": 10, "c": 2}
    assert {round(gap) for gap in host.gaps("a")} == {30}
    assert {round(gap) for gap in host.gaps("b")} == {60}


@pytest.mark.parametrize("takes", [45.0, 500.0, 100 * HOUR])
def test_a_slow_job_or_one_that_never_ends_keeps_no_other_waiting(host, takes):
    host.job("slow", 30, takes=takes, least=500)
    host.job("sweep", 30)
    host.job("metrics", 300)
    host.goes_on()
    # Near its end a tick begins nothing that could not end: the next tick follows at once, and begins it.
    assert max(host.gaps("sweep")) <= SHORTEST + 30
    assert max(host.gaps("metrics")) <= 300 + SHORTEST + 30
    assert len(host.seen["slow"]) >= HOUR // (min(takes, LONGEST_TICK) + 60)


def test_a_job_that_fails_keeps_no_other_from_running_and_its_failure_is_raised(host):
    host.job("one", 30, problem=StoreUnavailable("x"))
    host.job("two", 30, problem=FhirUnavailable("y"))
    host.job("three", 30)
    host.goes_on(29)
    assert [failure.code for failure in host.failed] == ["store.unavailable"]
    ended = {
        (dict(key.attributes)["dicom_sync.timer"], dict(key.attributes)["dicom_sync.outcome"])
        for key in host.w.services.telemetry.take()
        if key.name == TIMER_RUNS.name
    }
    assert ended == {("one", "failed"), ("two", "failed"), ("three", "done")}


async def test_a_process_that_is_stopped_cancels_what_runs(host):
    host.job("a", 30, takes=HOUR)
    task = asyncio.create_task(run_due(host.jobs, host.begun, host.w.services))
    for _ in range(10):
        await asyncio.sleep(0)
    assert host.running == {"a"}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not host.running


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_others_do_a_job_is_late_by_no_more_than_a_tick_needs_to_end(host, seed):
    """Jobs of any period, length and outcome, some that never end; an hour each."""
    rng = random.Random(seed)
    ours = rng.randrange(5)
    for index in range(5):
        if index == ours:
            host.job("sweep", 30)
            continue
        host.job(
            f"other{index}",
            rng.choice([5, 30, 60, 300]),
            takes=rng.choice([0, 3, 40, 200, 535, 100 * HOUR]),
            problem=rng.choice([None, None, FhirUnavailable("x")]),
            least=rng.choice([60, 200, 500]),
        )
    host.goes_on()
    assert max(host.gaps("sweep")) <= SHORTEST + 30
    assert min(host.gaps("sweep")) >= 30 - EARLY - 0.001
    assert max(host.lengths) <= LONGEST_TICK + 1


def test_jobs_that_begin_only_with_a_tick_would_wait_for_the_slowest(host, monkeypatch):
    """What the tests above would see if nothing were begun while another job runs."""
    host.job("slow", 30, takes=500.0, least=500)
    host.job("sweep", 30, least=LONGEST_TICK - 1)
    host.goes_on()
    assert max(host.gaps("sweep")) > SHORTEST + 30
