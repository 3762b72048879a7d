"""A delivery that waits for what never comes is cut off, counted and delivered again."""

import asyncio

import pytest

from sync.delivery.watchdog import within_budget
from sync.errors import DeliveryTooLong, FhirUnavailable, TransientError
from sync.telemetry.instruments import FAILURES
from tests.worlds import MemoryWorld


@pytest.fixture
def s():
    services = MemoryWorld(delivery_budget_seconds=30).services
    object.__setattr__(services.settings, "delivery_budget_seconds", 0.02)
    return services


def counted(s):
    return [dict(key.attributes) for key in s.telemetry.take() if key.name == FAILURES.name]


async def test_a_delivery_that_never_ends_is_cut_off_counted_and_delivered_again(s):
    never = asyncio.get_running_loop().create_future()

    async def waits():
        await never

    with pytest.raises(DeliveryTooLong) as caught:
        await asyncio.wait_for(within_budget(waits(), s), 5)
    assert isinstance(caught.value, TransientError)
    assert never.cancelled()
    assert "delivery.too_long" in str(counted(s))


async def test_work_in_time_passes_as_it_is(s):
    async def works():
        return 7

    async def fails():
        raise FhirUnavailable("503")

    async def gives_up():
        raise TimeoutError

    assert await within_budget(works(), s) == 7
    for work, error in ((fails, FhirUnavailable), (gives_up, TimeoutError)):
        with pytest.raises(error):
            await within_budget(work(), s)
    assert counted(s) == []


async def test_who_stops_the_process_is_not_taken_for_a_delivery_that_was_too_long(s):
    object.__setattr__(s.settings, "delivery_budget_seconds", 30)
    task = asyncio.create_task(within_budget(asyncio.sleep(60), s))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
