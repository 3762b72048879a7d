"""Rows of walks of another shape: named, left as they are, and in no other walk's way."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sync.errors import UnreadableRow
from sync.model import Cursor
from sync.operators.walks import Deed, begin_walk, control_walk
from sync.protocol.walk_rows import Slice, WalkRow, WalkState, read_board
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.sharing import Worker, cut_walk, end_walks
from tests.walking import finished, list_walks
from tests.worlds import MemoryWorld

BEGAN = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
OTHER = Scope(container="dicom", prefix="b")
ROW = WalkRow(name="backfill dicom", kind="backfill", request={"container": "dicom"}, run="abc", began=BEGAN)
PIECE = Slice(name=ROW.slice_name(0), walk=ROW.name, run="abc", scope={"token": None, "ends": []}, size=3, following={})


def test_rows_are_the_same_after_a_round_trip():
    row = replace(ROW, state=WalkState.PAUSED, since=BEGAN, plan={"token": "x"}, counts={"synced": 2}, rate=0.5)
    assert WalkRow.of(Cursor(name=row.name, position=row.position)) == row
    piece = replace(PIECE, at={"token": "y"}, done=True, counts={"synced": 2})
    assert Slice.of(Cursor(name=piece.name, position=piece.position)) == piece


def test_rows_of_other_jobs_are_none_of_walks():
    assert WalkRow.of(Cursor(name="dicom-feed a", position={"sequence": 3})) is None
    assert Slice.of(Cursor(name=PIECE.name, position={})) is None


UNLIKE = {
    "a field is missing": {"kind": "backfill", "run": "abc"},
    "a state that a newer version has": {**ROW.position, "state": "resting"},
    "a time that is none": {**ROW.position, "began": "tomorrow"},
    "a request that is a text": {**ROW.position, "request": "everything"},
    "a container that is a number": {**ROW.position, "request": {"container": 7}},
}


@pytest.mark.parametrize("position", UNLIKE.values(), ids=UNLIKE)
def test_a_walk_of_another_shape_is_named(position):
    with pytest.raises(UnreadableRow, match="row backfill dicom: "):
        WalkRow.of(Cursor(name=ROW.name, position=position))


@pytest.fixture
async def w():
    """Two walks, each cut into a slice."""
    made = MemoryWorld()
    made.put("a", sop="2.25.1")
    for scope in (Scope(container="dicom"), OTHER):
        await begin_walk(new_backfill(scope), made.services, who="ada")
        row = (await read_board(made.services)).walks[scope.cursor]
        await cut_walk(row, kinds(made), made.services, until=math.inf)
    return made


def kinds(w):
    return {KIND: Backfill(listing=w.store.objects)}


async def spoilt(w, name, **fields):
    stored = await w.services.cursors.read(name)
    position = {**stored.value.position, **fields}
    await w.services.cursors.write(replace(stored.value, position=position), stored.etag)


async def rows(w):
    return {cursor.name: cursor.position async for cursor in w.services.cursors.all()}


@pytest.mark.parametrize("spoilt_fields", [{"state": "resting"}, {"plan": "none"}])
async def test_a_walk_that_is_not_understood_stops_no_other_and_loses_nothing(w, spoilt_fields):
    await spoilt(w, "backfill dicom", **spoilt_fields)
    before = await rows(w)
    assert await finished(OTHER.cursor, kinds(w), w.services) == {}
    await end_walks(w.services)
    after = await rows(w)
    mine = {name for name, position in before.items() if position.get("walk", name) == "backfill dicom"}
    assert len(mine) == 2  # its row and its slice
    assert {name: after[name] for name in mine} == {name: before[name] for name in mine}
    with pytest.raises(UnreadableRow):
        await begin_walk(new_backfill(Scope(container="dicom")), w.services, who="ada")
    assert [progress.row.name for progress in await list_walks(w.services)] == [OTHER.cursor]


@pytest.mark.parametrize("spoilt_fields", [{"scope": "all"}, {"size": "large"}, {"at": 5}])
async def test_a_slice_that_is_not_understood_keeps_its_walk_open(w, spoilt_fields):
    row = (await read_board(w.services)).walks["backfill dicom"]
    await spoilt(w, row.slice_name(0), **spoilt_fields)
    await Worker(kinds=kinds(w), s=w.services).work(until=math.inf)
    await end_walks(w.services)
    board = await read_board(w.services)
    assert board.walks[row.name].state is WalkState.RUNNING
    assert board.walks[OTHER.cursor].state is WalkState.DONE
    assert [one.problem.code for one in board.unreadable] == ["store.unreadable"]
    [told] = [progress for progress in await list_walks(w.services) if progress.row.name == row.name]
    assert told.problem == "store.unreadable"
    assert await control_walk(row.name, Deed.CANCEL, w.services, who="ada")
    assert not [name for name in await rows(w) if name.startswith("slice ")], "the unreadable one is gone too"


@pytest.mark.parametrize("spoilt_fields", [{"scope": {"part": 1}}, {"at": {"token": 5}}])
async def test_a_slice_whose_own_values_are_not_understood_fails_in_words_and_stays(w, spoilt_fields):
    row = (await read_board(w.services)).walks["backfill dicom"]
    await spoilt(w, row.slice_name(0), **spoilt_fields)
    before = (await rows(w))[row.slice_name(0)]
    with pytest.raises(UnreadableRow, match=f"row {row.slice_name(0)}: "):
        await Worker(kinds=kinds(w), s=w.services, only=row.name).work(until=math.inf)
    assert (await rows(w))[row.slice_name(0)] == before
