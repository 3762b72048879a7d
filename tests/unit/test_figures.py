"""How things stand, told exactly in a small world and quickly in a large one."""

from sync.figures import PAGES_AT_ONCE, keep_counts, read_figures
from sync.ports import Counted
from sync.status import status
from tests.worlds import UNREADABLE, MemoryWorld


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
    await keep_counts(w.services)
    counted_at = w.clock.now()
    w.clock.advance(10)
    await w.ingest(w.put("late", UNREADABLE))
    told = await status(w.services)
    assert (told["synced_studies"], told["dead_letters"]) == (7, 5)
    assert told["counted_at"] == counted_at.isoformat()
    await keep_counts(w.services)
    assert (await status(w.services))["dead_letters"] == 6


async def test_a_count_takes_as_many_calls_as_it_needs_and_the_last_one_holds_meanwhile():
    w = await world_of(0, 3 * PAGES_AT_ONCE, size=2)
    letters = []
    for _ in range(4):
        await keep_counts(w.services)
        letters.append((await read_figures(w.services)).dead_letters.total)
    assert letters == [2, 30, 30, 30]


async def test_a_call_makes_so_many_requests_whatever_the_size_of_the_world():
    calls = []
    w = await world_of(6, 6, size=2)
    await keep_counts(w.services)
    page = w.store.tallies.page

    async def counted(table, token=None):
        calls.append(table)
        return await page(table, token)

    w.store.tallies.page = counted
    await status(w.services)
    assert sorted(calls, key=lambda each: each.value) == sorted(Counted, key=lambda each: each.value)


async def test_of_two_that_count_one_counts():
    w = await world_of(0, 4, size=2)
    key = f"count:{Counted.DEAD_LETTERS.value}"
    from sync.leases import take

    assert await take(key, w.store.cursors, w.clock, seconds=60) is not None
    await keep_counts(w.services)
    assert "kept" not in (await w.store.cursors.read(key)).value.position


async def test_the_oldest_study_and_the_oldest_message_are_told():
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    w.clock.advance(100)
    told = await status(w.services)
    assert told["lag"]["oldest_study"] == 100
    assert told["lag"]["queues"] == {"studies": 95}
    assert told["health"]["verdict"] == "behind"
    await w.settle()
    assert (await status(w.services))["health"] == {"verdict": "in sync", "reasons": []}
