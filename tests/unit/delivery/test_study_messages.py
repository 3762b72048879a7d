"""What becomes of a study's failure: delivered again, postponed, or a dead letter that holds no patient's data."""

from __future__ import annotations

import asyncio
import traceback
from datetime import timedelta

import pytest

from sync.delivery.backoff import LONGEST_BACK_OFF, SLOW
from sync.delivery.handlers import handle_poison_study, handle_study, handle_study_message, sweep
from sync.errors import Contention, FhirRejected, FhirUnavailable, StoreUnavailable, Throttled, UnexpectedFailure
from sync.events import study_message
from sync.model import StudyRef
from sync.pipeline import Projected
from sync.protocol.dirty_studies import BELIEVED, objects_wait
from tests.deliveries import objects, raising, studies
from tests.worlds import OTHER, STUDY, UNREADABLE, count

MESSAGE = study_message(STUDY)


async def test_a_poison_study_is_dead_lettered_until_it_changes(w):
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


async def test_a_mark_during_an_outage_keeps_the_delay_and_the_bypass(w):
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


async def test_an_outage_of_the_store_postpones_the_study_and_bypasses_its_cache(w):
    await objects(w, w.put("a"))
    w.store.ledger.read = raising(StoreUnavailable())
    await studies(w)
    (dirty,) = w.outstanding()
    assert dirty.attempts == 1
    assert len(w.store.study_queue.messages) == 2


async def test_when_not_even_that_can_be_noted_the_host_delivers_the_study_again(w):
    await objects(w, w.put("a"))
    w.store.dirty.read = raising(StoreUnavailable())
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


async def test_a_refused_study_is_dead_lettered_after_a_second_try_and_others_go_on(w):
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
async def test_the_next_mark_of_a_dead_lettered_study_heals_it(w, attempt):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    await objects(w, w.put("b", sop="2.25.9"))
    await studies(w, attempt=attempt)
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.dead_letters() == []


async def test_a_redelivery_alone_heals_a_dead_lettered_study(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    await studies(w, attempt=2)
    assert w.imaging_study() is not None
    assert w.dead_letters() == []


async def test_a_study_dead_lettered_before_an_outage_heals_after_it(w):
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


async def test_a_study_marked_while_it_is_dead_lettered_is_projected_again(w):
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


async def test_a_dead_lettered_study_whose_objects_all_go_leaves_nothing(w):
    await objects(w, w.put("a"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w)
    await objects(w, w.delete("a"))
    await studies(w)
    assert list(w.server.resources()) == []
    assert w.dead_letters() == []


async def test_a_message_for_an_unknown_study_leaves_nothing(w):
    await studies(w, StudyRef(study_instance_uid="2.25.77"))
    assert list(w.server.resources()) == []
    assert w.outstanding() == []


async def test_no_dead_letter_and_no_counter_holds_anything_of_a_file(w, actions):
    await objects(w, w.put("Doe-Jane.dcm", UNREADABLE), w.put("b", PatientID="SECRET", study="2.25.4711"))
    w.fhir.failures = [FhirRejected("422")] * 2
    await studies(w, StudyRef(study_instance_uid="2.25.4711"))
    letters = w.store.dead_letters.table.values()
    shown = repr(letters) + repr(actions)
    assert len(letters) == 2
    assert not [word for word in ("Doe", "SECRET", "4711", ".dcm") if word in shown]


async def test_one_process_asks_fhir_for_a_bounded_number_of_studies_at_once(w, monkeypatch):
    running, most = 0, 0

    async def counted(study, s, **_):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Projected.UNCHANGED

    monkeypatch.setattr("sync.delivery.handlers.project_study", counted)
    several = [StudyRef(study_instance_uid=f"2.25.{n}") for n in range(1, 100)]
    await asyncio.gather(*(handle_study(study, w.services) for study in several))
    assert most == w.services.settings.fhir_concurrency == 16


async def test_the_outcome_is_recorded_without_reading_the_record_once_more(w):
    await objects(w, w.put("a"), w.put("b", sop="2.25.9"))
    w.clock.advance(100)
    reads = count(w.store.projections, "read")
    await handle_study(STUDY, w.services)
    assert len(reads) == 1
    events = await w.store.history.of_study(STUDY, 10)
    assert [(event.series, event.instances) for event in events] == [(1, 2)]


async def test_studies_that_ask_at_once_whether_objects_wait_share_the_answer(w):
    asked = []

    async def is_empty():
        asked.append(w.clock.now())
        await asyncio.sleep(0)
        return len(asked) > 1

    w.store.object_queue.is_empty = is_empty
    s = w.process()
    assert await asyncio.gather(*(objects_wait(s) for _ in range(5))) == [True] * 5
    assert await objects_wait(s)
    assert len(asked) == 1
    w.clock.advance(BELIEVED.total_seconds())
    assert await asyncio.gather(*(objects_wait(s) for _ in range(5))) == [False] * 5
    assert len(asked) == 2
    assert not await objects_wait(s)
    assert len(asked) == 3
