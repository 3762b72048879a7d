"""An Orthanc is followed by its changes, and by what they do not tell: deletions, cleared logs, a new database."""

from datetime import timedelta

import pytest

from sync.errors import SourceUnavailable
from sync.feeds import read_orthanc_feed
from sync.feeds.orthanc import CHECK_EVERY, LIMIT, changes_of
from sync.model import orthanc_cursor
from sync.protocol.walk_rows import WalkState
from sync.replay.requests import ReplayRequest
from sync.replay.sources import OrthancSource
from tests.dicom_services import MemoryOrthanc, described, instance, study_ref, uid
from tests.walking import replayed as walked
from tests.worlds import MemoryWorld


class OrthancWorld(MemoryWorld):
    def __init__(self):
        super().__init__()
        self.server = self.fhir.server
        self.orthanc = MemoryOrthanc()
        object.__setattr__(self.services, "orthanc", self.orthanc)
        self.services.instances[self.orthanc.account] = self.orthanc

    async def read(self):
        self.clock.advance(5)
        counts = await read_orthanc_feed(self.services)
        await self.settle()
        return counts

    def position(self):
        return self.store.cursors.table.get(orthanc_cursor(self.orthanc.account)).value.position

    def held(self, study=1):
        resource = self.imaging_study(study_ref(study))
        series = resource.get("series", []) if resource else []
        return {one["uid"] for one_series in series for one in one_series.get("instance", [])}


@pytest.fixture
def world():
    return OrthancWorld()


async def test_what_is_stored_and_overwritten_is_in_fhir(world):
    world.orthanc.store("a", instance(1, 1))
    world.orthanc.store("b", instance(1, 2))
    await world.read()
    assert world.held() == {uid(1, 1, 1), uid(1, 1, 2)}
    world.orthanc.store("a", instance(1, 1) | described("again"))
    world.orthanc.store("b", instance(1, 2) | described("again"))
    await world.read()
    assert world.imaging_study(study_ref(1))["description"] == "again"
    assert world.orthanc.lists == 1, "an overwritten instance is no deletion"


async def test_a_deletion_is_found_though_no_change_tells(world):
    for name, sop in (("a", 1), ("b", 2), ("c", 3)):
        world.orthanc.store(name, instance(1, sop))
    await world.read()
    world.orthanc.delete("b")
    await world.read()
    assert world.held() == {uid(1, 1, 1), uid(1, 1, 3)}
    for name in ("a", "c"):
        world.orthanc.delete(name)
    await world.read()
    assert world.imaging_study(study_ref(1)) is None


async def test_a_deletion_beside_a_new_instance_is_found_too(world):
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    world.orthanc.delete("a")
    world.orthanc.store("b", instance(1, 2))
    await world.read()
    assert world.held() == {uid(1, 1, 2)}


async def test_an_instance_that_went_before_it_was_looked_at_leaves_nothing(world):
    world.orthanc.store("a", instance(1, 1))
    real = world.orthanc.metadata

    async def gone_first(ref):
        world.orthanc.instances.pop("a", None)
        return await real(ref)

    world.orthanc.metadata = gone_first
    await world.read()
    assert world.held() == set()


async def test_nothing_new_costs_one_page_and_a_count(world):
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    inspections, lists = world.orthanc.inspections, world.orthanc.lists
    for _ in range(5):
        assert await read_orthanc_feed(world.services) == {}
    assert (world.orthanc.inspections, world.orthanc.lists) == (inspections, lists)


async def test_the_lists_are_compared_now_and_then_in_any_case(world):
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    world.orthanc.instances["b"] = instance(1, 2)
    await world.read()
    assert world.held() == {uid(1, 1, 1)}
    world.clock.advance(CHECK_EVERY.total_seconds())
    await world.read()
    assert world.held() == {uid(1, 1, 1), uid(1, 1, 2)}


async def test_a_cleared_log_is_no_reason_to_miss_what_is_there_at_the_start(world):
    world.orthanc.store("a", instance(1, 1))
    world.orthanc.log.clear()
    await world.read()
    assert world.held() == {uid(1, 1, 1)}


async def test_a_database_made_anew_is_read_from_its_beginning(world, actions):
    for sop in range(5):
        world.orthanc.store(f"a{sop}", instance(1, sop))
    await world.read()
    world.orthanc.wipe()
    world.orthanc.store("a1", instance(1, 1) | described("new"))
    world.orthanc.store("z", instance(2, 1))
    await world.read()
    assert world.held(1) == {uid(1, 1, 1)}
    assert world.imaging_study(study_ref(1))["description"] == "new"
    assert world.held(2) == {uid(2, 1, 1)}
    assert actions["feed.restarted"] == 1


async def test_an_emptied_server_empties_fhir(world):
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    world.orthanc.wipe()
    await world.read()
    assert world.held() == set()


async def test_many_pages_are_read(world):
    for sop in range(LIMIT):
        world.orthanc.store(f"a{sop}", instance(1 + sop % 3, sop))
    counts = await world.read()
    assert counts["object.synced"] == LIMIT
    assert sum(len(world.held(study)) for study in (1, 2, 3)) == LIMIT


