"""A feed of a DICOM service is read to its end, again and again, and FHIR shows what the service holds."""

import json
from datetime import timedelta

import pytest

from sync.dead_letters.actions import Outcome, retry_one
from sync.delivery.handlers import handle_change, handle_object_message
from sync.errors import BadEvent, ConfigError, SourceUnavailable, StoreUnavailable
from sync.feeds import dicom_windows, read_dicom_feed, replay_window, wake
from sync.feeds.dicom_windows import LIMIT, OVERLAP
from sync.model import SubjectKind, dicom_cursor
from sync.protocol.dead_letters import dead_letter_message
from sync.telemetry.instruments import DEAD_LETTERS, FAILURES
from tests.dicom_services import FeedWorld, described, instance, study_ref, uid
from tests.worlds import SOURCES, count

LONGEST = 2 * LIMIT


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    async def soon(seconds):
        await real(0)

    import asyncio

    real = asyncio.sleep
    monkeypatch.setattr("sync.walks.walk.asyncio.sleep", soon)


@pytest.fixture
def world():
    return FeedWorld()


async def read(world):
    counts = await read_dicom_feed(world.services)
    await world.settle()
    return counts


def position(world):
    return world.store.cursors.table.get(dicom_cursor(world.service.account)).value.position


async def test_nothing_is_read_without_a_service(world):
    object.__setattr__(world.services, "dicom_feed", None)
    assert await read_dicom_feed(world.services) is None


async def test_what_is_stored_updated_and_deleted_ends_in_fhir_as_it_is(world):
    for sop in (1, 2, 3):
        world.service.store(instance(1, sop))
    world.service.store(instance(2, 1))
    await read(world)
    assert world.held(1) == {uid(1, 1, sop) for sop in (1, 2, 3)}
    world.clock.advance(10)
    world.service.update("", uid(1), described("Changed"))
    world.service.delete("", uid(1), uid(1, 1), uid(1, 1, 2))
    world.service.delete("", uid(2))
    await read(world)
    assert world.held(1) == {uid(1, 1, 1), uid(1, 1, 3)}
    assert world.imaging_study(study_ref(1))["description"] == "Changed"
    assert world.imaging_study(study_ref(2)) is None
    world.clock.advance(10)
    world.service.store(instance(2, 1))
    await read(world)
    assert world.held(2) == {uid(2, 1, 1)}
    await world.source_equals_fhir()


async def test_reading_again_writes_nothing_and_marks_nothing(world):
    world.service.store(instance())
    await read(world)
    versions = world.versions()
    for _ in range(3):
        world.clock.advance(5)
        counts = await read_dicom_feed(world.services)
        assert set(counts) <= {"object.repeat", "passed"}
        assert world.outstanding() == []
    assert world.versions() == versions


async def test_many_pages_are_read_with_windows_that_begin_anew(world, monkeypatch):
    monkeypatch.setattr(dicom_windows, "LONGEST_WINDOW", LONGEST)
    for sop in range(LONGEST + 3 * LIMIT):
        world.service.skip(sop % 3)
        world.clock.advance(0.01)
        world.service.store(instance(sop % 7, sop))
    offsets = []
    page = world.service.page

    async def watched(**window):
        offsets.append(window["offset"])
        return await page(**window)

    world.service.page = watched
    counts = await read_dicom_feed(world.services)
    assert counts["object.synced"] == LONGEST + 3 * LIMIT
    assert max(offsets) < LONGEST + LIMIT
    assert offsets.count(0) == 3, "the window began anew twice"


async def test_rows_of_one_and_the_same_time_are_all_read(world, monkeypatch):
    monkeypatch.setattr(dicom_windows, "LONGEST_WINDOW", LONGEST)
    for sop in range(LONGEST + 2 * LIMIT):
        world.service.store(instance(1, sop))
    counts = await read_dicom_feed(world.services)
    assert counts["object.synced"] == LONGEST + 2 * LIMIT


async def test_a_service_that_gives_less_than_asked_for_is_read_to_its_end(world):
    page = world.service.page
    world.service.page = lambda **window: page(**{**window, "limit": 7})
    for sop in range(30):
        world.service.store(instance(1, sop))
    await read(world)
    assert len(world.held(1)) == 30


async def test_a_service_that_skips_no_rows_ends_a_run(world):
    page = world.service.page
    world.service.page = lambda **window: page(**{**window, "offset": 0})
    world.service.store(instance())
    await read(world)
    assert len(world.held(1)) == 1


