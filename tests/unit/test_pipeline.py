"""One object to its row, one study to its turn: repeats, moves, deaths, and when a study is projected."""

from dataclasses import replace

import pytest

from sync.delivery.handlers import handle_study_message
from sync.errors import Contention, SourceArchived, SourceChanged, SourceGone, SourceUnavailable, StoreConflict
from sync.events import study_message
from sync.model import Action, Change, Ingested, Projected
from sync.pipeline import project_study
from tests.worlds import OTHER, STUDY, UNREADABLE, count, run


async def ledger(w, study=STUDY):
    return {row.object_key for row in await w.store.ledger.read(study)}


# Ingest


async def test_a_new_object_leaves_a_row_a_mark_and_a_message(w):
    assert await w.ingest(w.put("a")) is Ingested.SYNCED
    assert await ledger(w) == {w.ref("a").key}
    assert [dirty.study for dirty in w.outstanding()] == [STUDY]
    assert [message.study for message in w.store.study_queue.messages] == [STUDY]


async def test_more_instances_of_a_dirty_study_send_no_more_messages(w):
    for n in range(5):
        await w.ingest(w.put(f"a{n}", sop=f"2.25.10{n}"))
    assert len(w.store.study_queue.messages) == 1


async def test_a_repeated_event_costs_one_read_and_nothing_else(w):
    change = w.put("a")
    await w.ingest(change)
    reads, inspections = count(w.store.locators, "read"), count(w.store.objects, "read")
    claims, marks = count(w.store.locators, "replace"), count(w.store.dirty, "mark")
    assert await w.ingest(change) is Ingested.REPEAT
    assert [len(calls) for calls in (reads, inspections, claims, marks)] == [1, 0, 0, 0]


async def test_an_object_that_is_likely_new_is_claimed_without_a_read(w):
    reads = count(w.store.locators, "read")
    for n in range(5):
        change = replace(w.put(f"a{n}", sop=f"2.25.10{n}"), likely_new=True)
        assert await w.ingest(change) is Ingested.SYNCED
    assert len(reads) == 0
    assert len(await ledger(w)) == 5


async def test_a_likely_new_object_that_is_known_costs_one_read_and_ends_as_if_it_had_been_read_first(w):
    await w.ingest(w.put("a"))
    change = replace(w.put("a", study=OTHER.study_instance_uid), likely_new=True)
    reads = count(w.store.locators, "read")
    assert await w.ingest(change) is Ingested.SYNCED
    assert len(reads) == 1
    assert await ledger(w) == set()
    assert await ledger(w, OTHER) == {w.ref("a").key}
    assert {dirty.study for dirty in w.outstanding()} == {STUDY, OTHER}


async def test_objects_that_keep_being_known_are_read_first_until_some_are_new_again(w):
    changes = [replace(w.put(f"a{n}"), likely_new=True) for n in range(40)]
    for change in changes:
        await w.ingest(change)
    inserts, reads = count(w.store.locators, "insert"), count(w.store.locators, "read")
    for change in changes:
        await w.ingest(change)
    assert len(reads) == 40
    assert len(inserts) < 12  # then the rows are read first, and show that events are repeats
    inserts.clear()
    for n in range(40, 90):
        await w.ingest(replace(w.put(f"a{n}"), likely_new=True))
    assert len(inserts) == 50
    assert len(reads) < 40 + 25


async def test_a_known_object_that_was_archived_is_no_dead_letter_however_new_it_seemed(w):
    change = w.put("a")
    await w.ingest(change)
    w.store.objects.read, w.store.objects.etag = _raising(SourceArchived()), _returning(change.etag)
    assert await w.ingest(replace(change, likely_new=True)) is Ingested.REPEAT
    assert w.dead_letters() == []


@pytest.mark.parametrize("again", [{"redelivered": True}, {}])
async def test_a_delivery_that_may_be_the_second_reads_first(w, again):
    change = replace(w.put("a"), likely_new=True, again=not again)
    reads = count(w.store.locators, "read")
    await w.ingest(change, **again)
    assert len(reads) == 1


async def test_a_redelivered_event_is_never_taken_for_a_repeat(w):
    change = w.put("a")
    await w.ingest(change)
    assert await w.ingest(change, redelivered=True) is Ingested.SYNCED


