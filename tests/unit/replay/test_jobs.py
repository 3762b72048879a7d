"""Replays: what was missed is found, what FHIR lost is written again, and where all is right nothing is."""

import asyncio
import json
import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sync.errors import Contention, FeedMalformed, PermanentError, SourceUnavailable, StoreUnavailable, UnreadableRow
from sync.model import DeadLetter, FhirWrite, SubjectKind
from sync.operators.walks import Deed, control_walk
from sync.protocol.walk_rows import WalkState, end_walk, read_board
from sync.replay.jobs import begin_replay, kinds_of, replays
from sync.replay.parts import route_of
from sync.replay.preview import counted, preview_replay
from sync.replay.requests import ReplayRequest, cursor_of
from sync.replay.sources import Blobs
from sync.testing.feed import MemoryBlobFeed
from sync.walks import walk
from sync.walks.pacing import Pace
from sync.walks.sharing import Worker, cut_walk, read_walk
from sync.walks.tending import take_turn, tend_walks
from sync.walks.walk import Walk
from sync.web.replays import list_replays
from tests.change_feed import record
from tests.walking import finished, one_batch, replayed
from tests.worlds import OTHER, SOURCES, STUDY, UNREADABLE, MemoryWorld, run, study_id

HOUR = timedelta(hours=1)


class World(MemoryWorld):
    """A memory world whose account keeps a change feed."""

    def __init__(self):
        super().__init__()
        self.feed = MemoryBlobFeed(portion=3)
        self.replayed = {"blob": Blobs(feed=self.feed, listing=self.store.objects, allowed=SOURCES)}
        self.began = self.clock.now()
        self.records = {}

    def note(self, change, **more):
        """The feed notes a change, in the segment of its hour, which may grow until the next one begins."""
        at = self.clock.now()
        hour = at.replace(minute=0, second=0, microsecond=0)
        kind = "BlobCreated" if change.action.value == "created" else "BlobDeleted"
        fields = {"account": "memory", "kind": kind, "etag": change.etag or "", **more}
        noted = record(change.object.name, at, container=change.object.container, **fields)
        self.records.setdefault(hour, []).append(noted)
        for begun, records in self.records.items():
            self.feed.put(begun, {"00": records}, finished=begun < hour)
        return change

    @property
    def kinds(self):
        return kinds_of(self.replayed)

    async def row(self):
        return await read_walk(cursor_of(self.window()), self.services)

    async def slices(self):
        return list((await read_board(self.services)).of_walk(await self.row()))

    async def begun_and_stopped(self):
        """Cut the replay, and work on a slice for one batch."""
        await cut_walk(await self.row(), self.kinds, self.services, until=math.inf)
        await one_batch(cursor_of(self.window()), self.kinds, self.services)

    def window(self, **more):
        return ReplayRequest(source="blob", start=self.began - HOUR, **more)

    async def compared(self, request, **more):
        """Replay to the end and let the functions run."""
        row, counts = await replayed(self, request, self.replayed, **more)
        await self.settle()
        assert self.outstanding() == []
        return row, counts

    async def previewed(self, request):
        walk = Walk()
        studies = [study async for study in preview_replay(request, walk, self.replayed, self.services, parallel=4)]
        return {study.study.study_instance_uid: dict(study.writes) for study in studies}, counted(studies)

    def lose(self, *types):
        for resource in list(self.server.resources()):
            if resource["resourceType"] in (types or (resource["resourceType"],)):
                gone = FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"])
                run(self.server.transact([gone]))

    def everything(self):
        bodies = [{k: v for k, v in resource.items() if k != "meta"} for resource in self.server.resources()]
        return sorted(json.dumps(body, sort_keys=True) for body in bodies)


@pytest.fixture
def w(monkeypatch):
    monkeypatch.setattr(walk, "FIRST_PAUSE", 0)
    return World()


