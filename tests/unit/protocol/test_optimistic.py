"""One loop under an ETag, one way to hold a lease."""

from __future__ import annotations

import pytest

from sync.errors import Contention, FhirUnavailable, StoreConflict
from sync.protocol.leases import held, take
from sync.protocol.optimistic import MAX_ROUNDS, retry_on_conflict
from tests.worlds import MemoryWorld


@pytest.mark.parametrize("conflicts", [0, 1, MAX_ROUNDS - 1])
async def test_a_write_that_came_too_late_is_made_again(conflicts):
    rounds = []

    async def write():
        rounds.append(1)
        if len(rounds) <= conflicts:
            raise StoreConflict("another writer came first")
        return len(rounds)

    assert await retry_on_conflict(write, subject="a row") == conflicts + 1


async def test_a_row_that_keeps_changing_is_given_up_and_delivered_again():
    rounds = []

    async def write():
        rounds.append(1)
        raise StoreConflict("another writer came first")

    with pytest.raises(Contention, match="a row kept changing"):
        await retry_on_conflict(write, subject="a row")
    assert len(rounds) == MAX_ROUNDS


async def free(w):
    return await take("job", w.services.cursors, w.clock, seconds=30) is not None


async def test_a_lease_is_held_for_the_block_and_released_after_it():
    w = MemoryWorld()
    async with held("job", w.services, seconds=30) as lease:
        assert lease is not None
        async with held("job", w.services, seconds=30) as second:
            assert second is None
        await lease.advance({"at": 1})
    async with held("job", w.services, seconds=30) as lease:
        assert lease.position == {"at": 1}


async def test_a_failure_releases_the_lease_and_is_raised():
    w = MemoryWorld()
    with pytest.raises(FhirUnavailable):
        async with held("job", w.services, seconds=30):
            raise FhirUnavailable("503")
    assert await free(w)


async def test_a_crash_releases_nothing_and_the_lease_runs_out():
    class Died(BaseException):
        """The process ends here."""

    w = MemoryWorld()
    with pytest.raises(Died):
        async with held("job", w.services, seconds=30):
            raise Died
    assert not await free(w)
    w.clock.advance(31)
    assert await free(w)


async def test_a_lease_that_was_lost_ends_the_block_and_is_left_to_its_new_holder():
    w = MemoryWorld()
    async with held("job", w.services, seconds=30) as lease:
        w.clock.advance(31)
        assert await free(w)
        await lease.advance({"at": 1})
        raise AssertionError("a lost lease must not go on")
    assert not await free(w), "the new holder has it still"
