"""One loop under an ETag, one way to hold a lease."""

from __future__ import annotations

import asyncio

import pytest

from sync.errors import Contention, FhirUnavailable, StoreConflict, StoreUnavailable
from sync.model import Cursor
from sync.protocol.leases import held, renewed, take
from sync.protocol.optimistic import MAX_ROUNDS, change_position, retry_on_conflict
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


async def test_a_position_is_made_anew_of_what_another_writer_left():
    w, positions = MemoryWorld(), []

    def one_more(row):
        positions.append(row.position)
        if len(positions) == 1:
            w.store.cursors.table.insert("row", Cursor(name="row", position={"count": 41}))
        return {"count": row.position.get("count", 0) + 1}

    await change_position("row", one_more, w.services, subject="a row")
    assert positions == [{}, {"count": 41}]
    assert (await w.store.cursors.read("row")).value.position == {"count": 42}


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


async def test_a_lease_is_renewed_while_the_work_takes_longer_than_it():
    w, was_renewed = MemoryWorld(), asyncio.Event()
    async with held("job", w.services, seconds=30) as lease:
        renew = lease.renew

        async def counted():
            await renew()
            was_renewed.set()

        async def work():
            for _ in range(3):
                w.clock.advance(20)
                was_renewed.clear()
                await was_renewed.wait()
            assert not await free(w), "40 s after the lease would have run out"
            lease.check()
            return "done"

        lease.renew = counted
        assert await renewed(work(), lease, every=0.001) == "done"
        await lease.advance({"at": 1})
    assert await free(w)


async def test_work_that_was_suspended_longer_than_its_lease_stops_at_the_next_check():
    w, did = MemoryWorld(), []
    async with held("job", w.services, seconds=30) as lease:

        async def work():
            lease.check()
            did.append("before")
            w.clock.advance(31)
            assert await free(w)
            lease.check()
            did.append("after")

        await renewed(work(), lease, every=60)
        raise AssertionError("a lost lease must not go on")
    assert did == ["before"]
    assert not await free(w), "the new holder has it still"


@pytest.mark.parametrize("failure", [StoreConflict("another process holds it"), StoreUnavailable("503")])
async def test_a_renewal_that_fails_leaves_the_end_to_the_check(failure):
    w, failed = MemoryWorld(), asyncio.Event()
    lease = await take("job", w.services.cursors, w.clock, seconds=30)

    async def fails():
        failed.set()
        raise failure

    async def work():
        await failed.wait()
        lease.check()
        w.clock.advance(31)
        lease.check()

    lease.renew = fails
    with pytest.raises(StoreConflict, match="ran out"):
        await renewed(work(), lease, every=0.001)


async def test_work_ends_with_the_task_that_waits_for_it():
    w, begun, ended = MemoryWorld(), asyncio.Event(), []
    lease = await take("job", w.services.cursors, w.clock, seconds=30)

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    waiting = asyncio.create_task(renewed(work(), lease, every=60))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [1]