async def test_events_that_were_lost_are_made_good(w):
    w.note(w.put("a"))
    w.note(w.put("b", sop="2.25.101"))
    w.note(w.put("c", study="2.25.2", sop="2.25.201"))
    row, counts = await w.compared(w.window())
    assert (row.state, route_of(row), counts) == (WalkState.DONE, "feed", {"synced": 3, "studies": 2})
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.imaging_study(OTHER)["numberOfInstances"] == 1


async def test_replaying_what_is_right_reads_fhir_and_writes_nothing(w):
    await w.ingest(w.note(w.put("a")))
    await w.ingest(w.note(w.put("b", study="2.25.2", sop="2.25.201", PatientID="P2")))
    await w.settle()
    writes, reads, versions = w.fhir.calls["transact"], w.fhir.calls["read"], w.versions()
    assert (await w.compared(w.window()))[1] == {"unchanged": 2, "studies": 2}
    assert w.fhir.calls["transact"] == writes
    assert w.fhir.calls["read"] >= reads + 2
    assert w.versions() == versions


def read_by_one(w, monkeypatch):
    """Note each object whose row is read by itself."""
    asked, locators = [], w.services.locators
    read = locators.read

    async def noted(ref):
        asked.append(ref.name)
        return await read(ref)

    monkeypatch.setattr(locators, "read", noted)
    return asked


async def test_rows_of_what_is_right_are_read_by_the_folder(w, monkeypatch):
    monkeypatch.setattr(w.feed, "_portion", 100)
    names = [f"{folder}/{number}" for folder in "ab" for number in range(20)]
    for number, name in enumerate(names):
        await w.ingest(w.note(w.put(name, sop=f"2.25.{100 + number}")))
    await w.settle()
    asked = read_by_one(w, monkeypatch)
    assert (await w.compared(w.window()))[1] == {"unchanged": 40, "studies": 1}
    assert len(asked) == 1  # of the one that stays of each batch


async def test_of_rows_that_are_older_than_a_change_none_is_believed(w, monkeypatch):
    monkeypatch.setattr(w.feed, "_portion", 100)
    for number in range(10):
        await w.ingest(w.note(w.put(f"a/{number}", sop=f"2.25.{100 + number}")))
    await w.settle()
    w.note(w.put("a/3", study="2.25.2", sop="2.25.201"))
    asked = read_by_one(w, monkeypatch)
    assert (await w.compared(w.window()))[1] == {"synced": 1, "unchanged": 9, "studies": 2}
    assert set(asked) == {"a/3", "a/0"}
    assert w.imaging_study(OTHER)["numberOfInstances"] == 1
    assert w.imaging_study()["numberOfInstances"] == 9


async def test_objects_that_are_all_read_again_have_their_rows_read_by_the_folder_and_once(w, monkeypatch):
    monkeypatch.setattr(w.feed, "_portion", 100)
    for number in range(10):
        await w.ingest(w.note(w.put(f"a/{number}", sop=f"2.25.{100 + number}")))
    await w.settle()
    asked = read_by_one(w, monkeypatch)
    assert (await w.compared(w.window(reread=True)))[1] == {"synced": 10, "studies": 1}
    alone = [ref.key for ref in w.store.objects.refs()]
    shared = {key.partition for key in alone if sum(key.partition == other.partition for other in alone) > 1}
    assert len(asked) == sum(key.partition not in shared for key in alone)


async def test_a_row_that_changed_since_it_was_read_with_others_is_read_again_and_all_its_studies_are_compared(
    w, monkeypatch
):
    monkeypatch.setattr(w.feed, "_portion", 100)
    for number in range(20):
        await w.ingest(w.note(w.put(f"a/{number}", sop=f"2.25.{100 + number}")))
    await w.settle()
    read_rows, moved = w.services.locators.rows, []

    async def then_moved(partition, most):
        rows = await read_rows(partition, most)
        if not moved:
            moved.append(rows[0].value.object.name)
            await w.ingest(w.put(moved[0], study=OTHER.study_instance_uid, sop="2.25.201"))
            await w.settle()
            w.lose()
        return rows

    monkeypatch.setattr(w.services.locators, "rows", then_moved)
    assert (await w.compared(w.window(reread=True)))[1] == {"synced": 20, "studies": 2}
    assert w.imaging_study(OTHER)["numberOfInstances"] == 1
    assert w.imaging_study()["numberOfInstances"] == 19


