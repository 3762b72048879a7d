"""How things stand, told exactly in a small world and quickly in a large one."""

from dataclasses import replace

import pytest

from sync.errors import StoreUnavailable
from sync.model import SubjectKind
from sync.monitoring.counts import LATELY, PAGES_AT_ONCE, count_all, read_count, read_counts, store_count, store_counts
from sync.monitoring.status import status
from sync.ports import Counted
from tests.worlds import UNREADABLE, MemoryWorld

MOST_ASKED = 100
"""Pages after which a table counts as read for ever."""


async def world_of(studies, letters, *, size):
    w = MemoryWorld()
    for n in range(studies):
        await w.ingest(w.put(f"s{n}", study=f"2.25.{n + 1}", sop=f"2.25.9{n}"))
    await w.settle()
    for n in range(letters):
        await w.ingest(w.put(f"x{n}", UNREADABLE))
    w.store.tallies.size = size
    return w


async def test_a_small_world_is_told_exactly_without_anything_that_was_kept():
    w = await world_of(3, 2, size=1000)
    told = await status(w.services)
    assert (told["synced_studies"], told["synced_instances"], told["dead_letters"]) == (3, 3, 2)
    assert told["dead_letters_by_code"] == {"header.not_dicom": 2}
    assert told["counted_at"] is None


async def test_a_large_world_is_told_as_it_was_counted_last():
    w = await world_of(7, 5, size=2)
    await store_counts(w.services)
    counted_at = w.clock.now()
    w.clock.advance(10)
    await w.ingest(w.put("late", UNREADABLE))
    told = await status(w.services)
    assert (told["synced_studies"], told["dead_letters"]) == (7, 5)
    assert told["counted_at"] == counted_at.isoformat()
    for _ in range(2):
        await store_counts(w.services)
    assert (await status(w.services))["dead_letters"] == 6


async def test_a_count_takes_as_many_calls_as_it_needs_and_the_last_one_holds_meanwhile():
    w = await world_of(0, 3 * PAGES_AT_ONCE, size=2)
    letters = []
    for _ in range(4):
        await store_counts(w.services)
        letters.append((await read_counts(w.services)).dead_letters.total)
    assert letters == [2, 30, 30, 30]


def pages_read(w):
    """Tables of which a page is read from now on."""
    calls, page = [], w.store.tallies.page

    async def counted(table, token=None):
        calls.append(table)
        return await page(table, token)

    w.store.tallies.page = counted
    return calls


async def test_one_page_of_a_small_table_is_read_and_of_a_large_one_none():
    w = await world_of(6, 6, size=2)
    calls = pages_read(w)
    await status(w.services)
    assert sorted(calls, key=lambda counted: counted.value) == sorted(Counted, key=lambda counted: counted.value)
    await store_counts(w.services)
    calls.clear()
    assert (await status(w.services))["dead_letters"] == 6
    assert set(calls) == {Counted.DIRTY, Counted.DRIFTS}


async def test_a_small_table_is_not_stored_each_time():
    w = await world_of(3, 3, size=1000)
    await store_counts(w.services)
    row = w.store.cursors.table.get(Counted.DEAD_LETTERS.cursor)
    w.clock.advance(60)
    await store_counts(w.services)
    assert w.store.cursors.table.get(Counted.DEAD_LETTERS.cursor) == row
    w.clock.advance(LATELY.total_seconds())
    await store_counts(w.services)
    assert w.store.cursors.table.get(Counted.DEAD_LETTERS.cursor) != row


async def test_a_table_that_grew_past_a_page_has_at_least_what_a_page_says():
    w = await world_of(0, 1, size=4)
    await store_counts(w.services)
    for n in range(1, 9):
        await w.ingest(w.put(f"x{n}", UNREADABLE))
    assert (await status(w.services))["dead_letters"] == 4
    await store_counts(w.services)
    await store_counts(w.services)
    assert (await status(w.services))["dead_letters"] == 9


async def test_whether_anything_is_outstanding_is_never_told_from_memory():
    w = MemoryWorld()
    for n in range(5):
        await w.ingest(w.put(f"s{n}", study=f"2.25.{n + 1}", sop=f"2.25.9{n}"))
    w.store.tallies.size = 2
    await store_counts(w.services)
    await w.settle()
    told = await status(w.services)
    assert (told["idle"], told["dirty_studies"]) == (True, 0)


async def test_a_count_that_is_old_is_not_told_where_a_look_says_more():
    w = await world_of(0, 6, size=2)
    await store_counts(w.services)
    for n in range(5):
        await w.store.dead_letters.clear(SubjectKind.OBJECT, str(w.ref(f"x{n}").key))
    assert (await status(w.services))["dead_letters"] == 6
    w.clock.advance(LATELY.total_seconds() + 1)
    assert (await status(w.services))["dead_letters"] == 1