async def test_bytes_that_are_unreadable_under_a_known_etag_are_not_those_of_the_object(w):
    change = w.put("a")
    await w.ingest(change)
    blob = w.store.objects._blobs[w.ref("a")]
    w.store.objects._blobs[w.ref("a")] = replace(blob, data=b"<html>blocked</html>" * 100)
    with pytest.raises(SourceUnavailable) as outage:
        await w.ingest(change, redelivered=True)
    assert outage.value.code == "source.garbled"
    assert await ledger(w) == {w.ref("a").key}
    w.store.objects._blobs[w.ref("a")] = replace(blob, data=b"<html>stored so</html>" * 100, etag="another")
    assert await w.ingest(change, redelivered=True) is Ingested.REJECTED
    assert await ledger(w) == set()


async def test_an_event_without_an_etag_is_never_taken_for_a_repeat(w):
    await w.ingest(w.put("a"))
    assert await w.ingest(Change(object=w.ref("a"), action=Action.CREATED)) is Ingested.SYNCED


async def test_an_event_that_comes_late_shows_the_object_as_it_is_now(w):
    first = w.put("a", StudyDescription="old")
    second = w.put("a", StudyDescription="new")
    await w.ingest(second)
    await w.ingest(first)
    await w.settle()
    assert w.imaging_study()["description"] == "new"


async def test_a_creation_that_comes_after_its_deletion_brings_nothing_back(w):
    created, deleted = w.put("a"), w.delete("a")
    await w.ingest(deleted)
    assert await w.ingest(created) is Ingested.GONE
    await w.settle()
    assert list(w.server.resources()) == []


async def test_the_deletion_of_an_unknown_object_is_remembered_and_marks_nothing(w):
    assert await w.ingest(w.delete("never seen")) is Ingested.GONE
    assert w.outstanding() == []
    assert len(w.store.locators.table.values()) == 1


async def test_a_deletion_of_an_object_that_is_there_again_changes_nothing(w):
    await w.arrive("a")
    late = w.delete("a")
    w.put("a")
    assert await w.ingest(late) is Ingested.SYNCED


async def test_an_overwrite_moves_the_instance_to_its_new_study(w):
    await w.arrive("a")
    await w.arrive("a", study="2.25.2")
    assert w.imaging_study() is None
    assert w.imaging_study(OTHER)["numberOfInstances"] == 1
    assert await ledger(w) == set()


async def test_an_instance_that_moves_there_and_back_ends_where_it_is(w):
    for study in ("2.25.1", "2.25.2", "2.25.1"):
        await w.ingest(w.put("a", study=study))
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1
    assert w.imaging_study(OTHER) is None


async def test_an_instance_in_two_objects_counts_once_and_survives_the_loss_of_one(w):
    await w.arrive("a")
    await w.arrive("copy of a")
    assert w.imaging_study()["numberOfInstances"] == 1
    await w.go("a")
    assert w.imaging_study()["numberOfInstances"] == 1
    await w.go("copy of a")
    assert w.imaging_study() is None


async def test_an_unreadable_object_is_a_dead_letter_until_it_is_overwritten(w):
    assert await w.ingest(w.put("a", UNREADABLE)) is Ingested.REJECTED
    assert w.dead_letters() == [("object", "header.not_dicom")]
    assert w.outstanding() == []
    await w.arrive("a")
    assert w.dead_letters() == []
    assert w.imaging_study() is not None


async def test_an_unreadable_object_is_a_dead_letter_until_it_is_deleted(w):
    await w.arrive("a", UNREADABLE)
    await w.go("a")
    assert w.dead_letters() == []


async def test_an_instance_that_becomes_unreadable_leaves_its_study(w):
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101")
    await w.arrive("b", UNREADABLE)
    assert w.imaging_study()["numberOfInstances"] == 1
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def clearing(w, monkeypatch, change):
    """Ingest a redelivered change; return how often a dead letter was cleared."""
    cleared, clear = [], w.store.dead_letters.clear

    async def noted(kind, subject):
        cleared.append(subject)
        await clear(kind, subject)

    monkeypatch.setattr(w.store.dead_letters, "clear", noted)
    await w.ingest(change, redelivered=True)
    return len(cleared)


