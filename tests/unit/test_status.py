"""What an operator is told: whether all is in FHIR, and what is left, without a name or a value."""

import json

from sync.errors import FhirRejected
from sync.pipeline import park_study
from sync.status import dead_letters_by_code, status
from tests.worlds import OTHER, STUDY, UNREADABLE, MemoryWorld


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


async def test_dead_letters_are_grouped_by_code_with_what_to_do():
    w = MemoryWorld()
    for name in ("Doe-Jane.dcm", "Doe-John.dcm"):
        await w.arrive(name, UNREADABLE)
    await park_study(STUDY, FhirRejected("422"), w.services)
    told = await dead_letters_by_code(w.services)
    assert told["total"] == 3
    assert list(told["by_code"]) == ["fhir.rejected", "header.not_dicom"]
    assert told["by_code"]["header.not_dicom"]["count"] == 2
    assert told["by_code"]["fhir.rejected"]["hint"]
    assert "Doe" not in json.dumps(told)


async def test_the_newest_dead_letters_are_shown_first_and_no_more_than_a_hundred():
    w = MemoryWorld()
    for n in range(103):
        await w.ingest(w.put(f"{n}", UNREADABLE))
    letters = (await dead_letters_by_code(w.services))["by_code"]["header.not_dicom"]
    times = [letter["last_at"] for letter in letters["letters"]]
    assert (letters["count"], len(times)) == (103, 100)
    assert times == sorted(times, reverse=True)
    assert letters["letters"][0]["subject"] == str(w.ref("102").key)


async def test_a_dead_letter_that_is_put_again_keeps_its_first_time():
    w = MemoryWorld()
    await park_study(OTHER, FhirRejected("422"), w.services)
    w.clock.advance(60)
    await park_study(OTHER, FhirRejected("422"), w.services)
    (letter,) = (await dead_letters_by_code(w.services))["by_code"]["fhir.rejected"]["letters"]
    assert letter["attempts"] == 2
    assert letter["first_at"] < letter["last_at"]
