"""What Event Grid could not deliver comes back, late and none the worse for it."""

import json

import pytest

from sync.delivery.handlers import handle_object_message
from sync.delivery.undelivered_events import recover_if_any, recover_undelivered_events
from sync.errors import StoreUnavailable
from sync.testing.undelivered_events import MemoryUndeliveredEvents
from tests.worlds import SOURCES, event

WHY = {"deadLetterReason": "MaxDeliveryAttemptsExceeded", "deliveryAttempts": 30, "lastDeliveryOutcome": "NotFound"}


@pytest.fixture
def lost():
    return MemoryUndeliveredEvents()


def cloud_event(change):
    grid = event(change)
    return {
        "specversion": "1.0",
        "type": grid["eventType"],
        "source": grid["topic"],
        "subject": grid["subject"],
        "id": grid["id"],
        "data": grid["data"],
        **{name.lower(): value for name, value in WHY.items()},
    }


async def run(w):
    for text in w.store.object_queue.take():
        await handle_object_message(text, SOURCES, w.services)
    await w.settle()


async def recover(w, lost):
    return await recover_undelivered_events(lost, SOURCES, w.services)


@pytest.mark.parametrize("envelope", [lambda change: event(change) | WHY, cloud_event])
@pytest.mark.parametrize("batch", [lambda one: [one], lambda one: one])
async def test_events_in_both_schemas_come_back_and_their_blob_goes(w, lost, envelope, batch):
    lost.blobs["sub/2026/1.json"] = json.dumps(batch(envelope(w.put("a"))))
    assert await recover(w, lost) == 1
    assert lost.blobs == {}
    await run(w)
    assert w.imaging_study() is not None
    assert w.dead_letters() == []


async def test_a_lost_deletion_is_made_good(w, lost):
    await w.arrive("a")
    lost.blobs["1"] = json.dumps([event(w.delete("a")) | WHY])
    await recover(w, lost)
    await run(w)
    assert w.imaging_study() is None


async def test_a_crash_before_the_blob_goes_has_the_objects_looked_at_once_more_and_no_worse(w, lost):
    lost.blobs["1"] = json.dumps([event(w.put("a")) | WHY])
    remove = lost.remove

    async def crash(name):
        raise StoreUnavailable

    lost.remove = crash
    with pytest.raises(StoreUnavailable):
        await recover_if_any(lost, SOURCES, w.services)
    await run(w)
    versions = w.versions()
    lost.remove = remove
    await recover(w, lost)
    await run(w)
    assert (w.versions(), lost.blobs, w.dead_letters()) == (versions, {}, [])


async def test_what_is_no_event_of_ours_is_a_dead_letter_and_the_others_come_back(w, lost):
    lost.blobs["1"] = json.dumps([{"eventType": "nonsense", "Doe": "Jane"} | WHY, event(w.put("a")) | WHY])
    assert await recover(w, lost) == 1
    assert lost.blobs == {}
    assert w.dead_letters() == [("message", "event.unsupported")]


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "5", "[" * 50_000])
async def test_a_blob_without_events_is_a_dead_letter_once_and_stays(w, lost, text):
    lost.blobs["1"] = text
    for _ in range(2):
        await recover(w, lost)
    (letter,) = w.store.dead_letters.table.values()
    assert (letter.code, letter.attempts, list(lost.blobs)) == ("event.malformed", 1, ["1"])


async def test_a_poke_of_a_dicom_service_needs_no_recovery(w, lost):
    lost.blobs["1"] = json.dumps([{"eventType": "Microsoft.HealthcareApis.DicomImageCreated"} | WHY])
    assert await recover(w, lost) == 0
    assert (lost.blobs, w.dead_letters()) == ({}, [])


async def test_neither_names_nor_reasons_that_are_none_reach_the_log(w, lost, caplog):
    caplog.set_level("DEBUG")
    change = w.put("Doe-Jane.dcm")
    lost.blobs["Doe"] = json.dumps([event(change) | {"deadLetterReason": "Doe^Jane"}])
    await recover(w, lost)
    assert "events.recovered" in caplog.text
    assert "Doe" not in caplog.text


async def test_without_a_container_there_is_nothing_to_do(w):
    await recover_if_any(None, SOURCES, w.services)


async def test_a_blob_that_goes_before_it_is_read_holds_nothing_up(w, lost):
    lost.blobs = {"1": "", "2": json.dumps([event(w.put("a")) | WHY])}
    read = lost.read

    async def gone(name, most):
        return None if name == "1" else await read(name, most)

    lost.read = gone
    assert await recover(w, lost) == 1
    assert w.dead_letters() == []
