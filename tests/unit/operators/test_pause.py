"""A pause holds studies back and loses none, and what a message knew does not go with it."""

from sync.delivery.handlers import handle_study_message, sweep
from sync.events import study_message
from sync.operators.pause import pause_projection, projection_pause, resume_projection
from tests.worlds import STUDY


async def test_while_paused_objects_are_taken_in_and_nothing_is_written(w):
    await pause_projection(w.services, who="Ada", why="FHIR moves")
    await w.arrive("a.dcm")
    assert w.imaging_study() is None
    assert [dirty.study for dirty in w.outstanding()] == [STUDY]
    assert await sweep(w.services) == 0


async def test_after_the_pause_the_sweeper_wakes_what_waits(w):
    await pause_projection(w.services, who="Ada", why="FHIR moves")
    await w.arrive("a.dcm")
    await resume_projection(w.services, who="Ada")
    w.clock.advance(100)
    assert await sweep(w.services) == 1
    await w.settle()
    assert w.imaging_study() is not None
    assert w.outstanding() == []


async def test_the_first_pause_counts_and_ends_once_for_all(w):
    first = await pause_projection(w.services, who="Ada", why="FHIR moves")
    w.clock.advance(5)
    assert await pause_projection(w.services, who="Bob", why="me too") == first
    assert await projection_pause(w.services) == first
    await resume_projection(w.services, who="Ada")
    await resume_projection(w.services, who="Ada")
    assert await projection_pause(w.services) is None


async def test_a_delivery_that_may_have_written_still_bypasses_the_cache_after_the_pause(w):
    """It wrote something else and died before it recorded that; then the source went back to what was recorded."""
    await w.arrive("a.dcm", StudyDescription="right")
    await w.ingest(w.put("a.dcm", StudyDescription="right"))
    w.edit("ImagingStudy", w.projection().fhir_id, description="written by the pass that died")
    await pause_projection(w.services, who="Ada", why="FHIR moves")
    await handle_study_message(study_message(STUDY), w.services, attempt=2)
    await resume_projection(w.services, who="Ada")
    w.clock.advance(100)
    await sweep(w.services)
    await w.settle()
    assert w.imaging_study()["description"] == "right"


async def test_what_came_of_a_study_is_kept_for_people(w):
    await w.arrive("a.dcm")
    await w.arrive("b.dcm", sop="2.25.101")
    events = [(entry.outcome, entry.instances) for entry in await w.store.history.of_study(STUDY, 10)]
    assert events == [("study.written", 2), ("study.written", 1)]
    await w.replay()
    assert len(await w.store.history.of_study(STUDY, 10)) == len(events)