async def test_a_table_that_became_small_is_told_exactly_once_it_was_counted():
    w = await world_of(0, 6, size=4)
    await store_counts(w.services)
    for n in range(4):
        await w.store.dead_letters.clear(SubjectKind.OBJECT, str(w.ref(f"x{n}").key))
    await store_count(Counted.DEAD_LETTERS, w.services)
    await w.store.dead_letters.clear(SubjectKind.OBJECT, str(w.ref("x4").key))
    assert (await status(w.services))["dead_letters"] == 1


async def test_a_command_counts_to_the_end_whatever_was_kept():
    w = await world_of(0, 3 * PAGES_AT_ONCE, size=2)
    await store_counts(w.services)
    tally = await count_all(Counted.DEAD_LETTERS, w.services)
    assert (tally.total, tally.at) == (3 * PAGES_AT_ONCE, None)


async def test_the_newest_letters_of_a_code_are_known_however_many_pages_there_are():
    w = await world_of(0, 3 * PAGES_AT_ONCE, size=2)
    for _ in range(3):
        await store_counts(w.services)
    group = (await read_count(Counted.DEAD_LETTERS, w.services)).groups["header.not_dicom"]
    last = 3 * PAGES_AT_ONCE - 1
    assert [entry.subject for entry in group.newest] == [str(w.ref(f"x{n}").key) for n in (last, last - 1, last - 2)]
    assert group == (await count_all(Counted.DEAD_LETTERS, w.services)).groups["header.not_dicom"]


async def test_a_table_that_was_counted_is_counted_again_in_small_steps_or_at_once_when_a_caller_waits():
    w = await world_of(0, 12, size=2)
    await store_counts(w.services)
    calls = pages_read(w)
    await store_counts(w.services)
    assert calls.count(Counted.DEAD_LETTERS) == 2
    calls.clear()
    await store_count(Counted.DEAD_LETTERS, w.services, from_start=True)
    assert calls.count(Counted.DEAD_LETTERS) == 6


async def test_of_two_that_count_one_counts():
    w = await world_of(0, 4, size=2)
    key = f"count:{Counted.DEAD_LETTERS.value}"
    from sync.protocol.leases import take

    assert await take(key, w.store.cursors, w.clock, seconds=60) is not None
    await store_counts(w.services)
    assert "kept" not in (await w.store.cursors.read(key)).value.position


async def test_the_oldest_study_and_the_oldest_message_are_told():
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    w.clock.advance(100)
    told = await status(w.services)
    assert told["lag"]["oldest_study"] == 100
    assert told["lag"]["queues"] == {"studies": 99}
    assert told["health"]["verdict"] == "behind"
    await w.settle()
    assert (await status(w.services))["health"] == {"verdict": "in sync", "reasons": []}


async def test_a_page_that_a_round_has_read_is_not_read_again_by_the_next_and_growth_is_noticed_there():
    w = await world_of(1, 3, size=4)
    await store_counts(w.services)
    await read_counts(w.services)
    calls = pages_read(w)
    w.clock.advance(30)
    await store_counts(w.services)
    assert calls == []
    for n in range(3, 9):
        await w.ingest(w.put(f"x{n}", UNREADABLE))
    await read_counts(w.services)
    for _ in range(2):  # it is counted in small steps
        w.clock.advance(30)
        await store_counts(w.services)
    assert (await read_counts(w.services)).dead_letters.total == 9


async def test_what_was_read_a_minute_ago_is_read_again():
    w = await world_of(1, 3, size=4)
    await store_counts(w.services)
    await read_counts(w.services)
    calls = pages_read(w)
    w.clock.advance(61)
    await store_counts(w.services)
    assert set(calls) == set(Counted)


async def test_a_count_is_stored_again_after_a_while_though_a_page_is_all():
    w = await world_of(1, 3, size=4)
    for _ in range(40):
        await store_counts(w.services)
        await read_counts(w.services)
        w.clock.advance(30)
    stored = await w.store.cursors.read(Counted.DEAD_LETTERS.cursor)
    assert w.clock.now() - stored.value.advanced_at < LATELY


async def test_a_table_whose_pages_lead_in_a_circle_is_never_told_as_counted():
    w = await world_of(0, 6, size=2)
    await store_count(Counted.DEAD_LETTERS, w.services)
    page, asked = w.store.tallies.page, []

    async def circular(table, token=None):
        asked.append(token)
        assert len(asked) < MOST_ASKED, "read for ever"
        return replace(await page(table), token="B" if token == "A" else "A")

    w.store.tallies.page = circular
    with pytest.raises(StoreUnavailable, match="circle"):
        await count_all(Counted.DEAD_LETTERS, w.services)
    await store_count(Counted.DEAD_LETTERS, w.services, from_start=True)
    assert (await read_count(Counted.DEAD_LETTERS, w.services)).total == 6
    w.store.tallies.page = page
    await w.store.dead_letters.clear(SubjectKind.OBJECT, str(w.ref("x0").key))
    await store_count(Counted.DEAD_LETTERS, w.services, from_start=True)
    assert (await count_all(Counted.DEAD_LETTERS, w.services)).total == 5
    assert (await read_count(Counted.DEAD_LETTERS, w.services)).total == 5