async def test_what_fhir_lost_is_written_again_as_it_was(w):
    await w.ingest(w.note(w.put("a")))
    await w.ingest(w.note(w.put("b", study="2.25.2", sop="2.25.201")))
    await w.settle()
    before = w.everything()
    w.lose()
    assert w.everything() == []
    await w.compared(w.window())
    assert w.everything() == before


async def test_what_a_restored_backup_brought_back_is_put_right(w):
    await w.ingest(w.note(w.put("a")))
    await w.settle()
    old = w.imaging_study()
    await w.ingest(w.note(w.delete("a")))
    await w.settle()
    w.create(old)
    await w.compared(w.window())
    assert w.imaging_study() is None


async def test_a_deletion_that_was_missed_is_made_good(w):
    await w.arrive("a")
    w.note(w.delete("a"))
    assert (await w.compared(w.window()))[1] == {"gone": 1, "studies": 1}
    assert w.imaging_study() is None


async def test_only_the_window_is_replayed(w):
    w.note(w.put("early"))
    w.clock.advance(3 * 3600)
    start = w.clock.now()
    w.note(w.put("mine", study="2.25.2", sop="2.25.201"))
    w.clock.advance(3 * 3600)
    end = w.clock.now()
    w.note(w.put("late", study="2.25.3", sop="2.25.301"))
    await w.compared(ReplayRequest(source="blob", start=start, end=end))
    assert (w.imaging_study(), w.imaging_study(OTHER)["numberOfInstances"]) == (None, 1)


async def test_a_record_in_the_segment_of_the_hour_beside_is_found(w):
    change = w.put("a")
    at = w.clock.now().replace(minute=59)
    beside = at.replace(minute=0, second=0, microsecond=0) + HOUR
    w.feed.put(beside, {"00": [record("a", at, account="memory", etag=change.etag)]})
    w.clock.advance(7200)
    await w.compared(ReplayRequest(source="blob", start=at, end=at + timedelta(minutes=1)))
    assert w.imaging_study()["numberOfInstances"] == 1


async def test_what_the_feed_says_beside_is_passed_over(w):
    hour = w.began.replace(minute=0, second=0, microsecond=0)
    mine = w.put("a")
    others = [
        record("a", w.began, account="memory", kind="Control"),
        record("a", w.began, account="memory", kind="BlobTierChanged"),
        record("a", w.began, account="memory", kind="BlobPropertiesUpdated"),
        record("a", w.began, account="memory", kind="BlobSnapshotCreated"),
        record("a", w.began, account="memory", kind="RestorePointMarkerCreated"),
        record("a", w.began, account="memory", container="backups"),
        record("a", w.began, account="elsewhere"),
        {"eventType": "BlobCreated", "eventTime": w.began.isoformat()},
        record("../up", w.began, account="memory"),
        record("broken\ufffd", w.began, account="memory"),
        record("a", w.began, account="memory", etag=mine.etag),
    ]
    w.feed.put(hour, {"00": others})
    assert (await w.compared(w.window()))[1] == {"synced": 1, "passed": 7, "unusable": 3, "studies": 1}
    assert w.dead_letters() == []


async def test_hostile_names_are_looked_at_as_they_are(w):
    names = ["a b/ü.dcm", "100%25.dcm", "x/😀", "a#b?c", "two//slashes", 'q"\\back'.replace("\\", "")]
    for number, name in enumerate(names):
        w.note(w.put(name, sop=f"2.25.{500 + number}"))
    await w.compared(w.window())
    assert w.imaging_study()["numberOfInstances"] == len(names)


async def test_an_account_without_a_feed_is_listed(w):
    w.put("a")
    w.feed.present = False
    row, counts = await w.compared(w.window())
    assert (route_of(row), row.unit, counts) == ("listing", "objects", {"synced": 1, "studies": 1})


