"""What an operator is told: whether all is in FHIR, and what is left, without a name or a value."""

from sync.errors import FhirRejected
from sync.monitoring.status import status
from tests.worlds import STUDY, MemoryWorld


async def test_an_empty_world_is_idle():
    told = await status(MemoryWorld().services)
    assert told["idle"]
    assert (told["synced_studies"], told["dirty_studies"], told["dead_letters"]) == (0, 0, 0)


async def test_a_study_on_its_way_is_not_idle():
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    told = await status(w.services)
    assert not told["idle"]
    assert (told["dirty_studies"], told["queued"], told["queues"]) == (1, 1, {"studies": 1})


async def test_a_queued_message_alone_is_not_idle():
    w = MemoryWorld()
    await w.store.study_queue.enqueue(STUDY, 60)
    assert not (await status(w.services))["idle"]


async def test_synced_studies_and_instances_are_counted_and_removed_ones_are_not():
    w = MemoryWorld()
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101")
    await w.arrive("c", study="2.25.2")
    await w.go("c")
    told = await status(w.services)
    assert told["idle"]
    assert (told["synced_studies"], told["synced_instances"]) == (1, 2)
    assert told["counters"] == {"study.written": 4}


async def test_a_parked_study_is_idle_and_not_synced():
    w = MemoryWorld()
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    told = await status(w.services)
    assert told["idle"]
    assert (told["synced_studies"], told["dead_letters"]) == (0, 1)