async def test_without_a_dead_letter_none_is_cleared_by_an_object_that_is_read_again(w, monkeypatch):
    await w.ingest(w.put("a"))
    change = w.put("a")
    assert await clearing(w, monkeypatch, change) == 1
    assert await clearing(w, monkeypatch, replace(change, no_dead_letter=True)) == 0


async def test_a_row_that_names_a_dead_letter_has_it_cleared_whatever_was_known_before(w):
    await w.ingest(w.put("a", UNREADABLE))
    await w.ingest(replace(w.put("a"), no_dead_letter=True), redelivered=True)
    assert w.dead_letters() == []


async def test_a_dead_letter_of_an_attempt_whose_row_changed_is_cleared_by_its_next_round(w, monkeypatch):
    await w.ingest(w.put("a"))
    change, swap = w.put("a", UNREADABLE), w.store.locators.replace

    async def overtaken(locator, etag):
        if not locator.settled:
            return await swap(locator, etag)
        assert w.dead_letters() == [("object", "header.not_dicom")]
        monkeypatch.setattr(w.store.locators, "replace", swap)
        w.put("a")
        raise StoreConflict("another delivery")

    monkeypatch.setattr(w.store.locators, "replace", overtaken)
    await w.ingest(replace(change, no_dead_letter=True), redelivered=True)
    assert w.dead_letters() == []


async def test_an_unreadable_object_seen_again_counts_its_attempts_in_one_dead_letter(w):
    change = w.put("a", UNREADABLE)
    await w.ingest(change)
    await w.ingest(change, redelivered=True)
    (letter,) = w.store.dead_letters.table.values()
    assert letter.attempts == 2


async def test_an_object_that_vanishes_while_it_is_read_is_gone(w):
    await w.arrive("a")
    change = w.put("a")
    w.store.objects.read = _raising(SourceGone())
    assert await w.ingest(change) is Ingested.GONE
    await w.settle()
    assert w.imaging_study() is None


async def test_an_object_that_never_stands_still_is_delivered_again(w):
    change = w.put("a")
    w.store.objects.read = _raising(SourceChanged())
    with pytest.raises(Contention):
        await w.ingest(change)


def _returning(value):
    async def returning(*args, **kwargs):
        return value

    return returning


def _raising(failure):
    async def raising(*args, **kwargs):
        raise failure

    return raising


async def test_a_delivery_that_always_loses_its_claim_gives_up_for_now(w):
    async def claimed_by_another(ref):
        row = await type(w.store.locators).read(w.store.locators, ref)
        if row is not None:
            w.store.locators.table.upsert(ref.key, row.value)
        return row

    await w.ingest(w.put("a"))
    w.store.locators.read = claimed_by_another
    with pytest.raises(Contention):
        await w.ingest(w.put("a"))


# When a study is projected


async def project(w, study=STUDY):
    return await project_study(study, w.services)


async def test_a_study_waits_for_its_quiet_period(w):
    await w.ingest(w.put("a"))
    assert await project(w) is Projected.NOT_DUE
    w.clock.advance(4.9)
    assert await project(w) is Projected.NOT_DUE
    w.clock.advance(0.2)
    assert await project(w) is Projected.WRITTEN


async def test_each_mark_begins_the_quiet_period_anew(w):
    await w.ingest(w.put("a"))
    w.clock.advance(3)
    await w.ingest(w.put("b", sop="2.25.101"))
    w.clock.advance(3)
    assert await project(w) is Projected.NOT_DUE
    w.clock.advance(2)
    assert await project(w) is Projected.WRITTEN


async def test_a_study_that_never_rests_is_projected_after_max_wait(w):
    began = w.clock.now()
    for n in range(100):
        await w.ingest(w.put(f"a{n}", sop=f"2.25.{1000 + n}"))
        if await project(w) is not Projected.NOT_DUE:
            break
    assert (w.clock.now() - began).total_seconds() == pytest.approx(w.services.settings.max_wait, abs=2)
    assert w.imaging_study() is not None


async def test_a_message_that_is_early_asks_to_be_delivered_when_it_is_time(w):
    await w.ingest(w.put("a"))
    w.store.study_queue.messages.clear()
    await project(w)
    (message,) = w.store.study_queue.messages
    assert (message.visible_at - w.clock.now()).total_seconds() == w.services.settings.quiet_period


async def test_a_redelivered_message_does_not_wait(w):
    await w.ingest(w.put("a"))
    assert await project_study(STUDY, w.services, redelivered=True) is Projected.WRITTEN