async def test_a_feed_that_is_not_as_documented_fails_the_replay_and_says_so(w):
    async def broken(segment):
        raise FeedMalformed("a chunk file cannot be decoded")
        yield

    w.note(w.put("a"))
    w.feed.records = broken
    row, _ = await w.compared(w.window())
    assert (row.state, row.problem) == (WalkState.FAILED, "feed.malformed")
    assert [replay.walk.problem for replay in await replays(w.services)] == ["feed.malformed"]


async def test_an_unreadable_object_gets_its_dead_letter_and_is_counted(w):
    w.note(w.put("a", UNREADABLE))
    assert (await w.compared(w.window()))[1] == {"rejected": 1}
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def test_one_study_is_looked_at_whole_and_compared(w):
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101")
    await w.arrive("c", study="2.25.2", sop="2.25.201")
    w.store.objects.delete(w.ref("b"))
    w.put("a", PatientSex="F")
    w.lose("ImagingStudy")
    assert (await w.compared(ReplayRequest(source="blob", study=STUDY)))[1] == {"synced": 1, "gone": 1, "studies": 1}
    assert w.imaging_study()["numberOfInstances"] == 1
    assert w.patient()["gender"] == "female"
    assert w.imaging_study(OTHER) is None, "another study is left alone"


async def test_an_unknown_study_changes_nothing(w):
    row, counts = await w.compared(ReplayRequest(source="blob", study=STUDY))
    assert (row.state, counts) == (WalkState.DONE, {})
    assert w.fhir.written == []


async def test_reread_looks_at_what_is_known_as_it_is(w):
    await w.ingest(w.note(w.put("a")))
    await w.settle()
    for row in list(w.store.ledger.studies[STUDY.key].values()):
        await w.store.ledger.delete(STUDY, row.object_key)
    assert (await w.compared(w.window(reread=True)))[1] == {"synced": 1, "studies": 1}
    assert w.imaging_study()["numberOfInstances"] == 1


class ReadAgain:
    """Twenty known objects, of which all are to be read again; notes whose dead letters are cleared."""

    def __init__(self, w, monkeypatch):
        monkeypatch.setattr(w.feed, "_portion", 100)
        self.w, self.cleared = w, []
        self.changes = [w.note(w.put(f"a/{number}", sop=f"2.25.{100 + number}")) for number in range(20)]
        for change in self.changes:
            run(w.ingest(change))
        clear = w.store.dead_letters.clear

        async def noted(kind, subject):
            if kind is SubjectKind.OBJECT:
                self.cleared.append(subject)
            await clear(kind, subject)

        monkeypatch.setattr(w.store.dead_letters, "clear", noted)

    def leave(self, subject):
        """What a delivery leaves that dies before it notes its dead letter on the object's row."""
        failure = PermanentError("no DICOM", code="header.not_dicom", hint="none")
        run(self.w.store.dead_letters.put(DeadLetter.of(SubjectKind.OBJECT, subject, failure, self.w.clock.now())))

    def subject_of(self, number):
        return str(self.changes[number].object.key)

    async def read_again(self):
        await self.w.compared(self.w.window(reread=True))


@pytest.fixture
def again(w, monkeypatch):
    return ReadAgain(w, monkeypatch)


async def test_objects_that_are_read_again_cost_no_request_for_a_dead_letter_that_is_not_there(again):
    again.leave(again.subject_of(3))
    again.leave("of another object")
    await again.read_again()
    assert again.cleared == [again.subject_of(3)]
    assert [letter.subject for letter in again.w.store.dead_letters.table.values()] == ["of another object"]


async def test_among_many_dead_letters_that_of_each_object_is_cleared_by_itself(again):
    for number in range(8 * len(again.changes)):
        again.leave(f"other {number}")
    again.leave(again.subject_of(3))
    await again.read_again()
    assert sorted(again.cleared) == sorted(again.subject_of(number) for number in range(len(again.changes)))
    assert again.subject_of(3) not in {letter.subject for letter in again.w.store.dead_letters.table.values()}


