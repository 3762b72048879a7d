"""Walks that this version does not understand: listed with what to do, and ended by a cancel."""

import math
from dataclasses import replace

import pytest

from sync.errors import RequestRefused, StoreConflict
from sync.operators.unreadable_walks import control_named, unreadable_on
from sync.operators.walks import Deed, begin_walk
from sync.protocol.leases import take
from sync.protocol.walk_rows import read_board, read_walk
from sync.protocol.walk_states import end_unreadable
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.sharing import cut_walk
from tests.walking import EVERYTHING, finished, list_walks
from tests.worlds import MemoryWorld

NAME = EVERYTHING.cursor
OTHER = Scope(container="dicom", prefix="b")


def kinds(w):
    return {KIND: Backfill(listing=w.store.objects)}


@pytest.fixture
async def w():
    """Two walks, each cut into a slice."""
    made = MemoryWorld()
    made.put("a", sop="2.25.1")
    for scope in (EVERYTHING, OTHER):
        await begin_walk(new_backfill(scope), made.services, who="ada")
        await cut_walk(await read_walk(scope.cursor, made.services), kinds(made), made.services, until=math.inf)
    return made


async def spoilt(w, name, **fields):
    """Change fields of a row by hand; return its run."""
    stored = await w.services.cursors.read(name)
    position = {**stored.value.position, **fields}
    await w.services.cursors.write(replace(stored.value, position=position), stored.etag)
    return position["run"]


async def names(w):
    """Return the names of rows of walks and slices."""
    return {cursor.name async for cursor in w.services.cursors.all() if "run" in cursor.position}


async def test_it_is_listed_by_its_run_and_cancelled_with_its_slices(w):
    run = await spoilt(w, NAME, state="resting")
    await spoilt(w, f"slice {run} 00000", scope="all")
    [walk] = unreadable_on(await read_board(w.services))
    assert (walk.run, walk.name) == (run, NAME)
    assert "state" in walk.problem.detail
    done = await control_named(run, Deed.CANCEL, w.services, who="eve")
    assert (done.changed, done.state) == (True, "cancelled")
    other = (await list_walks(w.services))[0].row
    assert await names(w) == {OTHER.cursor, other.slice_name(0)}
    assert ("eve", "walk.cancel") in {(entry.who, entry.action) for entry in await w.services.audit.newest(9)}
    assert unreadable_on(await read_board(w.services)) == []


async def test_after_the_cancel_it_begins_again(w):
    run = await spoilt(w, NAME, began="2026-03-04T05:06:07")
    await control_named(run, Deed.CANCEL, w.services, who="eve")
    assert await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    assert await finished(NAME, kinds(w), w.services) == {"synced": 1}


async def test_a_run_that_is_no_text_has_an_id_of_its_own(w):
    await spoilt(w, NAME, run=7)
    [walk] = [one for one in unreadable_on(await read_board(w.services)) if not one.is_slice]
    await control_named(walk.run, Deed.CANCEL, w.services, who="eve")
    assert NAME not in await names(w)


async def test_slices_that_a_crash_left_without_their_walk_are_cancelled_too(w):
    run = await spoilt(w, NAME, state="resting")
    await spoilt(w, f"slice {run} 00000", scope="all")
    [walk] = unreadable_on(await read_board(w.services))
    assert await end_unreadable(walk, w.services)  # the first write of a cancel that died then
    [walk] = unreadable_on(await read_board(w.services))
    assert (walk.run, walk.is_slice) == (run, True)
    assert (await control_named(run, Deed.CANCEL, w.services, who="eve")).changed
    assert not any(run in name for name in await names(w))
    assert (await control_named(run, Deed.CANCEL, w.services, who="eve")).state == "cancelled"


async def test_after_a_cancel_of_slices_without_their_walk_nothing_tells_of_it_and_that_is_said(w):
    """It was said that there is no such walk, which is for all that is known not true."""
    run = await spoilt(w, NAME, state="resting")
    await spoilt(w, f"slice {run} 00000", scope="all")
    await w.services.cursors.delete(NAME)
    assert (await control_named(run, Deed.CANCEL, w.services, who="eve")).state == "cancelled"
    with pytest.raises(RequestRefused, match="or nothing of it is left since it was cancelled") as refused:
        await control_named(run, Deed.CANCEL, w.services, who="bob")
    assert refused.value.code == "walk.unknown"


@pytest.mark.parametrize("deed", Deed)
async def test_one_that_is_cancelled_already_is_said_to_be_until_another_begins(w, deed):
    run = await spoilt(w, NAME, state="resting")
    first = await control_named(run, Deed.CANCEL, w.services, who="eve")
    again = await control_named(run, deed, w.services, who="bob")
    assert (again.changed, again.state, again.as_json()) == (False, "cancelled", first.as_json())
    assert ("bob", deed.action.value) in {(entry.who, entry.action) for entry in await w.services.audit.newest(9)}
    await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    with pytest.raises(RequestRefused, match="no such walk"):
        await control_named(run, deed, w.services, who="eve")


async def test_of_two_who_cancel_at_once_both_hear_that_it_is_cancelled(w, monkeypatch):
    run = await spoilt(w, NAME, state="resting")
    cancel = control_named(run, Deed.CANCEL, w.services, who="bob")
    write = w.services.audit.add

    async def meanwhile(entry):
        monkeypatch.undo()
        assert (await cancel).changed
        await write(entry)

    monkeypatch.setattr(type(w.services.audit), "add", lambda _, entry: meanwhile(entry))
    done = await control_named(run, Deed.CANCEL, w.services, who="eve")
    assert (done.changed, done.state) == (False, "cancelled")


@pytest.mark.parametrize("deed", [Deed.PAUSE, Deed.RESUME])
async def test_it_can_only_be_cancelled(w, deed):
    run = await spoilt(w, NAME, state="resting")
    before = await names(w)
    with pytest.raises(RequestRefused) as refused:
        await control_named(run, deed, w.services, who="eve")
    assert (refused.value.code, await names(w)) == ("store.unreadable", before)


async def test_who_holds_its_lease_loses_it(w):
    run = await spoilt(w, NAME, state="resting")
    lease = await take(NAME, w.services.cursors, w.clock, seconds=30)
    await control_named(run, Deed.CANCEL, w.services, who="eve")
    with pytest.raises(StoreConflict):
        await lease.advance(lease.position)


async def test_a_walk_that_another_version_brought_to_its_end_meanwhile_stays(w, monkeypatch):
    run = await spoilt(w, NAME, state="resting")
    read = w.services.cursors.read

    async def late(name):
        monkeypatch.undo()
        await spoilt(w, NAME, state="done")
        return await read(name)

    monkeypatch.setattr(type(w.services.cursors), "read", lambda _, name: late(name))
    done = await control_named(run, Deed.CANCEL, w.services, who="eve")
    assert (done.changed, done.state) == (False, "unreadable")
    assert (await read_walk(NAME, w.services)).state == "done"


async def test_the_others_are_paused_resumed_and_cancelled_as_ever(w):
    await spoilt(w, NAME, state="resting")
    [other] = await list_walks(w.services)
    told = [await control_named(other.row.id, deed, w.services, who="eve") for deed in Deed]
    assert [(done.changed, done.state) for done in told] == [(True, "paused"), (True, "running"), (True, "cancelled")]
    with pytest.raises(RequestRefused, match="no such walk"):
        await control_named("0f3c9d2a7b11", Deed.CANCEL, w.services, who="eve")