async def test_a_row_that_appears_late_is_read(world):
    world.service.store(instance(1, 1), visible=False)
    world.clock.advance(20)
    world.service.store(instance(1, 2))
    await read(world)
    assert world.held(1) == {uid(1, 1, 2)}
    world.service.reveal()
    await read(world)
    assert world.held(1) == {uid(1, 1, 1), uid(1, 1, 2)}


async def test_a_row_that_appears_behind_a_slow_run_is_read_by_the_next(world):
    world.service.store(instance(1, 1), visible=False)
    world.clock.advance(1)
    world.service.store(instance(1, 2))
    page, calls = world.service.page, []

    async def slow(**window):
        calls.append(window)
        if len(calls) == 2:
            world.service.reveal()
            world.clock.advance(2 * OVERLAP.total_seconds())
            world.service.store(instance(1, 3))
        return await page(**window)

    world.service.page = slow
    await read_dicom_feed(world.services)
    assert position(world)["until"] < world.service.rows[-1].at.isoformat(), "nothing is behind us that came later"
    await read(world)
    assert len(world.held(1)) == 3


async def test_the_overlap_is_read_until_no_row_can_be_late_any_more(world):
    world.service.store(instance(1, 1), visible=False)
    world.service.store(instance(1, 2))
    for _ in range(3):
        await read_dicom_feed(world.services)
        world.clock.advance(15)
    world.service.reveal()
    await read(world)
    assert len(world.held(1)) == 2


async def test_once_the_overlap_was_read_again_reading_begins_at_the_last_row(world):
    world.service.store(instance(1, 1))
    world.clock.advance(1)
    world.service.store(instance(1, 2))
    assert (await read(world))["object.synced"] == 2
    world.clock.advance(OVERLAP.total_seconds())
    assert (await read(world))["object.repeat"] == 2
    assert position(world)["closed"]
    assert (await read(world))["object.repeat"] == 1
    world.service.store(instance(1, 3))
    assert (await read(world))["object.synced"] == 1
    assert not position(world)["closed"]


async def test_a_time_in_the_future_hides_nothing_that_follows(world):
    world.clock.advance(10**7)
    world.service.store(instance(1, 1))
    world.clock.advance(-(10**7))
    await read(world)
    world.clock.advance(1)
    world.service.store(instance(1, 2))
    await read(world)
    assert len(world.held(1)) == 2


async def test_data_partitions_keep_studies_of_one_uid_apart_and_the_default_one_has_no_name():
    world = FeedWorld()
    world.service._names_default = True
    world.service.store(instance(1, 1))
    world.service.store(instance(1, 2), "north")
    await read(world)
    assert world.held(1) == {uid(1, 1, 1)}
    assert world.held(1, "north") == {uid(1, 1, 2)}


async def test_an_entry_without_metadata_is_asked_for_by_wado(world):
    page = world.service.page
    world.service.page = lambda **window: page(**{**window, "metadata": False})
    world.service.store(instance(1, 1))
    world.service.store(instance(1, 2))
    world.service.delete("", uid(1), uid(1, 1), uid(1, 1, 2))
    await read(world)
    assert world.held(1) == {uid(1, 1, 1)}


async def test_an_entry_that_cannot_be_an_instance_gets_its_dead_letter_and_the_feed_goes_on(world):
    page = world.service.page

    async def with_rubbish(**window):
        entries = list(await page(**window))
        return [5, {"sequence": 1, "studyInstanceUid": "../.."}, *entries] if entries else []

    world.service.page = with_rubbish
    world.service.store({**instance(1, 1), "00080016": 5})
    world.service.store({"0020000D": {"Value": [uid(1)]}, "0020000E": {"Value": ["1.2"]}, "00080018": {"Value": ["1"]}})
    await read(world)
    assert world.dead_letters() == [("message", "event.malformed")] * 2
    assert world.held(1) == {uid(1, 1, 1), "1"}


async def test_metadata_that_are_none_make_a_dead_letter_that_the_next_entry_clears(world):
    world.service.store(instance())
    good = world.service.entry
    world.service.entry = lambda row, *, metadata=True: {**good(row), "metadata": ["no object"]}
    await read(world)
    assert world.dead_letters() == [("object", "header.unreadable")]
    del world.service.entry
    world.clock.advance(1)
    world.service.update("", uid(1), described("repaired"))
    await read(world)
    assert world.dead_letters() == []
    assert world.held(1) == {uid(1, 1, 1)}