async def test_without_an_answer_for_all_dead_letters_each_is_cleared_by_itself(again, monkeypatch):
    async def down(kind, most):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(again.w.store.dead_letters, "subjects", down)
    again.leave(again.subject_of(3))
    await again.read_again()
    assert len(again.cleared) == len(again.changes)
    assert again.w.dead_letters() == []


async def test_a_dead_letter_that_an_attempt_leaves_is_cleared_by_the_next_one(again, monkeypatch):
    reads, read = [], again.w.store.objects.read

    async def fails_once(ref, **more):
        if ref == again.changes[3].object and not reads:
            reads.append(ref)
            again.leave(again.subject_of(3))
            raise StoreUnavailable("its row could not be flagged")
        return await read(ref, **more)

    monkeypatch.setattr(again.w.store.objects, "read", fails_once)
    await again.read_again()
    assert reads
    assert again.w.dead_letters() == []


async def test_what_an_interrupted_holder_knew_is_not_believed_by_the_next_one(again, monkeypatch):
    w, kinds = again.w, again.w.kinds
    request = w.window(reread=True)
    await begin_replay(request, w.services, who="ada")
    await cut_walk(await read_walk(cursor_of(request), w.services), kinds, w.services, until=math.inf)
    row = await read_walk(cursor_of(request), w.services)
    (piece,) = (await read_board(w.services)).of_walk(row)
    assert [batch async for batch in kinds[row.kind].batches(row, piece, (), w.services)]

    async def down(kind, most):
        raise StoreUnavailable("no answer")

    again.leave(again.subject_of(3))
    monkeypatch.setattr(w.store.dead_letters, "subjects", down)
    await finished(cursor_of(request), kinds, w.services)
    assert w.dead_letters() == []


@pytest.mark.parametrize("after", range(1, 14, 2))
async def test_a_replay_killed_anywhere_goes_on_where_it_was_and_misses_nothing(w, after):
    for number in range(20):
        w.clock.advance(600)
        w.note(w.put(f"{number}", study=f"2.25.{number % 3 + 1}", sop=f"2.25.{1000 + number}"))
    read, left = w.store.objects.read, [after]

    async def dying(ref, **more):
        await asyncio.sleep(0)
        left[0] -= 1
        if left[0] < 0:
            raise asyncio.CancelledError
        return await read(ref, **more)

    w.store.objects.read = dying
    with pytest.raises(asyncio.CancelledError):
        await w.compared(w.window(), parallel=2)
    w.store.objects.read = read
    w.clock.advance(60)
    row, _ = await w.compared(w.window(), parallel=2)
    assert row.state is WalkState.DONE
    studies = [w.imaging_study(replace(STUDY, study_instance_uid=f"2.25.{n}")) for n in (1, 2, 3)]
    assert sum(study["numberOfInstances"] for study in studies) == 20


async def test_a_segment_that_still_grows_is_read_again_when_the_replay_goes_on(w):
    hour = w.began.replace(minute=0, second=0, microsecond=0)
    changes = [w.put(str(number), sop=f"2.25.{700 + number}") for number in range(6)]
    notes = [record(c.object.name, w.began, account="memory", etag=c.etag) for c in changes]
    w.feed.put(hour, {"00": notes[:2], "01": notes[3:5]}, finished=False)
    await begin_replay(w.window(), w.services, who="ada")
    await w.begun_and_stopped()
    [piece] = await w.slices()
    assert piece.at["portions"] == 0
    w.feed.put(hour, {"00": notes[:3], "01": notes[3:]})
    await w.compared(w.window())
    assert w.imaging_study()["numberOfInstances"] == 6


async def test_asked_for_again_an_interrupted_replay_covers_what_changed_until_then(w):
    w.note(w.put("a"))
    w.clock.advance(7200)
    w.note(w.put("b", sop="2.25.101"))
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    _, last = await w.slices()
    await Worker(kinds=w.kinds, s=w.services)._take(await w.row(), last, await read_board(w.services), until=math.inf)
    assert [piece.done for piece in await w.slices()] == [False, True]
    w.clock.advance(7200)
    w.note(w.put("c", sop="2.25.102"))
    w.note(w.delete("b"))
    await w.compared(w.window())
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_who_reads_the_end_of_a_feed_loses_it_when_the_replay_is_asked_for_again(w):
    w.note(w.put("a"))
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    [piece] = await w.slices()
    async with walk.walk_of(piece.name, w.services) as held:
        await begin_replay(w.window(), w.services, who="ada")
        with pytest.raises(Contention):
            await held.advance(piece.position)


