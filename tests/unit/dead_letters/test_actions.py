"""What an operator sees and does: a retry succeeds after a repair, a discard leaves a trail, neither loses anything."""

import json
from dataclasses import replace

import pytest

from sync.dead_letters.actions import Outcome, Selection, discard, discard_one, retry
from sync.dead_letters.queries import browse, overview, secrets, show
from sync.delivery.handlers import (
    handle_object_message,
    handle_poison_object,
    handle_poison_study,
    handle_study_message,
)
from sync.errors import FhirRejected, SourceUnavailable, StoreUnavailable
from sync.events import Sources, study_message
from sync.model import DeadLetter, SubjectKind
from sync.monitoring.counts import read_count
from sync.ports import Counted
from sync.protocol.attempts import CRASH_CODE, AttemptsRow, keep_count
from sync.protocol.dead_letters import dead_letter_study
from sync.testing.clock import ManualClock
from tests.worlds import OTHER, SOURCES, STUDY, UNREADABLE, event, events

EVERYTHING = Selection()


async def run(w, sources=SOURCES):
    """Let everything happen that is on its way."""
    for text in w.store.object_queue.take():
        await handle_object_message(text, sources, w.services)
    await w.settle()


def letters(w):
    return w.store.dead_letters.table.values()


# Retry


async def test_a_study_that_fhir_refused_heals_by_a_retry_once_the_cause_is_repaired(w):
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    assert w.dead_letters() == [("study", "fhir.rejected")]
    report = await retry(EVERYTHING, SOURCES, w.services)
    assert (report.selected, report.by_code, report.of(Outcome.ASKED)) == (1, {"fhir.rejected": 1}, 1)
    assert w.dead_letters() == [("study", "fhir.rejected")]  # until it has succeeded
    await run(w)
    assert (w.dead_letters(), w.outstanding()) == ([], [])
    assert w.imaging_study() is not None


async def test_a_study_that_is_refused_again_keeps_its_letter_and_counts(w):
    w.fhir.failures = [FhirRejected("422")] * 20
    await w.arrive("a")
    await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    (letter,) = letters(w)
    assert letter.attempts == 2


async def test_the_sweeper_finds_a_retried_study_whose_message_was_lost(w):
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    await retry(EVERYTHING, SOURCES, w.services)
    w.store.study_queue.messages.clear()
    assert [dirty.study for dirty in w.outstanding()] == [STUDY]


async def test_a_retried_study_that_waits_for_an_outage_waits_no_longer(w):
    await w.ingest(w.put("a"))
    await dead_letter_study(STUDY, SourceUnavailable("503", code="fhir.unavailable"), w.services)
    stored = await w.store.dirty.read(STUDY)
    waiting = replace(stored.value, attempts=9, not_before=w.clock.now().replace(year=2100))
    await w.store.dirty.postpone(waiting, stored.etag)
    w.store.study_queue.messages.clear()
    await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    assert (w.dead_letters(), w.outstanding()) == ([], [])


async def test_an_object_whose_message_was_poison_heals_by_a_retry(w):
    await handle_poison_object(events(w.put("a")), SOURCES, w.services)
    await retry(Selection(code="poison.object"), SOURCES, w.services)
    assert w.dead_letters() == [("object", "poison.object")]
    await run(w)
    assert w.dead_letters() == []
    assert w.imaging_study() is not None


async def test_a_retry_counts_the_deaths_of_an_object_and_a_study_afresh(w):
    counts = AttemptsRow.of_object(w.put("a").object), AttemptsRow.of_study(STUDY)
    for row in counts:
        await keep_count(row, w.services)
    await handle_poison_object(events(w.put("a")), SOURCES, w.services, code=CRASH_CODE)
    await handle_poison_study(study_message(STUDY), w.services, code=CRASH_CODE)
    assert [await w.store.cursors.read(row.name) is None for row in counts] == [False, False]
    await retry(EVERYTHING, SOURCES, w.services)
    assert [await w.store.cursors.read(row.name) is None for row in counts] == [True, True]


async def test_a_poisoned_study_heals_by_a_retry(w):
    await w.ingest(w.put("a"))
    await handle_poison_study(study_message(STUDY), w.services)
    await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    assert w.dead_letters() == []
    assert w.imaging_study() is not None


async def test_an_object_that_is_still_unreadable_keeps_its_letter(w):
    await w.arrive("a", UNREADABLE)
    await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    (letter,) = letters(w)
    assert (letter.code, letter.attempts) == ("header.not_dicom", 2)


async def test_a_retry_finds_that_the_object_is_gone_though_no_event_said_so(w):
    await w.arrive("a", UNREADABLE)
    w.delete("a")
    await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    assert w.dead_letters() == []