async def test_an_instance_that_keeps_failing_is_dead_lettered_while_others_are_read(world):
    page, metadata = world.service.page, world.service.metadata
    world.service.page = lambda **window: page(**{**window, "metadata": False})

    async def failing(ref):
        if ref.name.endswith("/" + uid(1, 1, 1)):
            raise SourceUnavailable("500")
        return await metadata(ref)

    world.service.metadata = failing
    world.service.store(instance(1, 1))
    world.service.store(instance(1, 2))
    await read(world)
    assert world.held(1) == {uid(1, 1, 2)}
    assert world.dead_letters() == [("object", "source.unavailable")]
    assert position(world)["until"], "the feed went on"
    world.service.metadata = metadata
    await replayed(world)
    assert (world.held(1), world.dead_letters()) == ({uid(1, 1, 1), uid(1, 1, 2)}, [])


async def replayed(world, **window):
    async for batch in replay_window(world.services, **window):
        for change in batch.changes:
            await handle_change(change, world.services, attempt=2)
    await world.settle()


async def test_an_outage_is_said_and_kept_and_costs_nothing(world, actions):
    world.service.store(instance())
    hint = "Wait."
    world.service.outages += [SourceUnavailable("503", hint=hint)] * 2  # with and without metadata
    assert await read_dicom_feed(world.services) == {}
    assert (position(world)["error"], position(world)["hint"]) == ("source.unavailable", hint)
    assert actions["feed.failed"] == 1
    await read(world)
    assert "error" not in position(world)
    assert world.held(1)


async def test_a_refused_feed_counts_as_a_failure_at_once(world):
    world.service.outages.append(SourceUnavailable("403", code="source.forbidden"))
    await read_dicom_feed(world.services)
    (failure,) = (key for key in world.services.telemetry.take() if key.name == FAILURES.name)
    assert dict(failure.attributes) == {"error.type": "source.forbidden"}


async def test_a_service_that_asks_for_a_pause_gets_it(world):
    world.service.store(instance())
    world.service.outages.append(SourceUnavailable("429", code="source.throttled", retry_after=60))
    await read_dicom_feed(world.services)
    calls = world.service.calls
    world.clock.advance(30)
    assert await read_dicom_feed(world.services) == {}
    assert world.service.calls == calls
    world.clock.advance(31)
    await read(world)
    assert world.held(1)


async def test_a_cursor_that_cannot_be_read_is_no_beginning(world, monkeypatch):
    world.service.store(instance())

    async def down(name):
        raise StoreUnavailable("503")

    monkeypatch.setattr(world.store.cursors, "read", down)
    with pytest.raises(StoreUnavailable):
        await read_dicom_feed(world.services)
    assert world.service.calls == 0


async def test_only_one_reads_at_a_time(world):
    from sync.walks.walk import walk_of

    async with walk_of(dicom_cursor(world.service.account), world.services):
        assert await read_dicom_feed(world.services) is None
    assert world.service.calls == 0


def event(sequence, kind="Created"):
    data = {"partitionName": "Microsoft.Default", "sequenceNumber": sequence}
    return {"specVersion": "1.0", "type": f"Microsoft.HealthcareApis.DicomImage{kind}", "data": data}


async def woken(text, world):
    """What the trigger does with a message of queue ``objects``."""
    sequences = await handle_object_message(text, SOURCES, world.services)
    await wake(sequences, world.services)


async def test_an_event_wakes_the_reader_and_one_that_was_read_does_not(world):
    for sop in (1, 2):
        world.service.store(instance(1, sop))
    await woken(json.dumps([event(1), event(2, "Updated")]), world)
    await world.settle()
    assert len(world.held(1)) == 2
    calls = world.service.calls
    await woken(json.dumps(event(2, "Deleted")), world)
    assert world.service.calls == calls
    await woken(json.dumps(event(None)), world)
    assert world.service.calls > calls


async def test_a_message_of_other_events_or_of_none_starts_no_reader(world, actions):
    for text in ("", "no JSON", "[]", "5", '{"type": 5, "specversion": "1.0"}', json.dumps(["a", {"eventType": "x"}])):
        await woken(text, world)
    assert world.service.calls == 0
    object.__setattr__(world.services, "dicom_feed", None)
    await woken(json.dumps(event(5)), world)
    assert actions["feed.not_configured"] == 1


