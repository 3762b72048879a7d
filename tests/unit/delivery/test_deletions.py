"""Deletions that a killed process had in hand come back within a minute, for few writes."""

from __future__ import annotations

import asyncio

import pytest

from sync.delivery.deletions import MOST, PREFIX, enqueue_lost_deletions, in_hand
from sync.errors import StoreUnavailable
from sync.model import Cursor
from tests.deliveries import later, objects, raising
from tests.worlds import count


def rows(w):
    return [cursor for cursor in w.store.cursors.table.values() if cursor.name.startswith(PREFIX)]


async def killed(w, *changes):
    """A process of its own notes them and ends."""
    holding = in_hand(changes, w.services)
    await holding.__aenter__()
    w.services.caches.deletions.__init__()


async def test_a_deletion_costs_two_writes_of_one_row_and_an_upload_none(w):
    await objects(w, w.put("a"))
    writes, deletes = count(w.store.cursors, "write"), count(w.store.cursors, "delete")
    await objects(w, w.put("b", sop="2.25.101"))
    assert (len(writes), len(deletes)) == (0, 0)
    await objects(w, w.delete("a"))
    of_row = [cursor for cursor, _ in writes if cursor.name.startswith(PREFIX)]
    assert (len(of_row), len(deletes)) == (1, 1)
    assert rows(w) == []


async def test_deletions_of_a_burst_share_their_writes(w):
    changes = [w.put(f"{n}", sop=f"2.25.1{n}") for n in range(20)]
    await objects(w, *changes)
    gone = [w.delete(change.object.name) for change in changes]
    write = w.store.cursors.write

    async def slow(*args):
        await asyncio.sleep(0)
        return await write(*args)

    w.store.cursors.write = slow
    writes = count(w.store.cursors, "write")
    await asyncio.gather(*(objects(w, change) for change in gone))
    assert 0 < len(writes) <= 6
    assert rows(w) == []


async def test_what_a_killed_process_had_in_hand_is_inspected_and_its_row_goes(w):
    await objects(w, w.put("a"), w.put("b", sop="2.25.101"))
    await killed(w, w.delete("a"))
    w.clock.advance(29)
    assert await enqueue_lost_deletions(w.services) == 0
    w.clock.advance(1)
    assert await enqueue_lost_deletions(w.services) == 1
    await later(w, 0)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1
    assert rows(w) == []


async def test_a_row_that_cannot_be_read_stays_and_keeps_no_other_from_its_turn(w, caplog):
    await objects(w, w.put("a"))
    w.store.cursors.table.insert(f"{PREFIX}0", Cursor(name=f"{PREFIX}0", position={"deletions": 7}))
    await killed(w, w.delete("a"))
    w.clock.advance(30)
    assert await enqueue_lost_deletions(w.services) == 1
    assert [row.name for row in rows(w)] == [f"{PREFIX}0"]
    assert "object.deletions_unreadable code=store.unreadable" in caplog.text


async def test_an_object_that_was_never_known_needs_no_message(w):
    w.put("a")
    await killed(w, w.delete("a"))
    w.clock.advance(60)
    assert await enqueue_lost_deletions(w.services) == 0
    assert rows(w) == []


async def test_a_row_holds_no_name_and_no_more_than_its_bound(w):
    changes = [w.put(f"Doe^Jane/{n}") for n in range(MOST + 1)]
    for change in changes:
        w.delete(change.object.name)
    await killed(w, *[w.delete(change.object.name) for change in changes])
    assert len(rows(w)[0].position["deletions"]) == MOST
    assert "Doe" not in str(rows(w))


async def test_one_outage_is_waited_for_once(w):
    changes = [w.put(f"{n}", sop=f"2.25.1{n}") for n in range(5)]
    tries = []

    async def refused(*args):
        tries.append(args)
        await asyncio.sleep(0)
        raise StoreUnavailable("503")

    w.store.cursors.write = refused
    ended = await asyncio.gather(*(objects(w, w.delete(c.object.name)) for c in changes), return_exceptions=True)
    assert {type(failure) for failure in ended} == {StoreUnavailable}
    assert len(tries) <= 2


async def test_an_outage_of_the_table_begins_nothing(w):
    await objects(w, w.put("a"))
    w.store.cursors.write = raising(StoreUnavailable("503"))
    with pytest.raises(StoreUnavailable):
        await objects(w, w.delete("a"))
    assert (await w.store.locators.read(w.ref("a"))).value.etag is not None