async def test_a_replay_that_is_asked_for_while_it_ends_is_not_over(w):
    w.note(w.put("a"))
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    await Worker(kinds=w.kinds, s=w.services).work(until=math.inf)
    board, row = await read_board(w.services), await w.row()
    w.clock.advance(7200)
    w.note(w.put("b", sop="2.25.101"))
    assert not await begin_replay(w.window(), w.services, who="ada")
    assert not await end_walk(row, WalkState.DONE, board, w.services)
    await w.compared(w.window())
    assert w.imaging_study()["numberOfInstances"] == 2


async def shown(w):
    """Return the progress of the only replay, as operators see it."""
    (replay,) = await replays(w.services)
    return replay.walk


async def test_the_timer_cuts_a_replay_by_the_hour_and_calls_workers_for_the_slices(w):
    for number in range(12):
        w.clock.advance(1800)
        w.note(w.put(f"{number}", sop=f"2.25.{1000 + number}", study=f"2.25.{number % 4 + 1}"))
    assert await begin_replay(w.window(), w.services, who="ada")
    assert not await begin_replay(w.window(), w.services, who="ada"), "it is under way"
    assert await tend_walks(w.kinds, w.services, seconds=60) == 1
    walk = await shown(w)
    assert (walk.row.state, walk.slices, walk.row.unit, walk.share) == (WalkState.RUNNING, 7, "hours", 0.0)
    assert w.store.slice_queue.take() > 1
    await take_turn(w.kinds, w.services, redelivered=False)
    await w.settle()
    walk = await shown(w)
    assert (walk.row.state, walk.share, walk.counts) == (WalkState.DONE, 1.0, {"synced": 12, "studies": 4})
    assert await tend_walks(w.kinds, w.services, seconds=60) == 0


async def test_progress_and_the_time_left_are_those_of_the_hours_that_are_done(w):
    for number in range(4):
        w.note(w.put(f"{number}", sop=f"2.25.{1000 + number}"))
        w.clock.advance(3600)
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    w.clock.advance(60)
    await one_batch(cursor_of(w.window()), w.kinds, w.services)
    walk = await shown(w)
    assert (walk.share, walk.seconds_left, walk.counts["synced"]) == (0.0, None, 1)
    for _ in range(2):  # the end of the segment, and that nothing follows
        await one_batch(cursor_of(w.window()), w.kinds, w.services)
    walk = await shown(w)
    assert (walk.share, walk.seconds_left, walk.slices_done) == (0.25, 180, 1)


async def test_a_replay_is_paused_and_cancelled_as_any_walk_and_starts_again(w):
    w.note(w.put("a"))
    await begin_replay(w.window(), w.services, who="ada")
    assert await control_walk(cursor_of(w.window()), Deed.PAUSE, w.services, who="ada")
    await tend_walks(w.kinds, w.services, seconds=60)
    assert ((await w.row()).state, await w.slices()) == (WalkState.PAUSED, [])
    assert not await begin_replay(w.window(), w.services, who="ada"), "it goes on"
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    assert await control_walk(cursor_of(w.window()), Deed.CANCEL, w.services, who="ada")
    assert await w.slices() == []
    row, counts = await w.compared(w.window())
    assert (row.state, counts) == (WalkState.DONE, {"synced": 1, "studies": 1})


