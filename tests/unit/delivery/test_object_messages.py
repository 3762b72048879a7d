"""What becomes of an object's failure: delivered again, postponed, or a dead letter."""

from __future__ import annotations

import json
import traceback

import pytest

from sync.delivery.backoff import SLOW
from sync.delivery.handlers import handle_object_message, handle_poison_object, handle_poison_study
from sync.errors import PermanentError, SourceUnavailable, StoreUnavailable, UnexpectedFailure
from sync.events import object_message
from sync.model import Action, Change, ObjectRef
from sync.telemetry.instruments import FAILURES
from tests.deliveries import later, objects, raising
from tests.worlds import OTHER, SOURCES, event, events


async def test_several_events_of_one_message_are_all_handled(w):
    await objects(w, w.put("a"), w.put("b", sop="2.25.101"), w.put("c", study="2.25.2"))
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.imaging_study(OTHER)["numberOfInstances"] == 1


async def test_an_event_of_a_foreign_account_is_a_dead_letter_and_reads_nothing(w):
    foreign = event(w.put("a"))
    foreign["topic"] = foreign["topic"].replace("memory", "elsewhere")
    await handle_object_message(json.dumps(foreign), SOURCES, w.services)
    assert w.dead_letters() == [("message", "event.foreign_source")]
    assert w.outstanding() == []


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", "{}", '{"type": null}'])
async def test_a_malformed_message_is_a_dead_letter_keyed_by_its_digest(w, text):
    await handle_object_message(text, SOURCES, w.services)
    assert w.dead_letters() == [("message", "event.malformed")]
    (letter,) = w.store.dead_letters.table.values()
    assert len(letter.subject) == 40


async def test_a_message_with_good_and_bad_events_loses_no_good_one(w):
    batch = [{"eventType": "nonsense"}, event(w.put("a")), {"eventType": "nonsense"}, event(w.put("b", sop="2.25.9"))]
    await handle_object_message(json.dumps(batch), SOURCES, w.services)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 2
    assert [kind for kind, _ in w.dead_letters()] == ["message"]


async def test_an_object_that_fails_does_not_hold_up_the_others_of_its_message(w):
    good, bad = w.put("good"), w.put("bad", sop="2.25.9")
    w.store.objects.read = _failing_for(w.store.objects.read, "bad", RuntimeError("Doe^Jane"))
    with pytest.raises(UnexpectedFailure):
        await objects(w, bad, good)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1


def _failing_for(read, name, failure):
    async def reading(ref, **how):
        if ref.name == name:
            raise failure
        return await read(ref, **how)

    return reading


async def test_an_object_that_can_never_be_kept_is_a_dead_letter_with_the_reason_at_once(w):
    change = w.put("a")
    upsert = w.store.ledger.upsert

    async def refuse(row):
        raise PermanentError("a row of 2000000 bytes", code="store.row_too_large")

    w.store.ledger.upsert = refuse
    await objects(w, change)
    assert w.dead_letters() == [("object", "store.row_too_large")]
    w.store.ledger.upsert = upsert
    await objects(w, change)
    await w.settle()
    assert w.dead_letters() == []
    assert w.imaging_study() is not None


@pytest.mark.parametrize("outage", [StoreUnavailable(), SourceUnavailable(retry_after=1)], ids=lambda e: e.code)
async def test_an_object_that_meets_an_outage_waits_with_growing_delay(w, outage):
    read, w.store.objects.read = w.store.objects.read, raising(outage)
    await objects(w, w.put("a"))
    waits = []
    for _ in range(8):
        (message,) = w.store.object_queue.messages
        waits.append((message.visible_at - w.clock.now()).total_seconds())
        await later(w, waits[-1])
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    w.store.objects.read = read
    await later(w, 300)
    await w.settle()
    assert (w.store.object_queue.messages, w.dead_letters()) == ([], [])
    assert w.imaging_study() is not None


async def test_an_object_whose_first_look_died_half_way_is_looked_at_again_without_trust(w):
    change = w.put("a")
    mark, w.store.dirty.mark = w.store.dirty.mark, raising(StoreUnavailable())
    await objects(w, change)
    w.store.dirty.mark = mark
    await later(w, 5)
    await w.settle()
    assert w.imaging_study() is not None