async def test_a_server_that_does_not_count_is_compared_every_minute(world):
    world.orthanc.counts = False
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    await read_orthanc_feed(world.services)
    lists = world.orthanc.lists
    world.orthanc.delete("a")
    await read_orthanc_feed(world.services)
    assert world.orthanc.lists == lists
    world.clock.advance(60)
    await world.read()
    assert not world.held()


async def test_a_change_that_says_deleted_is_looked_at_too(world):
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    world.orthanc.counts = False
    world.orthanc.delete("a")
    world.orthanc.last += 1
    world.orthanc.log.append(
        {"ChangeType": "Deleted", "ResourceType": "Instance", "ID": "a", "Seq": world.orthanc.last}
    )
    await world.read()
    assert not world.held()


async def test_an_instance_that_is_unreadable_is_no_deletion_and_its_letter_goes_with_it(world):
    world.orthanc.store("a", {"0020000D": {"Value": ["1.2"]}})
    await world.read()
    assert world.dead_letters() == [("object", "header.missing_identity")]
    await world.read()
    assert world.orthanc.lists == 1
    world.orthanc.delete("a")
    await world.read()
    assert world.dead_letters() == []


async def test_an_outage_moves_nothing(world):
    world.orthanc.store("a", instance(1, 1))
    world.orthanc.outages.append(SourceUnavailable("503"))
    await world.read()
    assert world.position()["error"] == "source.unavailable"
    await world.read()
    assert world.held()


async def test_a_server_without_a_list_is_read_by_its_changes(world):
    async def refused():
        raise SourceUnavailable("404", code="source.refused")
        yield

    world.orthanc.held = refused
    world.orthanc.store("a", instance(1, 1))
    await world.read()
    assert world.held()


@pytest.mark.parametrize("raw", [None, 5, [], {}, {"Changes": 5}])
def test_what_is_no_page_of_changes_is_an_outage(raw):
    with pytest.raises(SourceUnavailable):
        changes_of(raw, MemoryOrthanc(), 0)


def test_entries_that_name_no_instance_are_passed_over_and_spelling_does_not_matter():
    entries = [
        {"changetype": "newinstance", "resourcetype": "instance", "id": "a", "seq": "4"},
        {"ChangeType": "NewStudy", "ResourceType": "Study", "ID": "s", "Seq": 5},
        {"ChangeType": "NewInstance", "ResourceType": "Instance", "Seq": 6},
        {"ChangeType": "NewInstance", "ResourceType": "Instance", "ID": 7, "Seq": 7},
        5,
        None,
    ]
    page = changes_of({"changes": entries, "last": 7, "done": True}, MemoryOrthanc(), 3)
    assert [change.object.name for change in page.changes] == ["instances/a"]
    assert (page.reached, page.last, page.entries) == (7, 7, 6)


async def replayed(world, **window):
    """Replay a window as a command would; return how many objects were inspected or known as they are."""
    request = ReplayRequest(source="orthanc", **window)
    row, counts = await walked(world, request, {"orthanc": OrthancSource(server=world.orthanc)})
    await world.settle()
    assert row.state is WalkState.DONE
    return sum(number for name, number in counts.items() if name != "studies")


async def test_a_replay_brings_deletions_along_though_their_time_is_unknown(world):
    world.orthanc.store("a", instance(1, 1))
    world.orthanc.store("b", instance(2, 1))
    await world.read()
    world.orthanc.delete("b")
    now = world.clock.now()
    assert await replayed(world, start=now - timedelta(days=1), end=now + timedelta(days=1)) == 2
    assert world.imaging_study(study_ref(2)) is None
    assert world.held(1) == {uid(1, 1, 1)}


async def test_a_replay_covers_some_days(world):
    world.orthanc.store("a", instance(1, 1))
    world.orthanc.store("b", instance(2, 1))
    world.orthanc.store("c", instance(2, 2))
    await world.read()
    world.orthanc.log[0]["Date"] = "20250101T000000"
    world.orthanc.log[2]["Date"] = "20251231T235959"
    world.orthanc.log[4]["Date"] = "20260301T000000"
    start = world.clock.now().replace(year=2026, month=1, day=1)
    assert await replayed(world, start=start, end=start + timedelta(days=2)) == 1
    assert await replayed(world, start=start - timedelta(days=400)) == 3


async def test_a_list_that_does_not_come_is_no_comparison(world):
    for name, sop in (("a", 1), ("b", 2)):
        world.orthanc.store(name, instance(1, sop))
    await world.read()
    world.orthanc.delete("b")
    listing, world.orthanc.held = world.orthanc.held, unavailable
    await world.read()
    assert world.position()["error"] == "source.unavailable"
    world.orthanc.held = listing
    await world.read()
    assert world.held() == {uid(1, 1, 1)}


async def unavailable():
    raise SourceUnavailable("503")
    yield
