"""Result events: told once for what is news, never lost, never in the way, and without patient data."""

import json

import pytest

from sync.dead_letters.actions import Selection, retry
from sync.delivery.handlers import handle_change, handle_study, sweep
from sync.errors import EventsRefused, EventsUnavailable, FhirRejected, FhirUnavailable, PermanentError
from sync.mapping.resource import study_id
from sync.model.result_events import NAMESPACE, RESULTS, ResultEvent, StudySynced
from sync.projection.dry_run import dry_run_study
from sync.protocol.outbox import add_event, publish_pending, sweep_outbox
from sync.testing.results import MemoryTopic
from tests.worlds import SOURCES, STUDY, UNREADABLE, MemoryWorld


@pytest.fixture
def w():
    return MemoryWorld(topic=MemoryTopic())


async def arrive(w, name, data=None, **attributes):
    await handle_change(w.put(name, data, **attributes), w.services)
    await w.settle()


async def go(w, name):
    await handle_change(w.delete(name), w.services)
    await w.settle()


def told(w):
    """Return what was told, in order."""
    return [event.type.removeprefix(f"{NAMESPACE}.") for event in w.topic.events]


async def test_a_new_study_a_changed_one_and_a_removed_one_are_told(w):
    await arrive(w, "a")
    await arrive(w, "b", sop="2.25.101")
    await go(w, "a")
    await go(w, "b")
    assert told(w) == ["study.synced.v1", "study.synced.v1", "study.synced.v1", "study.removed.v1"]
    assert [event.data.get("instances") for event in w.topic.events] == [1, 2, 1, None]
    assert len({event.id for event in w.topic.events}) == 4
    assert w.store.outbox.table.values() == []


async def test_an_event_refers_to_the_resource_and_names_the_study_by_its_key(w):
    await arrive(w, "a")
    (event,) = w.topic.events
    assert event.subject == f"studies/{STUDY.key}"
    expected = {"study": STUDY.key, "resource": f"ImagingStudy/{study_id(STUDY)}"}
    assert event.data == {**expected, "series": 1, "instances": 1, "findings": event.data["findings"]}


async def test_replays_that_change_nothing_tell_nothing(w):
    await arrive(w, "a")
    await arrive(w, "bad", UNREADABLE)
    before = told(w)
    await w.replay()
    await w.replay(redelivered=False)
    for change in [w.put("a"), w.put("bad", UNREADABLE)][:1]:
        await handle_change(change, w.services, attempt=2)
    await w.settle()
    assert told(w) == before


async def test_a_study_that_never_came_to_be_is_not_removed(w):
    await arrive(w, "a", UNREADABLE)
    await go(w, "a")
    assert told(w) == ["instance.rejected.v1"]


async def test_a_failure_is_told_once_and_its_end_too(w):
    w.fhir.failures = [FhirRejected("422")] * 3
    await arrive(w, "a")
    await retry(Selection(), SOURCES, w.services)
    await w.settle()
    assert told(w) == ["study.failed.v1"]
    assert w.topic.events[0].data["code"] == "fhir.rejected"
    await retry(Selection(), SOURCES, w.services)
    await w.settle()
    assert told(w) == ["study.failed.v1", "study.synced.v1"]


async def test_a_study_that_was_synced_failed_and_is_as_before_is_told_to_be_synced(w):
    await arrive(w, "a")
    w.fhir.failures = [FhirRejected("422")] * 2
    await arrive(w, "b", sop="2.25.101")
    await go(w, "b")
    assert told(w) == ["study.synced.v1", "study.failed.v1", "study.synced.v1"]


async def test_an_outage_longer_than_patience_is_told_as_a_failure(w):
    await handle_change(w.put("a"), w.services)
    w.fhir.outage = FhirUnavailable("500")
    for _ in range(100):
        w.clock.advance(60)
        await handle_study(STUDY, w.services)
    assert told(w) == ["study.failed.v1"]
    w.fhir.outage = None
    w.clock.advance(600)
    await w.settle()
    assert told(w) == ["study.failed.v1", "study.synced.v1"]