async def test_a_study_marked_while_it_is_projected_waits_for_its_quiet_period_again(w):
    await w.ingest(w.put("a"))
    w.fhir.meanwhile["transact"] = lambda: _mark(w)
    assert await w.project() is Projected.WRITTEN
    assert w.fhir.calls["transact"] == 1
    assert await project(w) is Projected.NOT_DUE
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.outstanding() == []


async def test_a_study_marked_again_while_its_mark_is_cleared_is_not_projected_twice(w):
    """The mark changes before it is deleted, and once more before it is postponed."""
    await w.ingest(w.put("a"))
    for step in ("delete", "postpone"):
        setattr(w.store.dirty, step, _after_a_mark(w, getattr(w.store.dirty, step)))
    assert await w.project() is Projected.WRITTEN
    assert w.fhir.calls["transact"] == 1
    assert w.fhir.calls["read"] == 0
    assert await project(w) is Projected.NOT_DUE


def _after_a_mark(w, step):
    marks = [STUDY]

    async def marked_first(*args):
        if marks:
            await w.store.dirty.mark(marks.pop(), w.clock.now())
        return await step(*args)

    return marked_first


def _mark(w, n=101):
    run(w.ingest(w.put(f"b{n}", sop=f"2.25.{n}")))


async def test_a_study_that_grows_during_each_of_its_projections_is_projected_once_a_quiet_period(w):
    def grow():
        _mark(w, 1000 + w.fhir.calls["transact"])
        w.fhir.meanwhile["transact"] = grow

    w.fhir.meanwhile["transact"] = grow
    await w.ingest(w.put("a"))
    for _ in range(100):
        w.clock.advance(1)
        for study in w.store.study_queue.take():
            await handle_study_message(study_message(study), w.services)
    assert 10 <= w.fhir.calls["transact"] <= 20
    assert w.fhir.calls.total() <= 60
    w.fhir.meanwhile.clear()
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == len(await ledger(w))


async def test_a_message_for_a_clean_study_asks_fhir_nothing_and_leaves_no_mark(w):
    await w.arrive("a")
    w.fhir.calls.clear()
    assert await w.project() is Projected.UNCHANGED
    assert w.fhir.calls == {}
    assert w.outstanding() == []


async def test_another_pass_that_took_the_study_off_means_one_more(w):
    await w.ingest(w.put("a"))
    w.fhir.meanwhile["transact"] = lambda: w.store.dirty.table.discard(STUDY.key)
    assert await w.project() is Projected.UNCHANGED
    assert w.fhir.calls["read"] == 1
    assert w.outstanding() == []


async def test_a_study_that_loses_every_race_is_given_up_for_now(w):
    async def always_later(study, etag):
        w.store.dirty.table.discard(study.key)
        return await type(w.store.dirty).delete(w.store.dirty, study, etag)

    await w.ingest(w.put("a"))
    w.store.dirty.delete = always_later
    with pytest.raises(Contention):
        await w.project()


# Archived


def archive(w, name):
    async def archived(ref, **asked):
        raise SourceArchived("BlobArchived")

    etag = w.store.objects._blobs[w.ref(name)].etag

    async def still(ref):
        return etag

    w.store.objects.read, w.store.objects.etag = archived, still
    return Change(object=w.ref(name), action=Action.CREATED)


async def test_what_is_known_of_an_object_holds_when_it_is_archived(w):
    await w.ingest(w.put("a"))
    assert await w.ingest(archive(w, "a"), redelivered=True) is Ingested.REPEAT
    assert await ledger(w) == {w.ref("a").key}


async def test_an_object_that_changed_before_it_was_archived_is_told(w):
    await w.ingest(w.put("a"))
    w.put("a", sop="2.25.101")
    with pytest.raises(SourceArchived):
        await w.ingest(archive(w, "a"), redelivered=True)


async def test_an_object_that_was_never_read_is_told_when_it_is_archived(w):
    w.put("a")
    with pytest.raises(SourceArchived):
        await w.ingest(archive(w, "a"), redelivered=True)


async def test_an_object_that_could_not_be_read_is_told_when_it_is_archived(w):
    await w.ingest(w.put("a", UNREADABLE))
    with pytest.raises(SourceArchived):
        await w.ingest(archive(w, "a"), redelivered=True)
