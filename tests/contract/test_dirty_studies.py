"""The outbox: marked by many, cleared only by who has seen the last mark."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sync.errors import StoreConflict
from tests.contract.storage import NOW, fresh_study, outstanding

LATER = NOW + timedelta(seconds=7)


async def test_the_first_mark_is_new_and_the_second_is_not(storage):
    study = fresh_study()
    assert [await storage.dirty.mark(study, NOW) for _ in range(2)] == [True, False]


async def test_an_unmarked_study_reads_as_none(storage):
    assert await storage.dirty.read(fresh_study()) is None


async def test_exactly_one_of_fifty_concurrent_marks_is_new(storage):
    study = fresh_study()
    marks = await asyncio.gather(*(storage.dirty.mark(study, NOW) for _ in range(50)))
    assert sorted(marks) == [False] * 49 + [True]


async def test_every_mark_changes_the_etag_also_at_the_same_time(storage):
    study = fresh_study()
    etags = set()
    for _ in range(3):
        await storage.dirty.mark(study, NOW)
        etags.add((await storage.dirty.read(study)).etag)
    assert len(etags) == 3


async def test_a_mark_that_began_after_another_had_ended_is_never_swallowed_by_it(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    seen = await storage.dirty.read(study)
    await asyncio.gather(*(storage.dirty.mark(study, LATER) for _ in range(5)))
    with pytest.raises(StoreConflict):
        await storage.dirty.delete(study, seen.etag)


async def test_of_marks_that_share_a_write_the_last_counts(storage):
    study = fresh_study()
    await asyncio.gather(*(storage.dirty.mark(study, now) for now in (NOW, NOW, LATER)))
    marked = (await storage.dirty.read(study)).value
    assert (marked.first_marked, marked.last_marked) == (NOW, LATER)


async def test_a_mark_keeps_everything_but_the_time_of_the_last_one(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    first = await storage.dirty.read(study)
    tried = replace(first.value, attempts=3, not_before=NOW + timedelta(hours=1))
    await storage.dirty.postpone(tried, first.etag)
    await storage.dirty.mark(study, LATER)
    assert (await storage.dirty.read(study)).value == replace(tried, last_marked=LATER)


async def test_a_mark_that_bypasses_the_cache_is_kept_by_later_marks(storage):
    study = fresh_study()
    for bypass_cache in (False, True, False):
        await storage.dirty.mark(study, NOW, bypass_cache=bypass_cache)
    assert (await storage.dirty.read(study)).value.bypass_cache
    await asyncio.gather(*(storage.dirty.mark(study, LATER) for _ in range(5)))
    assert (await storage.dirty.read(study)).value.bypass_cache
    fresh = fresh_study()
    await storage.dirty.mark(fresh, NOW, bypass_cache=True)
    assert (await storage.dirty.read(fresh)).value.bypass_cache


async def test_one_mark_that_bypasses_the_cache_among_many_at_once_is_never_swallowed(storage):
    study = fresh_study()
    await asyncio.gather(*(storage.dirty.mark(study, NOW, bypass_cache=number == 7) for number in range(20)))
    assert (await storage.dirty.read(study)).value.bypass_cache


async def test_a_mark_without_a_gap_keeps_it_and_the_last_one_with_a_gap_counts(storage):
    study = fresh_study()
    for gap, kept in ((None, None), (2.5, 2.5), (None, 2.5), (0.0, 0.0)):
        await storage.dirty.mark(study, NOW, longest_gap=gap)
        assert (await storage.dirty.read(study)).value.longest_gap == kept
    fresh = fresh_study()
    await asyncio.gather(*(storage.dirty.mark(fresh, NOW, longest_gap=gap) for gap in (None, 3.0, 1.0)))
    assert (await storage.dirty.read(fresh)).value.longest_gap == 1.0
    await storage.dirty.postpone((await storage.dirty.read(fresh)).value, (await storage.dirty.read(fresh)).etag)
    assert (await storage.dirty.read(fresh)).value.longest_gap == 1.0


async def test_bypassing_the_cache_ends_with_the_row_and_by_postponing_without_it(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW, bypass_cache=True)
    marked = await storage.dirty.read(study)
    await storage.dirty.postpone(replace(marked.value, bypass_cache=False), marked.etag)
    assert not (await storage.dirty.read(study)).value.bypass_cache
    await storage.dirty.mark(study, NOW, bypass_cache=True)
    await storage.dirty.delete(study, (await storage.dirty.read(study)).etag)
    await storage.dirty.mark(study, NOW)
    assert not (await storage.dirty.read(study)).value.bypass_cache


async def test_postponing_needs_the_right_etag(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    stored = await storage.dirty.read(study)
    await storage.dirty.mark(study, LATER)
    with pytest.raises(StoreConflict):
        await storage.dirty.postpone(replace(stored.value, attempts=9), stored.etag)
    assert (await storage.dirty.read(study)).value.attempts == 0


async def test_postponing_takes_a_bound_away_again(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    stored = await storage.dirty.read(study)
    await storage.dirty.postpone(replace(stored.value, not_before=LATER), stored.etag)
    bound = await storage.dirty.read(study)
    await storage.dirty.postpone(replace(bound.value, not_before=None), bound.etag)
    assert (await storage.dirty.read(study)).value == stored.value


async def test_deleting_with_the_right_etag_clears_it_and_the_next_mark_is_new(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    await storage.dirty.delete(study, (await storage.dirty.read(study)).etag)
    assert await storage.dirty.read(study) is None
    assert await storage.dirty.mark(study, LATER)
    assert (await storage.dirty.read(study)).value.first_marked == LATER


async def test_a_comparison_is_one_until_an_object_comes(storage):
    study = fresh_study()
    for bypass_cache, comparison in ((True, True), (True, True), (False, False), (True, False)):
        await storage.dirty.mark(study, NOW, bypass_cache=bypass_cache)
        assert (await storage.dirty.read(study)).value.comparison is comparison
    shared = fresh_study()
    await asyncio.gather(*(storage.dirty.mark(shared, NOW, bypass_cache=number != 3) for number in range(6)))
    assert not (await storage.dirty.read(shared)).value.comparison


async def test_deleting_with_an_old_etag_is_a_conflict_and_deletes_nothing(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    old = await storage.dirty.read(study)
    await storage.dirty.mark(study, LATER)
    with pytest.raises(StoreConflict):
        await storage.dirty.delete(study, old.etag)
    assert await storage.dirty.read(study) is not None


async def test_deleting_what_is_gone_is_a_conflict(storage):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    stored = await storage.dirty.read(study)
    await storage.dirty.delete(study, stored.etag)
    with pytest.raises(StoreConflict):
        await storage.dirty.delete(study, stored.etag)
    with pytest.raises(StoreConflict):
        await storage.dirty.postpone(stored.value, stored.etag)


async def test_a_mark_is_new_again_after_another_process_has_cleared_the_study(storage, azurite_twin):
    study = fresh_study()
    await storage.dirty.mark(study, NOW)
    await storage.dirty.mark(study, NOW)
    other = azurite_twin or storage
    await other.dirty.delete(study, (await other.dirty.read(study)).etag)
    assert await storage.dirty.mark(study, LATER)


async def test_all_outstanding_studies_are_listed_once(storage):
    studies = [fresh_study() for _ in range(20)]
    for study in studies:
        await storage.dirty.mark(study, NOW)
    for study in studies:
        assert [mark.study for mark in await outstanding(storage.dirty, study)] == [study]
