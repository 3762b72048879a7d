"""What becomes of a failure: delivered again, postponed, or a dead letter; and that none holds a patient's data."""

import json
import traceback
from datetime import timedelta

import pytest

from sync.errors import (
    Contention,
    FhirRejected,
    FhirUnavailable,
    PermanentError,
    SourceUnavailable,
    StoreUnavailable,
    Throttled,
    UnexpectedFailure,
)
from sync.events import object_message, study_message
from sync.handling import (
    FEW,
    handle_object_message,
    handle_poison_object,
    handle_poison_study,
    handle_study_message,
    sweep,
)
from sync.model import Action, Change, ObjectRef, StudyRef
from sync.waiting import LONGEST_BACK_OFF, SLOW
from tests.worlds import OTHER, SOURCES, STUDY, UNREADABLE, MemoryWorld, event, events

MESSAGE = study_message(STUDY)


@pytest.fixture
def w():
    return MemoryWorld()


async def objects(w, *changes, attempt=1):
    await handle_object_message(events(*changes), SOURCES, w.services, attempt=attempt)


async def studies(w, study=STUDY, attempt=1):
    w.clock.advance(100)
    await handle_study_message(study_message(study), w.services, attempt=attempt)


# Objects


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
    read, w.store.objects.read = w.store.objects.read, _raising(outage)
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


async def later(w, seconds):
    """Deliver what waits in the queue of objects, after so many seconds."""
    w.clock.advance(seconds)
    for text in w.store.object_queue.take():
        await handle_object_message(text, SOURCES, w.services)


async def test_an_object_whose_first_look_died_half_way_is_looked_at_again_without_trust(w):
    change = w.put("a")
    mark, w.store.dirty.mark = w.store.dirty.mark, _raising(StoreUnavailable())
    await objects(w, change)
    w.store.dirty.mark = mark
    await later(w, 5)
    await w.settle()
    assert w.imaging_study() is not None


