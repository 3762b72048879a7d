"""Projection inside a command: everything outstanding reaches FHIR or is reported."""

import asyncio
from dataclasses import replace

import pytest

from sync.errors import FhirRejected, FhirUnavailable, StoreConflict
from sync.model import Projected, StudyRef
from sync.monitoring.alerts.rules import COUNTED, RULES, Aggregation
from sync.telemetry.instruments import BY_NAME, DEAD_LETTERS, FAILURES
from sync.telemetry.telemetry import Telemetry
from sync.walks import inline_projection
from sync.walks.inline_projection import HintsHere, LeftForTheApp, Projector
from tests.worlds import STUDY, MemoryWorld


class Passing:
    """A clock that runs a hundred times as fast as ours."""

    def __init__(self, clock):
        self._clock = clock

    def now(self):
        self._clock.advance(1)
        return self._clock.now()


@pytest.fixture
def w(monkeypatch):
    monkeypatch.setattr(inline_projection, "_POLL_SECONDS", 0)
    world = MemoryWorld()
    hints = HintsHere(Passing(world.clock))
    world.services = replace(world.services, clock=Passing(world.clock), study_queue=hints)
    world.hints = hints
    return world


async def projected(w):
    projector, ended = Projector(w.hints, w.services), asyncio.Event()
    ended.set()
    await asyncio.wait_for(projector.run(ended), 20)
    return dict(projector.counts)


async def test_what_this_process_marks_is_written_and_the_queue_stays_empty(w):
    await w.ingest(w.put("a"))
    await w.ingest(w.put("b", sop="2.25.101"))
    assert await projected(w) == {"written": 1}
    assert w.imaging_study()["numberOfInstances"] == 2
    assert (w.outstanding(), w.store.study_queue.messages) == ([], [])


async def test_what_an_earlier_run_left_behind_is_written_too(w):
    await w.ingest(w.put("a"))
    w.hints._heap.clear()
    w.hints._due.clear()
    assert await projected(w) == {"written": 1}


async def test_a_refused_study_is_counted_and_holds_nothing_up(w):
    await w.ingest(w.put("a"))
    w.fhir.failures = [FhirRejected("no"), FhirRejected("no")]
    assert await projected(w) == {"dead_lettered": 1}
    assert w.dead_letters() == [("study", "fhir.rejected")]


async def test_a_short_outage_is_waited_out(w):
    await w.ingest(w.put("a"))
    w.fhir.failures = [FhirUnavailable("no"), FhirUnavailable("no")]
    assert await projected(w) == {"written": 1}


async def test_a_long_outage_ends_it_and_the_study_stays_outstanding(w, monkeypatch):
    monkeypatch.setattr(inline_projection, "PATIENCE", 0.1)
    await w.ingest(w.put("a"))
    w.fhir.outage = FhirUnavailable("no")
    with pytest.raises(FhirUnavailable):
        await projected(w)
    assert [dirty.study for dirty in w.outstanding()] == [STUDY]


async def test_what_a_command_fails_at_holds_no_study_back_from_the_app(w):
    """A laptop with a wrong FHIR URL held a study of production back for four minutes."""
    await w.ingest(w.put("a"))
    before = (await w.store.dirty.read(STUDY)).value
    w.services = replace(w.services, dirty=LeftForTheApp(w.store.dirty))
    w.fhir.outage = FhirUnavailable("no answer")
    projector = Projector(w.hints, w.services)
    for _ in range(5):
        await projector._project(STUDY)
    after = (await w.store.dirty.read(STUDY)).value
    assert (after.attempts, after.not_before, after.failing_since) == (0, None, None)
    assert after.last_marked == before.last_marked
    assert after.bypass_cache, "the command may have written to FHIR: the app must not trust the record"
    assert await w.hints.length() == 1, "the command itself goes on"
    w.fhir.outage = None
    assert await projected(w) == {"written": 1}


async def test_a_row_that_changes_meanwhile_is_left_as_it_is(w):
    await w.ingest(w.put("a"))
    left, known = LeftForTheApp(w.store.dirty), await w.store.dirty.read(STUDY)
    await w.store.dirty.mark(STUDY, w.clock.now())
    with pytest.raises(StoreConflict):
        await left.postpone(replace(known.value, attempts=3), known.etag)


async def reached(true):
    for _ in range(20_000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never reached")


async def test_a_hint_and_the_end_wake_the_projector(w, monkeypatch):
    """It looked five times a second, and a command waited for its next look."""

    async def handled(study, s):
        return Projected.UNCHANGED

    monkeypatch.setattr(inline_projection, "handle_study", handled)
    monkeypatch.setattr(inline_projection, "_POLL_SECONDS", 3600)
    projector, ended = Projector(w.hints, w.services), asyncio.Event()
    running = asyncio.create_task(projector.run(ended))
    for number in (1, 2):
        await asyncio.sleep(0.01)
        await w.hints.enqueue(STUDY)
        await reached(lambda number=number: projector.counts["unchanged"] == number)
    await asyncio.sleep(0.01)
    ended.set()
    await asyncio.wait_for(running, 20)


async def test_a_slow_study_holds_no_other_up_and_is_cancelled_with_the_projector(w, monkeypatch):
    slow, ended, begun = StudyRef(study_instance_uid="2.25.1"), asyncio.Event(), []

    async def handled(study, s):
        begun.append(study)
        if study == slow:
            await asyncio.Event().wait()
        return Projected.UNCHANGED

    monkeypatch.setattr(inline_projection, "handle_study", handled)
    monkeypatch.setattr(inline_projection, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(inline_projection, "AT_ONCE", 2)
    studies = [StudyRef(study_instance_uid=f"2.25.{number}") for number in range(1, 8)]
    for study in studies:
        await w.hints.enqueue(study)
    projector = Projector(w.hints, w.services)
    running = asyncio.create_task(projector.run(ended))
    await reached(lambda: projector.counts["unchanged"] == 6)
    assert begun == studies
    await w.hints.enqueue(studies[-1])
    await reached(lambda: projector.counts["unchanged"] == 7)
    before = asyncio.all_tasks()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not any(task.get_coro().__name__ == "_project" for task in asyncio.all_tasks() & before)


def test_what_a_command_counts_raises_no_alert_of_the_app():
    telemetry = Telemetry(ignored=COUNTED)
    for name in COUNTED:
        telemetry.measure(BY_NAME[name])
    assert telemetry.take() == {}
    assert {FAILURES.name, DEAD_LETTERS.name} <= COUNTED
    assert {rule.code for rule in RULES if rule.instrument.name not in COUNTED} == {
        rule.code for rule in RULES if rule.figure is Aggregation.NOW
    }
