"""How far a walk has come, and who walks."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sync.errors import StoreConflict
from sync.model import Cursor, Stored
from sync.ports.state import MOST_BESIDE
from sync.protocol.leases import take
from tests.contract.storage import NOW, fresh


class TurnedClock:
    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time


async def test_a_cursor_comes_back_as_it_was_written(storage):
    full = Cursor(
        name=f"feed {fresh()}",
        position={"offset": 12, "until": "2026-01-01T00:00:00Z", "pages": ["a", None]},
        holder="me",
        held_until=NOW,
        advanced_at=NOW,
    )
    etag = await storage.cursors.write(full, None)
    assert await storage.cursors.read(full.name) == Stored(full, etag)
    assert full in [cursor async for cursor in storage.cursors.all()]


async def test_an_unknown_cursor_is_none_and_deleting_it_is_fine(storage):
    assert await storage.cursors.read(fresh()) is None
    await storage.cursors.delete(fresh())


async def test_of_two_writers_one_loses(storage):
    cursor = Cursor(name=fresh())
    etag = await storage.cursors.write(cursor, None)
    with pytest.raises(StoreConflict):
        await storage.cursors.write(cursor, None)
    moved = replace(cursor, position={"n": 1})
    await storage.cursors.write(moved, etag)
    with pytest.raises(StoreConflict):
        await storage.cursors.write(cursor, etag)
    assert (await storage.cursors.read(cursor.name)).value == moved


async def test_rows_inserted_beside_one_that_is_replaced_are_there_with_it(storage):
    cursor, first, second = (Cursor(name=f"o'brien {fresh()}", position={"n": number}) for number in range(3))
    etag = await storage.cursors.write(cursor, None)
    moved = replace(cursor, position={"n": 9}, holder="me", held_until=NOW)
    changed = await storage.cursors.replace_beside(moved, etag, [first, second])
    assert await storage.cursors.read(cursor.name) == Stored(moved, changed)
    assert [(await storage.cursors.read(name)).value for name in (first.name, second.name)] == [first, second]
    await storage.cursors.write(cursor, changed)


async def test_as_many_rows_as_may_be_are_inserted_beside_one(storage):
    cursor = Cursor(name=fresh())
    etag = await storage.cursors.write(cursor, None)
    others = [Cursor(name=fresh(), position={"ends": ["a" * 24] * 8, "n": n}) for n in range(MOST_BESIDE)]
    await storage.cursors.replace_beside(cursor, etag, others)
    assert {other.name for other in others} <= {row.name async for row in storage.cursors.all()}


async def test_where_one_of_several_rows_is_refused_none_is_written(storage):
    cursor, there, new = (Cursor(name=fresh()) for _ in range(3))
    etag = await storage.cursors.write(cursor, None)
    there_etag = await storage.cursors.write(there, None)
    moved = replace(cursor, position={"n": 1})
    with pytest.raises(StoreConflict):
        await storage.cursors.replace_beside(moved, etag, [new, replace(there, position={"n": 2})])
    changed = await storage.cursors.write(moved, etag)
    with pytest.raises(StoreConflict):
        await storage.cursors.replace_beside(cursor, etag, [new])
    assert await storage.cursors.read(new.name) is None
    assert await storage.cursors.read(cursor.name) == Stored(moved, changed)
    assert await storage.cursors.read(there.name) == Stored(there, there_etag)


@pytest.mark.parametrize("missing", [False, True], ids=["all there", "one missing"])
async def test_any_number_of_rows_is_deleted(storage, missing):
    names = [f"o'brien {fresh()}" for _ in range(120)]
    for number, name in enumerate(names):
        if not (missing and number == 110):
            await storage.cursors.write(Cursor(name=name), None)
    kept = Cursor(name=fresh())
    await storage.cursors.write(kept, None)
    await storage.cursors.delete_all([*names, names[0]])
    left = {row.name async for row in storage.cursors.all()}
    assert kept.name in left
    assert left.isdisjoint(names)
    await storage.cursors.delete_all([])


async def test_a_deleted_cursor_begins_anew(storage):
    cursor = Cursor(name=fresh(), position={"n": 1})
    await storage.cursors.write(cursor, None)
    await storage.cursors.delete(cursor.name)
    assert await storage.cursors.read(cursor.name) is None


async def test_one_walks_at_a_time_and_the_next_goes_on_where_it_stopped(storage):
    clock, name = TurnedClock(), fresh()
    first = await take(name, storage.cursors, clock, seconds=60)
    assert first.position == {}
    assert await take(name, storage.cursors, clock, seconds=60) is None
    await first.advance({"n": 5})
    await first.release()
    second = await take(name, storage.cursors, clock, seconds=60)
    assert second.position == {"n": 5}


async def test_a_lease_that_is_finished_is_free_and_its_position_is_kept(storage):
    clock, name = TurnedClock(), fresh()
    first = await take(name, storage.cursors, clock, seconds=60)
    await first.finish({"n": 5})
    second = await take(name, storage.cursors, clock, seconds=60)
    assert second.position == {"n": 5}
    await first.release()
    await second.advance({"n": 6})  # what was finished takes nothing from its next holder


async def test_who_was_presumed_dead_does_not_finish(storage):
    clock, name = TurnedClock(), fresh()
    first = await take(name, storage.cursors, clock, seconds=60)
    clock.time += timedelta(seconds=61)
    second = await take(name, storage.cursors, clock, seconds=60)
    with pytest.raises(StoreConflict):
        await first.finish({"n": 3})
    await second.advance({"n": 7})


async def test_who_was_presumed_dead_stops_at_the_next_step(storage):
    clock, name = TurnedClock(), fresh()
    first = await take(name, storage.cursors, clock, seconds=60)
    clock.time += timedelta(seconds=61)
    second = await take(name, storage.cursors, clock, seconds=60)
    await second.advance({"n": 7})
    with pytest.raises(StoreConflict):
        await first.advance({"n": 3})
    await first.release()
    assert await take(name, storage.cursors, clock, seconds=60) is None
    assert (await storage.cursors.read(name)).value.position == {"n": 7}


async def test_a_step_renews_the_lease(storage):
    clock, name = TurnedClock(), fresh()
    lease = await take(name, storage.cursors, clock, seconds=60)
    clock.time += timedelta(seconds=50)
    await lease.advance({"n": 1})
    clock.time += timedelta(seconds=50)
    assert await take(name, storage.cursors, clock, seconds=60) is None