async def test_a_retry_during_an_outage_of_the_source_keeps_the_letter_and_heals_later(w):
    await w.arrive("a", UNREADABLE)
    w.put("a")
    read, w.store.objects.read = w.store.objects.read, _raising(SourceUnavailable())
    await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    assert w.dead_letters() == [("object", "header.not_dicom")]
    w.store.objects.read = read
    w.clock.advance(60)
    await run(w)
    assert w.dead_letters() == []


def _raising(failure):
    async def raising(*args, **kwargs):
        raise failure

    return raising


async def test_a_message_of_a_container_that_is_synced_now_heals_by_a_retry(w):
    change = w.put("a")
    none = Sources(account="memory", containers=frozenset())
    await handle_object_message(events(change), none, w.services)
    report = await retry(EVERYTHING, none, w.services)
    assert report.of(Outcome.REFUSED) == 1
    (letter,) = letters(w)
    assert (letter.code, letter.attempts) == ("event.foreign_source", 2)
    report = await retry(EVERYTHING, SOURCES, w.services)
    assert report.of(Outcome.ASKED) == 1
    await run(w)
    assert w.dead_letters() == []
    assert w.imaging_study() is not None


async def test_of_a_message_with_one_bad_event_the_good_ones_are_looked_at_and_the_letter_stays(w):
    text = json.dumps([{"eventType": "nonsense"}, event(w.put("a"))])
    await handle_object_message(text, SOURCES, w.services)
    w.store.ledger.studies.clear()
    report = await retry(EVERYTHING, SOURCES, w.services)
    assert report.of(Outcome.REFUSED) == 1
    await run(w)
    assert w.imaging_study() is not None
    assert [kind for kind, _ in w.dead_letters()] == ["message"]


async def test_a_study_message_that_was_refused_goes_back_to_its_own_queue(w):
    await handle_study_message("no study", w.services)
    report = await retry(EVERYTHING, SOURCES, w.services)
    assert report.of(Outcome.REFUSED) == 1
    (letter,) = letters(w)
    assert letter.queue == "studies"


async def test_what_was_not_kept_cannot_be_retried_and_is_said_so(w):
    await handle_object_message("x" * 70_000, SOURCES, w.services)
    await w.store.dead_letters.put(_bare(SubjectKind.OBJECT, "a.b"))
    await w.store.dead_letters.put(_bare(SubjectKind.OBJECT, "no key"))
    await w.store.dead_letters.put(_bare(SubjectKind.STUDY, "c"))
    report = await retry(EVERYTHING, SOURCES, w.services)
    assert report.of(Outcome.NOT_KEPT) == 4
    assert len(letters(w)) == 4


def _bare(kind, subject):
    now = ManualClock().now()
    return DeadLetter(kind=kind, subject=subject, code="a.b", detail="", hint="", first_at=now, last_at=now)


async def test_a_retry_may_be_repeated_and_changes_nothing_more(w):
    await w.arrive("a")
    versions = w.versions()
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    for _ in range(3):
        await retry(EVERYTHING, SOURCES, w.services)
    await run(w)
    assert (w.dead_letters(), w.outstanding()) == ([], [])
    assert w.versions() == versions


async def test_a_dry_run_counts_and_touches_nothing(w):
    await w.arrive("a", UNREADABLE)
    before = letters(w)
    for report in (
        await retry(EVERYTHING, SOURCES, w.services, dry_run=True),
        await discard(EVERYTHING, w.services, who="Jane", why="x", dry_run=True),
    ):
        assert (report.dry_run, report.selected, report.by_code) == (True, 1, {"header.not_dicom": 1})
        assert report.outcomes == {}
    assert letters(w) == before
    assert w.store.object_queue.messages == []
    assert await w.store.audit.newest(9) == []


async def test_only_the_selected_letters_are_retried(w):
    await w.arrive("a", UNREADABLE)
    await dead_letter_study(OTHER, FhirRejected("422"), w.services)
    assert (await retry(Selection(code="fhir.rejected"), SOURCES, w.services)).selected == 1
    one = Selection(kind=SubjectKind.OBJECT, subject=str(w.ref("a").key))
    assert (await retry(one, SOURCES, w.services)).by_code == {"header.not_dicom": 1}
    assert (await retry(replace(one, subject="x.y"), SOURCES, w.services)).selected == 0