async def test_when_the_queue_does_not_answer_either_the_message_is_delivered_again(w):
    w.store.objects.read = raising(SourceUnavailable())
    w.store.object_queue.send = raising(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await objects(w, w.put("a"))


async def test_messages_of_objects_do_not_multiply_during_an_outage(w):
    w.store.objects.read = raising(SourceUnavailable())
    w.store.dead_letters.put = raising(StoreUnavailable())
    await objects(w, w.put("a"), w.put("b", sop="2.25.9"))
    for _ in range(30):
        await later(w, 600)
        assert len(w.store.object_queue.messages) == 2


async def test_an_object_that_waits_longer_than_patience_is_a_dead_letter_until_it_succeeds(w):
    read, w.store.objects.read = w.store.objects.read, raising(SourceUnavailable("403", code="source.forbidden"))
    change = w.put("a")
    await objects(w, change)
    for _ in range(11):
        assert w.dead_letters() == []
        await later(w, 300)
    await later(w, 400)
    assert w.dead_letters() == [("object", "source.forbidden")]
    (message,) = w.store.object_queue.messages
    assert (message.visible_at - w.clock.now()).total_seconds() == SLOW
    w.store.objects.read = read
    await later(w, SLOW)
    await w.settle()
    assert (w.dead_letters(), w.store.object_queue.messages) == ([], [])
    assert w.imaging_study() is not None


async def test_other_objects_of_the_message_do_not_wait_with_it(w):
    good, bad = w.put("good"), w.put("bad", sop="2.25.9")
    w.store.objects.read = _failing_for(w.store.objects.read, "bad", SourceUnavailable())
    await objects(w, bad, good)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1
    assert len(w.store.object_queue.messages) == 1


async def test_a_message_of_ours_for_a_container_that_is_configured_no_more_is_refused(w):
    ref = ObjectRef(account="memory", container="other", name="a")
    await handle_object_message(object_message(ref), SOURCES, w.services)
    assert w.dead_letters() == [("message", "event.foreign_source")]


@pytest.mark.parametrize(
    "more", [{"waited": -1}, {"waited": "x"}, {"failing_since": 5}, {"failing_since": "2026-01-01"}]
)
async def test_a_forged_message_of_our_form_is_still_inspected(w, more):
    w.put("a")
    text = json.dumps(json.loads(object_message(w.ref("a"))) | more)
    await handle_object_message(text, SOURCES, w.services)
    await w.settle()
    assert w.imaging_study() is not None


async def test_an_unexpected_exception_is_replaced_by_its_type_and_place(w):
    w.store.locators.insert = raising(ValueError("Doe^Jane 19900102"))
    with pytest.raises(UnexpectedFailure) as caught:
        await objects(w, w.put("a"))
    shown = "".join(traceback.format_exception(caught.value))
    assert "Doe" not in shown
    assert "ValueError at deliveries.py" in str(caught.value)


async def test_a_poison_object_message_is_a_dead_letter_that_any_later_event_clears(w):
    change = w.put("a")
    await handle_poison_object(events(change), SOURCES, w.services)
    assert w.dead_letters() == [("object", "poison.object")]
    await objects(w, change)
    assert w.dead_letters() == []


async def test_a_poison_object_that_was_known_and_settled_is_looked_at_again_by_its_own_event(w):
    change = w.put("a")
    await objects(w, change)
    overwritten = w.put("a", StudyDescription="new")
    await handle_poison_object(events(overwritten), SOURCES, w.services)
    await objects(w, overwritten)
    await w.settle()
    assert w.imaging_study()["description"] == "new"
    assert w.dead_letters() == []


async def test_objects_of_a_poison_message_that_got_through_are_no_dead_letters(w):
    good, bad, gone = w.put("good"), w.put("bad", sop="2.25.9"), w.delete("gone")
    await objects(w, good, gone)
    await handle_poison_object(events(good, bad, gone), SOURCES, w.services)
    (letter,) = w.store.dead_letters.table.values()
    assert letter.subject == str(bad.object.key)


async def test_a_poison_event_of_an_object_that_came_after_its_deletion_is_a_dead_letter(w):
    await objects(w, w.delete("a"))
    created = Change(object=w.ref("a"), action=Action.CREATED)
    await handle_poison_object(events(created), SOURCES, w.services)
    assert w.dead_letters() == [("object", "poison.object")]


async def test_a_poison_message_that_names_nothing_is_a_dead_letter_too(w):
    await handle_poison_object("nonsense", SOURCES, w.services)
    await handle_poison_study("nonsense", w.services)
    assert w.dead_letters() == [("message", "event.malformed")]


async def test_an_outage_counts_although_the_queue_refuses_too(w, monkeypatch):
    w.store.objects.read = raising(SourceUnavailable("503"))
    monkeypatch.setattr(w.store.object_queue, "send", raising(StoreUnavailable("queue")))
    with pytest.raises(StoreUnavailable):
        await objects(w, w.put("a"))
    codes = {dict(key.attributes)["error.type"] for key in w.services.telemetry.take() if key.name == FAILURES.name}
    assert codes == {"source.unavailable", "store.unavailable"}
