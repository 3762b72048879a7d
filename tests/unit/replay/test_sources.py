"""How the sources of a replay are cut: slices that follow each other without a gap, whatever is there."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.errors import ReplayTooLong, SourceGone
from sync.events import Sources
from sync.model import ObjectRef
from sync.protocol.walk_rows import Slice
from sync.replay.requests import ReplayRequest
from sync.replay.sources import MOST_TRIES, Blobs, OrthancSource
from sync.testing.feed import MemoryBlobFeed
from sync.testing.objects import MemoryObjects
from tests.change_feed import record
from tests.dicom_services import FeedWorld, instance
from tests.unit.feeds.test_orthanc import OrthancWorld

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


async def cut(source, request, *, restarts=True):
    """Cut a source; again and again from where cutting stands, as processes that take turns do."""
    pieces, plan = [], {}
    while True:
        async for made in source.cuts(request, plan):
            plan = made.position
            if made.scope is not None:
                piece = Slice(
                    name=f"{len(pieces):05}", walk="", run="", scope=made.scope, size=made.size, following=plan
                )
                pieces.append(piece)
            if made.last:
                return pieces
            if restarts:
                break


async def names_in(source, request, pieces, s):
    names = []
    for piece in pieces:
        after = [later for later in pieces if later.name > piece.name]
        batches = [batch async for batch in source.batches(request, piece, after, s)]
        names.append([change.object.name for batch in batches for change in batch.changes])
    return names


@pytest.fixture
def s():
    return FeedWorld().services


@pytest.mark.parametrize("restarts", [False, True])
async def test_slices_of_a_feed_cover_the_window_without_a_gap_and_stay_few(s, restarts):
    feed = MemoryBlobFeed()
    for hour in range(200):
        if hour % 5 != 3:  # an hour in which nothing happened has no segment
            at = BEGIN + hour * HOUR
            feed.put(at, {"00": [record(f"{hour:03}", at, account="memory", etag="0x1")]})
    allowed = Sources(account="memory", containers=frozenset({"dicom"}))
    source = Blobs(feed=feed, listing=MemoryObjects(), allowed=allowed)
    request = ReplayRequest(source="blob", start=BEGIN, end=BEGIN + 200 * HOUR)
    pieces = await cut(source, request, restarts=restarts)
    assert 16 < len(pieces) < 80
    assert sum(piece.size for piece in pieces) == 160
    ends = [(piece.scope["from"], piece.scope["to"]) for piece in pieces]
    assert [begin for begin, _ in ends[1:]] == [end for _, end in ends[:-1]]
    assert (ends[0][0], ends[-1][1]) == ((BEGIN - HOUR).isoformat(), (BEGIN + 201 * HOUR).isoformat())
    named = await names_in(source, request, pieces, s)
    assert sorted(name for names in named for name in names) == [f"{h:03}" for h in range(200) if h % 5 != 3]


@pytest.mark.parametrize("containers", [["a", "b"], ["a", "b", "zz"], ["a", "aa", "b"], ["zz"]])
@pytest.mark.parametrize("restarts", [False, True])
async def test_listings_of_all_containers_are_cut_and_one_that_is_not_there_is_passed_over(
    s, containers, restarts, monkeypatch
):
    monkeypatch.setattr("sync.walks.cutting.SMALLEST", 2)
    monkeypatch.setattr("sync.walks.cutting.SHARE", 10**9)
    objects, feed = MemoryObjects(containers=("a", "b")), MemoryBlobFeed()
    feed.present = False
    for container in ("a", "b"):
        for number in range(7):  # the same names in both
            objects.put(ObjectRef(account="memory", container=container, name=f"f/{number}"), b"")
    page = objects.page

    async def listed(container, **more):
        if container not in {"a", "b"}:
            raise SourceGone("no such container")
        return await page(container, **more)

    objects.page = listed
    allowed = Sources(account="memory", containers=frozenset(containers))
    source, request = Blobs(feed=feed, listing=objects, allowed=allowed), ReplayRequest(source="blob", start=BEGIN)
    pieces = await cut(source, request, restarts=restarts)
    there = [container for container in containers if container in {"a", "b"}]
    assert len(pieces) == 4 * len(there) + (containers[-1] == "zz")
    named = await names_in(source, request, pieces, s)
    names = [f"f/{number}" for number in range(7)]
    assert sorted(name for some in named for name in some) == sorted(names * len(there))


async def orthanc_of(stored):
    world = OrthancWorld()
    for number in range(stored):
        world.orthanc.store(f"{number:03}", instance(1, number + 1))
    return world


@pytest.mark.parametrize("restarts", [False, True])
async def test_the_changes_of_an_orthanc_are_cut_by_their_numbers_and_only_those_of_the_window(restarts, monkeypatch):
    monkeypatch.setattr("sync.replay.sources.LIMIT", 7)
    monkeypatch.setattr("sync.replay.sources.SHARE", 10**9)
    world = await orthanc_of(60)
    for entry in world.orthanc.log[:40]:
        entry["Date"] = "20250101T000000"
    for entry in world.orthanc.log[100:]:
        entry["Date"] = "20291231T000000"
    window = {"start": datetime(2025, 6, 1, tzinfo=UTC), "end": datetime(2028, 1, 1, tzinfo=UTC)}
    source, request = OrthancSource(server=world.orthanc), ReplayRequest(source="orthanc", **window)
    pieces = await cut(source, request, restarts=restarts)
    assert pieces[0].scope["deleted"]
    in_batches = await names_in(source, request, pieces, world.services)
    named = [name for names in in_batches for name in names]
    assert sorted(named) == [f"instances/{number:03}" for number in range(20, 50)]
    assert max(map(len, in_batches)) < 15


async def test_slices_that_may_grow_are_the_last_one_and_what_an_orthanc_deleted(monkeypatch):
    monkeypatch.setattr("sync.replay.sources.LIMIT", 7)
    world = await orthanc_of(30)
    source, request = OrthancSource(server=world.orthanc), ReplayRequest(source="orthanc")
    cuts = [one async for one in source.cuts(request, {}) if one.scope is not None]
    assert len(cuts) > 3
    assert [one.grows for one in cuts] == [True, *[False] * (len(cuts) - 2), True]


async def test_a_list_of_instances_that_no_worker_ever_comes_through_ends_the_replay():
    world = await orthanc_of(1)
    source, request = OrthancSource(server=world.orthanc), ReplayRequest(source="orthanc", start=BEGIN)
    piece = (await cut(source, request))[0]
    tried = Slice(name="", walk="", run="", scope=piece.scope, size=0, following={}, at={"tries": MOST_TRIES})
    with pytest.raises(ReplayTooLong):
        [batch async for batch in source.batches(request, tried, (), world.services)]