async def test_a_rejected_object_is_told_for_each_content_and_not_for_each_look(w):
    await arrive(w, "a", UNREADABLE)
    await w.replay()
    await arrive(w, "a", b"another text")
    assert told(w) == ["instance.rejected.v1"] * 2
    assert w.topic.events[0].data["code"] == "header.not_dicom"
    assert w.topic.events[0].subject == f"objects/{w.ref('a').key}"


async def test_an_object_that_can_not_be_kept_is_told_once(w):
    async def refuse(row):
        raise PermanentError("too large", code="store.row_too_large")

    w.store.ledger.upsert = refuse
    change = w.put("a")
    for _ in range(3):
        await handle_change(change, w.services)
    assert told(w) == ["instance.rejected.v1"]


async def test_a_topic_that_is_down_holds_up_nothing_and_hears_of_it_later(w):
    w.topic.outage = EventsUnavailable()
    await arrive(w, "a")
    assert (w.outstanding(), w.topic.events) == ([], [])
    assert w.imaging_study() is not None
    await sweep(w.services)
    assert len(w.store.outbox.table.values()) == 1
    w.topic.outage = None
    await sweep(w.services)
    assert told(w) == ["study.synced.v1"]
    assert w.store.outbox.table.values() == []


async def test_a_defect_of_the_sender_holds_up_nothing(w, caplog):
    w.topic.outage = RuntimeError("Doe^Jane")
    await arrive(w, "a")
    assert w.imaging_study() is not None
    assert len(w.store.outbox.table.values()) == 1
    assert "Doe" not in caplog.text


async def test_the_sweeper_leaves_what_is_just_being_sent(w):
    await add_event(event(w, "1"), w.services)
    assert await sweep_outbox(w.services) == 0
    w.clock.advance(60)
    assert await sweep_outbox(w.services) == 1


def event(w, name):
    result = StudySynced(study=name, resource="ImagingStudy/x", series=1, instances=1, findings=0)
    return ResultEvent.of(result, id=name, subject=f"studies/{name}", at=w.clock.now())


async def test_one_event_that_is_refused_holds_up_no_other(w):
    for name in "123":
        await add_event(event(w, name), w.services)
    w.topic.failures = [EventsRefused(), EventsRefused()]
    await publish_pending(w.services)
    assert [published.id for published in w.topic.events] == ["2", "3"]
    assert [published.id for published in w.store.outbox.table.values()] == ["1"]


async def test_an_event_that_is_announced_again_is_there_once(w):
    for _ in range(2):
        await add_event(event(w, "1"), w.services)
    await publish_pending(w.services)
    assert len(w.topic.events) == 1


async def test_without_a_topic_nothing_is_kept_and_what_is_there_is_not_told_later():
    w = MemoryWorld()
    await arrive(w, "a")
    assert w.store.outbox.table.values() == []
    w.topic = MemoryTopic()
    w.services = w.process()
    await w.replay()
    assert told(w) == []


async def test_a_dry_run_publishes_nothing(w):
    await handle_change(w.put("a"), w.services)
    await dry_run_study(STUDY, w.services)
    assert (w.store.outbox.table.values(), w.services.caches.unsent_events) == ([], {})


@pytest.mark.parametrize("uids", [False, True])
async def test_uids_are_told_only_where_a_setting_asks_for_them(uids):
    w = MemoryWorld(topic=MemoryTopic(), events_uids=uids)
    await arrive(w, "Doe-Jane.dcm")
    await arrive(w, "Doe-John.dcm", UNREADABLE)
    text = json.dumps([dict(published.data) for published in w.topic.events])
    assert "Doe" not in text
    assert (f'"{STUDY.study_instance_uid}"' in text) is uids


async def test_every_event_holds_what_its_schema_says_and_nothing_else(w):
    types = {result.type(): result for result in RESULTS}
    w.fhir.failures = [FhirRejected("422")] * 2
    await arrive(w, "a")
    await arrive(w, "b", sop="2.25.9")
    await arrive(w, "c", UNREADABLE)
    await go(w, "a")
    await go(w, "b")
    assert len(set(told(w))) == 4
    for published in w.topic.events:
        assert types[published.type].model_validate_json(json.dumps(dict(published.data))).data() == published.data