async def test_a_retry_stopped_by_an_outage_of_storage_leaves_every_letter(w):
    await w.arrive("a", UNREADABLE)
    w.store.object_queue.send = _raising(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await retry(EVERYTHING, SOURCES, w.services)
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def test_thousands_are_retried_page_by_page(w):
    for n in range(1203):
        await w.store.dead_letters.put(_bare(SubjectKind.STUDY, f"{n}"))
    report = await retry(EVERYTHING, SOURCES, w.services)
    assert (report.selected, report.of(Outcome.NOT_KEPT)) == (1203, 1203)


# Discard


async def test_a_discarded_letter_leaves_who_did_it_when_and_why(w):
    await w.arrive("a", UNREADABLE)
    report = await discard(EVERYTHING, w.services, who="Jane", why="not ours")
    assert report.of(Outcome.DISCARDED) == 1
    assert w.dead_letters() == []
    (entry,) = await w.store.audit.newest(9)
    assert (entry.who, entry.why, entry.code, entry.at) == ("Jane", "not ours", "header.not_dicom", w.clock.now())
    assert entry.subject == f"object {w.ref('a').key}"


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("Jane", ""), (" ", "x"), ("Jane", " ")])
async def test_a_discard_needs_a_name_and_a_reason(w, who, why):
    with pytest.raises(ValueError):
        await discard(EVERYTHING, w.services, who=who, why=why)


async def test_a_discarded_letter_comes_back_when_its_subject_fails_again(w):
    await w.arrive("a", UNREADABLE)
    await discard(EVERYTHING, w.services, who="Jane", why="x")
    await w.arrive("a", b"still no DICOM")
    (letter,) = letters(w)
    assert letter.attempts == 1


async def test_an_object_whose_letter_was_discarded_still_syncs_when_it_is_repaired(w):
    await w.arrive("a", UNREADABLE)
    await discard(EVERYTHING, w.services, who="Jane", why="x")
    await w.arrive("a")
    assert w.imaging_study() is not None


async def test_a_letter_that_failed_again_meanwhile_is_not_discarded(w):
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    (seen,) = letters(w)
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    assert await discard_one(seen, w.services, who="Jane", why="x") is Outcome.CHANGED
    assert w.dead_letters() == [("study", "fhir.rejected")]


async def test_retries_are_in_the_trail_too(w):
    await w.arrive("a", UNREADABLE)
    await retry(Selection(code="header.not_dicom"), SOURCES, w.services, who="Jane")
    (entry,) = await w.store.audit.newest(9)
    assert (entry.action, entry.who, entry.code) == ("dead-letters.retry", "Jane", "header.not_dicom")


# Look


async def test_letters_are_grouped_by_code_with_what_to_do_and_the_newest(w):
    for n in range(5):
        await w.arrive(f"Doe-{n}.dcm", UNREADABLE)
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    first, second = await overview(await read_count(Counted.DEAD_LETTERS, w.services), w.services, newest=2)
    assert (first.code, first.count, len(first.newest)) == ("header.not_dicom", 5, 2)
    assert first.newest[0].subject == str(w.ref("Doe-4.dcm").key)
    oldest = await show(SubjectKind.OBJECT, str(w.ref("Doe-0.dcm").key), w.services)
    assert first.oldest_at == oldest.first_at
    assert (second.code, second.count, bool(second.hint)) == ("fhir.rejected", 1, True)


async def test_whose_a_letter_is_is_told_to_who_asks_and_shown_by_nothing_else(w):
    await w.arrive("Doe-Jane.dcm", UNREADABLE)
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    await handle_object_message("Doe^Jane", SOURCES, w.services)
    secrets_of = [await secrets(letter, w.services) for letter in letters(w)]
    assert secrets_of[0].object == "memory/dicom/Doe-Jane.dcm"
    assert secrets_of[1].study == STUDY
    assert secrets_of[2].message == "Doe^Jane"
    groups = await overview(await read_count(Counted.DEAD_LETTERS, w.services), w.services)
    shown = repr([letters(w), secrets_of, groups, await browse(w.services)])
    assert "Doe" not in shown
    assert STUDY.study_instance_uid not in shown.replace(STUDY.key, "")


async def test_a_letter_that_is_not_there_is_none(w):
    assert await show(SubjectKind.STUDY, "x", w.services) is None


async def test_pages_of_letters_that_lead_in_a_circle_end_with_an_error(w):
    await w.ingest(w.put("a", UNREADABLE))
    page, asked = w.store.dead_letters.page, []

    async def circular(*, code=None, limit=100, token=None):
        asked.append(token)
        assert len(asked) < 50, "read for ever"
        return replace(await page(code=code, limit=limit), token="B" if token == "A" else "A")

    w.store.dead_letters.page = circular
    with pytest.raises(StoreUnavailable, match="circle"):
        await retry(EVERYTHING, SOURCES, w.services, who="ada")