async def test_an_object_that_fails_alone_in_its_hour_is_given_up_when_other_hours_succeed(w, monkeypatch):
    monkeypatch.setattr("sync.walks.choosing.random", SimpleNamespace(choice=lambda free: free[0]))
    for number in range(3):
        w.note(w.put(f"{number}", sop=f"2.25.{1000 + number}"))
        w.clock.advance(3600)
    read = w.store.objects.read

    async def partly_down(ref, **more):
        if ref.name == "1":
            raise SourceUnavailable("no answer")
        return await read(ref, **more)

    w.store.objects.read = partly_down
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    row, counts = await w.compared(w.window())
    assert (row.state, counts["synced"], counts["rejected"]) == (WalkState.DONE, 2, 1)
    assert w.dead_letters() == [("object", "source.unavailable")]


async def test_an_outage_ends_a_worker_after_two_hours_that_fail_and_rejects_nothing(w):
    for number in range(4):
        w.note(w.put(f"{number}", sop=f"2.25.{1000 + number}"))
        w.clock.advance(3600)
    tried = set()

    async def down(ref, **more):
        tried.add(ref.name)
        raise SourceUnavailable("no answer")

    w.store.objects.read = down
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    with pytest.raises(SourceUnavailable):
        await Worker(kinds=w.kinds, s=w.services).work(until=math.inf)
    assert (len(tried), w.dead_letters()) == (2, [])


async def test_studies_are_marked_no_faster_than_the_rate(w, monkeypatch):
    turns = []

    async def turn(self):
        turns.append(self.rate)

    monkeypatch.setattr(Pace, "turn", turn)
    for number in range(4):
        w.note(w.put(f"{number}", sop=f"2.25.{1000 + number}", study=f"2.25.{number % 2 + 1}"))
    await begin_replay(w.window(), w.services, who="ada", rate=4.0)
    _, counts = await w.compared(w.window())
    assert (turns, counts["studies"]) == ([4.0, 4.0], 2)


async def test_a_process_without_the_source_leaves_its_replays_to_others(w):
    await begin_replay(replace(w.window(), source="dicom"), w.services, who="ada")
    assert await tend_walks(w.kinds, w.services, seconds=60) == 0
    walk = await shown(w)
    assert (walk.row.state, walk.problem) == (WalkState.RUNNING, "")


async def test_a_feed_that_is_gone_after_it_was_cut_fails_the_replay_and_the_next_one_lists(w):
    w.note(w.put("a"))
    await begin_replay(w.window(), w.services, who="ada")
    await cut_walk(await w.row(), w.kinds, w.services, until=math.inf)
    w.feed.present = False
    row, _ = await w.compared(w.window())
    assert (row.state, row.problem) == (WalkState.FAILED, "feed.missing")
    row, counts = await w.compared(w.window())
    assert (row.state, route_of(row), counts["synced"]) == (WalkState.DONE, "listing", 1)


async def test_an_outage_interrupts_a_worker_and_the_next_one_goes_on(w):
    w.note(w.put("a"))
    await begin_replay(w.window(), w.services, who="ada")
    await tend_walks(w.kinds, w.services, seconds=60)
    read = w.store.objects.read

    async def down(ref, **more):
        raise SourceUnavailable("no answer")

    w.store.objects.read = down
    await take_turn(w.kinds, w.services, redelivered=False)
    assert (await w.row()).state is WalkState.RUNNING
    w.store.objects.read = read
    await take_turn(w.kinds, w.services, redelivered=False)
    assert (await w.row()).state is WalkState.DONE
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1


async def test_an_object_that_fails_among_some_that_did_not_change_is_given_up(w, monkeypatch):
    monkeypatch.setattr(w.feed, "_portion", 100)
    for number in range(10):
        await w.ingest(w.note(w.put(f"a/{number}", sop=f"2.25.{100 + number}")))
    await w.settle()
    w.note(w.put("a/new", sop="2.25.999"))

    async def down(ref, **more):
        raise SourceUnavailable("no answer")

    monkeypatch.setattr(w.store.objects, "read", down)
    row, counts = await w.compared(w.window())
    assert row.state is WalkState.DONE
    assert counts == {"rejected": 1, "unchanged": 10, "studies": 1}


