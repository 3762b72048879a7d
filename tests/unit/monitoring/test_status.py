"""What an operator is told: whether all is in FHIR, and what is left, without a name or a value."""

import json
from dataclasses import FrozenInstanceError, fields

import pytest

from sync.errors import FhirRejected
from sync.model import Cursor
from sync.monitoring.status import as_json, read_status, status
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


async def test_the_value_and_its_json_say_the_same():
    w = MemoryWorld()
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    feed = Cursor(name="dicom-feed memory", position={"sequence": 7, "error": "source.unavailable", "hint": "Wait."})
    await w.services.cursors.write(feed, None)
    value = await read_status(w.services)
    told = as_json(value)
    assert told == json.loads(json.dumps(told)), "it is JSON as it stands"
    assert told.keys() == {each.name for each in fields(value)}
    assert told["at"] == w.clock.now().isoformat()
    assert told["health"] == {"verdict": value.health.verdict, "reasons": list(value.health.reasons)}
    for name, state in value.feeds.items():
        shown = {"read_at": None, "position": {"sequence": 7}, "error": "source.unavailable", "hint": "Wait."}
        assert (told["feeds"][name], state.problem["error"]) == (shown, "source.unavailable")
    with pytest.raises(FrozenInstanceError):
        value.idle = True