async def test_when_the_queue_does_not_answer_either_the_message_is_delivered_again(w):
    w.store.objects.read = _raising(SourceUnavailable())
    w.store.object_queue.send = _raising(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await objects(w, w.put("a"))


async def test_messages_of_objects_do_not_multiply_during_an_outage(w):
    w.store.objects.read = _raising(SourceUnavailable())
    w.store.dead_letters.put = _raising(StoreUnavailable())
    await objects(w, w.put("a"), w.put("b", sop="2.25.9"))
    for _ in range(30):
        await later(w, 600)
        assert len(w.store.object_queue.messages) == 2


async def test_an_object_that_waits_longer_than_patience_is_a_dead_letter_until_it_succeeds(w):
    read, w.store.objects.read = w.store.objects.read, _raising(SourceUnavailable("403", code="source.forbidden"))
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
async def test_a_message_of_ours_that_somebody_made_up_is_still_looked_at(w, more):
    w.put("a")
    text = json.dumps(json.loads(object_message(w.ref("a"))) | more)
    await handle_object_message(text, SOURCES, w.services)
    await w.settle()
    assert w.imaging_study() is not None


def _raising(failure):
    async def raising(*args, **kwargs):
        raise failure

    return raising


async def test_an_unexpected_exception_is_replaced_by_its_type_and_place(w):
    w.store.locators.read = _raising(ValueError("Doe^Jane 19900102"))
    with pytest.raises(UnexpectedFailure) as caught:
        await objects(w, w.put("a"))
    shown = "".join(traceback.format_exception(caught.value))
    assert "Doe" not in shown
    assert "ValueError at test_handling.py" in str(caught.value)


# Poison


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


async def test_a_poison_study_is_set_aside_until_it_changes(w):
    await objects(w, w.put("a"))
    await handle_poison_study(MESSAGE, w.services)
    assert w.dead_letters() == [("study", "poison.study")]
    assert w.outstanding() == []
    await w.arrive("b", sop="2.25.9")
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.dead_letters() == []


async def test_a_poison_message_delivered_twice_counts_its_attempts(w):
    for _ in range(2):
        await handle_poison_study(MESSAGE, w.services)
    (letter,) = w.store.dead_letters.table.values()
    assert letter.attempts == 2


# Studies


@pytest.mark.parametrize("text", ["", "[]", '{"study_instance_uid": 1}', '{"partition": "p"}'])
async def test_a_malformed_study_message_is_a_dead_letter_and_its_study_is_swept(w, text):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    await handle_study_message(text, w.services)
    assert w.dead_letters() == [("message", "event.malformed")]
    w.clock.advance(100)
    assert await sweep(w.services) == 1


@pytest.mark.parametrize("outage", [FhirUnavailable("503"), Throttled("429"), Contention()], ids=lambda e: e.code)
async def test_an_outage_postpones_the_study_with_growing_delay_and_never_raises(w, outage):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    w.fhir.outage = outage
    waits = []
    for _ in range(6):
        await studies(w)
        (message,) = w.store.study_queue.messages
        waits.append((message.visible_at - w.clock.now()).total_seconds())
        w.store.study_queue.messages.clear()
    assert waits == [5, 10, 20, 40, LONGEST_BACK_OFF, LONGEST_BACK_OFF]
    assert w.outstanding()[0].attempts == 6
    assert w.dead_letters() == []


async def test_a_service_that_says_how_long_is_given_that_long(w):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    w.fhir.outage = Throttled("429", retry_after=33)
    await studies(w)
    (dirty,) = w.outstanding()
    assert dirty.not_before == w.clock.now() + timedelta(seconds=33)


async def test_an_hour_asked_for_is_cut_short(w):
    await objects(w, w.put("a"))
    w.fhir.outage = Throttled("429", retry_after=3600)
    await studies(w)
    assert w.outstanding()[0].not_before == w.clock.now() + timedelta(seconds=LONGEST_BACK_OFF)


async def test_after_an_outage_the_study_is_projected_by_itself(w):
    await objects(w, w.put("a"))
    w.fhir.outage = FhirUnavailable("503")
    for _ in range(3):
        w.clock.advance(100)
        for study in w.store.study_queue.take():
            await handle_study_message(study_message(study), w.services)
    w.fhir.outage = None
    await w.settle()
    assert w.imaging_study() is not None
    assert w.outstanding() == []


async def test_a_mark_during_an_outage_keeps_the_delay_and_the_distrust(w):
    await objects(w, w.put("a"))
    w.fhir.outage = FhirUnavailable("503")
    await studies(w)
    before = w.outstanding()[0]
    await objects(w, w.put("b", sop="2.25.9"))
    after = w.outstanding()[0]
    assert (after.attempts, after.not_before) == (before.attempts, before.not_before)
    assert after.last_marked > before.last_marked


async def test_messages_do_not_multiply_during_an_outage(w):
    await objects(w, w.put("a"))
    w.fhir.outage = FhirUnavailable("503")
    for _ in range(20):
        w.clock.advance(100)
        await sweep(w.services)
        for study in w.store.study_queue.take():
            await handle_study_message(study_message(study), w.services)
    assert len(w.store.study_queue.messages) == 1


async def test_an_outage_of_the_store_postpones_the_study_and_distrusts_the_pass_that_met_it(w):
    await objects(w, w.put("a"))
    w.store.ledger.read = _raising(StoreUnavailable())
    await studies(w)
    (dirty,) = w.outstanding()
    assert dirty.attempts == 1
    assert len(w.store.study_queue.messages) == 2


async def test_when_not_even_that_can_be_noted_the_host_delivers_the_study_again(w):
    await objects(w, w.put("a"))
    w.store.dirty.read = _raising(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await studies(w)
    assert len(w.outstanding()) == 1


async def test_a_study_to_which_fhir_never_answers_becomes_a_dead_letter_and_heals_by_itself(w):
    await objects(w, w.put("a"))
    w.fhir.outage = FhirUnavailable("500")
    while not w.dead_letters():
        (dirty,) = w.outstanding()
        w.clock.advance(60)
        await handle_study_message(MESSAGE, w.services)
        assert dirty.attempts < 70
    assert w.dead_letters() == [("study", "fhir.unavailable")]
    (dirty,) = w.outstanding()
    assert timedelta(hours=1) <= w.clock.now() - dirty.failing_since < timedelta(hours=1, minutes=2)
    assert dirty.not_before == w.clock.now() + timedelta(seconds=SLOW)
    w.fhir.outage = None
    w.clock.advance(SLOW + 10)
    w.store.study_queue.messages.clear()  # and its message is lost
    await sweep(w.services)
    await w.settle()
    assert (w.dead_letters(), w.outstanding()) == ([], [])
    assert w.imaging_study() is not None


async def test_an_outage_of_a_minute_makes_no_dead_letter_even_of_a_study_that_failed_yesterday(w):
    await objects(w, w.put("a"))
    w.fhir.outage = Throttled("429")
    await studies(w)
    w.fhir.outage = None
    w.clock.advance(24 * 3600)
    await studies(w)
    await objects(w, w.put("b", sop="2.25.9"))
    w.fhir.outage = Throttled("429")
    await studies(w)
    assert w.dead_letters() == []


async def test_an_unexpected_exception_in_a_projection_keeps_its_text_to_itself(w):
    await objects(w, w.put("a"))
    w.fhir.outage = KeyError("Doe^Jane")
    with pytest.raises(UnexpectedFailure) as caught:
        await studies(w)
    assert "Doe" not in "".join(traceback.format_exception(caught.value))


async def test_a_refused_study_is_parked_after_a_second_try_and_others_go_on(w):
    await objects(w, w.put("a"), w.put("b", study="2.25.2"))
    w.fhir.failures = [FhirRejected("422 invalid Patient.name")] * 2
    await studies(w)
    await studies(w, OTHER)
    assert w.dead_letters() == [("study", "fhir.rejected")]
    assert w.imaging_study() is None
    assert w.imaging_study(OTHER) is not None
    assert w.outstanding() == []


async def test_a_refusal_that_the_record_caused_heals_at_once(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("400")]
    await studies(w)
    assert w.imaging_study() is not None
    assert w.dead_letters() == []


@pytest.mark.parametrize("attempt", [1, 2])
async def test_the_next_mark_of_a_parked_study_heals_it(w, attempt):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    await objects(w, w.put("b", sop="2.25.9"))
    await studies(w, attempt=attempt)
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.dead_letters() == []


async def test_a_redelivery_alone_heals_a_parked_study(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    await studies(w, attempt=2)
    assert w.imaging_study() is not None
    assert w.dead_letters() == []


async def test_a_study_parked_before_an_outage_heals_after_it(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    w.store.study_queue.messages.clear()
    await objects(w, w.put("b", sop="2.25.9"))
    w.fhir.outage = FhirUnavailable("503")
    await studies(w)
    assert w.dead_letters() == [("study", "fhir.rejected")]
    w.fhir.outage = None
    await w.settle()
    assert w.dead_letters() == []
    assert w.imaging_study() is not None


async def test_a_study_marked_while_it_is_parked_is_projected_again(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    put = w.store.dead_letters.put

    async def put_while_marked(letter):
        w.store.dead_letters.put = put
        await put(letter)
        await w.ingest(w.put("b", sop="2.25.9"))

    w.store.dead_letters.put = put_while_marked
    await studies(w)
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.dead_letters() == []
    assert w.outstanding() == []


async def test_a_parked_study_whose_objects_all_go_leaves_nothing(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    await objects(w, w.delete("a"))
    await studies(w)
    assert list(w.server.resources()) == []
    assert w.dead_letters() == []


async def test_a_message_for_a_study_that_nobody_knows_leaves_nothing(w):
    await studies(w, StudyRef(study_instance_uid="2.25.77"))
    assert list(w.server.resources()) == []
    assert w.outstanding() == []


async def test_no_dead_letter_and_no_counter_holds_anything_of_a_file(w):
    await objects(w, w.put("Doe-Jane.dcm", UNREADABLE), w.put("b", PatientID="SECRET", study="2.25.4711"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w, StudyRef(study_instance_uid="2.25.4711"))
    letters = w.store.dead_letters.table.values()
    shown = repr(letters) + repr(w.services.telemetry.counts())
    assert len(letters) == 2
    assert not [word for word in ("Doe", "SECRET", "4711", ".dcm") if word in shown]


# The sweeper


async def test_a_study_whose_message_was_lost_is_swept(w):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    w.clock.advance(100)
    assert await sweep(w.services) == 1
    await w.settle()
    assert w.imaging_study() is not None


async def test_a_study_within_its_quiet_period_is_not_swept(w):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    w.clock.advance(w.services.settings.quiet_period + 1)
    assert await sweep(w.services) == 0


async def test_a_postponed_study_is_not_swept_before_its_time(w):
    await objects(w, w.put("a"))
    w.fhir.outage = Throttled("429", retry_after=50)
    await studies(w)
    w.store.study_queue.messages.clear()
    w.clock.advance(40)
    assert await sweep(w.services) == 0
    w.clock.advance(20)
    assert await sweep(w.services) == 1


async def test_nothing_outstanding_means_nothing_to_sweep(w):
    assert await sweep(w.services) == 0


async def test_studies_that_merely_wait_their_turn_are_not_swept(w):
    await objects(w, w.put("a"), w.put("b", study="2.25.2"))
    w.clock.advance(100)
    assert await sweep(w.services) == 0


async def test_a_lost_study_is_swept_in_the_end_though_others_keep_the_queue_full(w):
    await objects(w, w.put("a"), w.put("b", study="2.25.2"))
    w.store.study_queue.messages = [m for m in w.store.study_queue.messages if m.study != OTHER] * 3
    w.clock.advance(100)
    assert await sweep(w.services) == 0
    w.clock.advance(600)
    await sweep(w.services)
    assert OTHER in {message.study for message in w.store.study_queue.messages}


async def test_a_long_queue_is_not_flooded_by_the_sweeper(w):
    for n in range(3 * FEW):
        await objects(w, w.put(f"a{n}", study=f"2.25.{n + 1}"))
    w.clock.advance(10_000)
    assert await sweep(w.services) == FEW
    w.store.study_queue.messages.clear()
    assert await sweep(w.services) == 3 * FEW