async def test_objects_that_did_not_change_are_not_passed_before_their_study_is_marked(w, monkeypatch):
    monkeypatch.setattr(w.feed, "_portion", 100)
    for number in range(10):
        await w.ingest(w.note(w.put(f"a/{number}", sop=f"2.25.{100 + number}")))
    await w.settle()
    w.lose()
    await begin_replay(w.window(), w.services, who="ada")
    await tend_walks(w.kinds, w.services, seconds=60)

    async def down(study, now, **more):
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as outage:
        outage.setattr(w.store.dirty, "mark", down)
        await take_turn(w.kinds, w.services, redelivered=False)
        assert (await w.row()).state is WalkState.RUNNING
    await take_turn(w.kinds, w.services, redelivered=False)
    assert (await w.row()).state is WalkState.DONE
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 10


async def test_what_operators_see_names_no_object_and_no_uid(w):
    w.feed.present = False
    for number in range(9):
        w.put(f"Zztestperson/{number}", sop=f"2.25.{1000 + number}")
    await w.compared(w.window())
    await w.compared(ReplayRequest(source="blob", study=STUDY))
    answer = json.dumps((await list_replays(w.services)).body)
    assert "Zztest" not in answer
    assert STUDY.study_instance_uid not in answer.replace("2026", "")


async def test_a_preview_says_what_a_replay_does_and_writes_nothing_anywhere(w):
    await w.arrive("kept", study="2.25.1")
    await w.arrive("grown", study="2.25.2", sop="2.25.201", PatientID="P2")
    await w.arrive("gone", study="2.25.3", sop="2.25.301", PatientID="P3")
    await w.arrive("lost", study="2.25.4", sop="2.25.401", PatientID="P4")
    w.note(w.put("kept", study="2.25.1"))
    w.note(w.put("grown2", study="2.25.2", sop="2.25.202", PatientID="P2"))
    w.note(w.delete("gone"))
    w.note(w.put("new", study="2.25.5", sop="2.25.501", PatientID="P5"))
    w.note(w.put("bad", UNREADABLE))
    known = w.store.locators.table.get(w.ref("lost").key).value
    w.note(replace(w.put("x", study="2.25.6"), object=known.object, etag=known.etag))
    lost = study_id(replace(STUDY, study_instance_uid="2.25.4"))
    run(w.server.transact([FhirWrite(resource_type="ImagingStudy", resource_id=lost)]))

    def state():
        tables = ("locators", "dirty", "projections", "patients", "cursors", "dead_letters")
        rows = {name: getattr(w.store, name).table.values() for name in tables}
        ledger = {key: table.values() for key, table in w.store.ledger.studies.items()}
        return rows, ledger, w.store.study_queue.messages, w.versions()

    before = state()
    studies, totals = await w.previewed(w.window())
    assert state() == before
    assert studies == {
        "2.25.1": {},
        "2.25.2": {"ImagingStudy": "update"},
        "2.25.3": {"ImagingStudy": "delete", "Patient": "delete"},
        "2.25.4": {"ImagingStudy": "create"},
        "2.25.5": {"ImagingStudy": "create", "Patient": "create"},
    }
    assert totals["studies"] == {"create": 2, "delete": 1, "unchanged": 1, "update": 1}
    ids = set(w.versions())
    await w.compared(w.window())
    assert len(set(w.versions()) ^ ids) >= 4
    assert (await w.previewed(w.window()))[1]["studies"] == {"unchanged": 5}


async def test_a_replay_of_another_shape_is_named_and_hides_no_other(w):
    for request in (w.window(), ReplayRequest(source="blob", study=STUDY)):
        await begin_replay(request, w.services, who="ada")
    stored = await w.services.cursors.read(cursor_of(w.window()))
    spoilt = {**stored.value.position["request"], "from": "tomorrow"}
    position = {**stored.value.position, "request": spoilt}
    await w.services.cursors.write(replace(stored.value, position=position), stored.etag)
    assert [replay.request.study for replay in await replays(w.services)] == [STUDY]
    with pytest.raises(UnreadableRow, match=f"row {cursor_of(w.window())}: from "):
        await cut_walk(await read_walk(cursor_of(w.window()), w.services), w.kinds, w.services, until=math.inf)