async def test_a_replay_marks_the_studies_of_its_window_again_without_moving_the_cursor(world):
    world.service.store(instance(1, 1))
    world.clock.advance(3600)
    world.service.store(instance(2, 1))
    await read(world)
    before = position(world)
    async for batch in replay_window(world.services, start=world.clock.now() - timedelta(minutes=10)):
        for change in batch.changes:
            await handle_change(change, world.services, attempt=2)
    assert [dirty.study for dirty in world.outstanding()] == [study_ref(2)]
    await replayed(world)
    assert position(world) == before


async def test_a_source_that_is_not_configured_is_named():
    world = FeedWorld()
    object.__setattr__(world.services, "dicom_feed", None)
    with pytest.raises(ConfigError, match="DICOM_SYNC_DICOM_URL"):
        async for _ in replay_window(world.services):
            pass


async def test_a_bad_entry_at_the_end_of_a_feed_at_rest_has_its_dead_letter_once(world):
    """It was written, and logged, at each read until another entry came; a discarded one came back."""
    page = world.service.page

    async def last_is_bad(**window):
        return [
            {**entry, "studyInstanceUid": "../.."} if entry["sequence"] == 2 else entry
            for entry in await page(**window)
        ]

    world.service.page = last_is_bad
    for sop in (1, 2):
        world.service.store(instance(1, sop))
        world.clock.advance(1)
    for _ in range(6):
        await read(world)
        world.clock.advance(30)
    writes = count(world.store.dead_letters, "put")
    (letter,) = world.store.dead_letters.table.values()
    await world.store.dead_letters.clear(letter.kind, letter.subject)
    for _ in range(6):
        await read(world)
        world.clock.advance(30)
    assert (writes, world.dead_letters()) == ([], [])
    world.service.store(instance(1, 3))
    await read(world)
    assert world.held(1) == {uid(1, 1, 1), uid(1, 1, 3)}


async def test_dead_letters_of_entries_name_no_instance(world):
    world.service.page = _rubbish_once()
    await read(world)
    (letter,) = [letter for letter in world.store.dead_letters.table.values() if letter.kind is SubjectKind.MESSAGE]
    assert "9.9" not in str(letter)


async def test_a_bad_entry_is_measured_like_any_dead_letter_and_a_retry_reads_it_as_an_entry(world):
    world.service.page = _rubbish_once()
    await read(world)
    counts = {(m.name, tuple(value for _, value in m.attributes)) for m in world.services.telemetry.take()}
    assert (DEAD_LETTERS.name, ("event.malformed",)) in counts
    (letter,) = [letter for letter in world.store.dead_letters.table.values() if letter.kind is SubjectKind.MESSAGE]
    assert await retry_one(letter, SOURCES, world.services) is Outcome.REFUSED
    (still,) = [letter for letter in world.store.dead_letters.table.values() if letter.kind is SubjectKind.MESSAGE]
    assert (still.code, still.detail, still.queue, still.attempts) == (letter.code, letter.detail, letter.queue, 2)


async def test_a_bad_entry_that_a_later_version_understands_is_inspected_by_a_retry(world):
    world.service.store(instance(1, 1))
    (entry,) = await world.service.page(start=None, end=None, offset=0, limit=1)
    refusal = BadEvent("an entry of the change feed is no object")
    queue = f"feed {world.service.account}"
    await dead_letter_message(json.dumps(entry, default=str), refusal, world.services, queue=queue)
    (letter,) = world.store.dead_letters.table.values()
    assert await retry_one(letter, SOURCES, world.services) is Outcome.ASKED
    assert world.dead_letters() == []


def _rubbish_once():
    pages = [[{"sopInstanceUid": "9.9", "sequence": 4}], []]

    async def page(**window):
        return pages.pop(0)

    return page


async def test_what_a_run_counted_is_kept_with_the_position(world):
    world.service.store(instance(1, 1))
    await read_dicom_feed(world.services)
    cursor = await world.services.cursors.read(dicom_cursor(world.service.account))
    assert cursor.value.position["counts"]["object.synced"] == 1


async def test_a_run_that_finds_nothing_forgets_no_sequence(world):
    world.service.store(instance(1, 1))
    await read(world)
    read_up_to = position(world)["sequence"]
    assert read_up_to > 0
    for _ in range(4):
        world.clock.advance(OVERLAP.total_seconds() * 2)
        await read(world)
    assert position(world)["sequence"] == read_up_to
