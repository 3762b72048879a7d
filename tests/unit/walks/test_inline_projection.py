"""Projection inside a command: everything outstanding gets to FHIR, or is told of."""

import asyncio
from dataclasses import replace

import pytest

from sync.errors import FhirRejected, FhirUnavailable
from sync.walks import inline_projection
from sync.walks.inline_projection import HintsHere, Projector
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
