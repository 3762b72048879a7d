"""The phases of a timer run apart, within budgets, and each run is measured."""

import asyncio

import pytest

from sync.errors import FhirUnavailable, PhaseTooLong, StoreUnavailable, UnexpectedFailure
from sync.monitoring.timers import Phase, run_phases
from sync.telemetry.instruments import FAILURES, TIMER_RUNS

SENTINEL = "Zztestperson"


def runs(w):
    """Give how each phase ended, by name, and the codes that were counted as failures."""
    taken = w.services.telemetry.take()
    ended = {
        (dict(key.attributes)["dicom_sync.timer.phase"], dict(key.attributes)["dicom_sync.outcome"])
        for key in taken
        if key.name == TIMER_RUNS.name
    }
    return ended, {dict(key.attributes)["error.type"] for key in taken if key.name == FAILURES.name}


def phase(name, done, problem=None, **more):
    async def work():
        done.append(name)
        if problem is not None:
            raise problem

    return Phase(name=name, work=work, **more)


async def test_a_phase_that_fails_keeps_no_other_from_running_and_the_first_failure_is_raised(w):
    done = []
    phases = [phase("one", done, StoreUnavailable("x")), phase("two", done, FhirUnavailable("y")), phase("three", done)]
    with pytest.raises(StoreUnavailable):
        await run_phases("sweep", phases, w.services)
    assert done == ["one", "two", "three"]
    assert runs(w) == ({("one", "failed"), ("two", "failed"), ("three", "done")}, set())


async def test_what_a_phase_raises_of_others_is_told_by_type_and_place(w):
    with pytest.raises(UnexpectedFailure) as caught:
        await run_phases("sweep", [phase("one", [], ZeroDivisionError(SENTINEL))], w.services)
    assert "ZeroDivisionError" in str(caught.value)
    assert SENTINEL not in str(caught.value)
    assert runs(w) == ({("one", "failed")}, {"sync.unexpected"})


async def test_a_phase_that_takes_too_long_is_cut_off_and_the_next_one_runs(w):
    done, ended = [], []

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(PhaseTooLong):
        await run_phases("sweep", [Phase(name="endless", work=endless, seconds=0.01), phase("two", done)], w.services)
    assert (done, ended) == (["two"], [True])


async def test_a_time_out_of_the_work_itself_is_not_taken_for_the_budget(w):
    with pytest.raises(UnexpectedFailure):
        await run_phases("sweep", [phase("one", [], TimeoutError())], w.services)


async def test_a_process_that_is_stopped_begins_no_other_phase(w):
    done = []

    async def waits():
        await asyncio.Event().wait()

    task = asyncio.create_task(run_phases("sweep", [Phase(name="waits", work=waits), phase("two", done)], w.services))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == []
