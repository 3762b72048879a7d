"""The queue of hints: what is sent, when it shows, and that it counts."""

import base64
import json
import time
from datetime import timedelta

import pytest
from azure.storage.queue import QueueClient

from sync.events import parse_study_message
from sync.model.queues import QUEUES, SLICES_QUEUE
from sync.testing.clock import ManualClock
from sync.testing.queues import MemoryStudyQueue
from tests.contract.storage import fresh_study
from tests.waiting import deadline

WEEK = 7 * 24 * 3600


async def test_messages_count_whether_they_are_visible_or_not(storage):
    before = await storage.study_queue.length()
    await storage.study_queue.enqueue(fresh_study())
    await storage.study_queue.enqueue(fresh_study(), 3600)
    assert await storage.study_queue.length() == before + 2


async def test_a_delay_of_any_length_is_taken(storage):
    before = await storage.study_queue.length()
    for delay in (0.0, -1.0, 0.25, WEEK, WEEK * 2):
        await storage.study_queue.enqueue(fresh_study(), delay)
    assert await storage.study_queue.length() == before + 5


async def test_status_sees_the_same_number_under_the_name_of_the_queue(storage):
    await storage.study_queue.enqueue(fresh_study())
    assert (await storage.study_queue.depths())["studies"] == await storage.study_queue.length()


async def test_a_delayed_message_in_memory_shows_when_its_time_has_come():
    clock, study = ManualClock(), fresh_study()
    queue = MemoryStudyQueue(clock)
    await queue.enqueue(study, 10)
    clock.advance(9)
    assert queue.take() == []
    clock.advance(1)
    assert queue.take() == [study]


@pytest.fixture
def studies(azurite, storage):
    """The queue as its readers see it, empty: what others left would hide what we sent."""
    with QueueClient.from_connection_string(azurite, "studies") as queue:
        queue.clear_messages()
        yield queue


@pytest.mark.parametrize("storage", ["azurite"], indirect=True)
async def test_a_message_is_base64_of_json_that_never_expires(storage, studies):
    study = fresh_study()
    await storage.study_queue.enqueue(study)
    message = studies.receive_message()
    text = base64.b64decode(message.content, validate=True).decode()
    assert json.loads(text)["study_instance_uid"] == study.study_instance_uid
    assert parse_study_message(text).study == study
    assert message.expires_on - message.inserted_on > timedelta(days=365)


@pytest.mark.parametrize("storage", ["azurite"], indirect=True)
async def test_a_delayed_message_is_invisible_until_its_time_has_come(storage, studies):
    study = fresh_study()
    await storage.study_queue.enqueue(study, 0.4)  # the service counts whole seconds: this is one
    assert studies.receive_message() is None
    assert _receive_within(studies, 5) is not None


def _receive_within(queue, seconds):
    end = deadline(seconds)
    while time.monotonic() < end:
        if (message := queue.receive_message()) is not None:
            return message
        time.sleep(0.05)
    return None


@pytest.mark.parametrize("storage", ["azurite"], indirect=True)
async def test_messages_of_objects_that_are_leased_or_delayed_count_and_do_not_wait(azurite, storage):
    """By this the sweep tells what a killed host holds from what waits for a worker."""
    with QueueClient.from_connection_string(azurite, "objects") as queue:
        queue.clear_messages()
        await storage.object_queue.send("{}")
        assert "objects" in await storage.queues.oldest(["objects"])
        next(iter(queue.receive_messages(visibility_timeout=600)))
        await storage.object_queue.send("{}", 300)
        assert (await storage.queues.depths())["objects"] == 2
        assert "objects" not in await storage.queues.oldest(["objects"])
        assert not await storage.object_queue.is_empty()
        queue.clear_messages()
        assert await storage.object_queue.is_empty()


@pytest.mark.parametrize("storage", ["azurite"], indirect=True)
async def test_the_lengths_are_those_of_all_queues(azurite, storage):
    with QueueClient.from_connection_string(azurite, SLICES_QUEUE) as queue:
        queue.send_message("{}", visibility_timeout=300)
    lengths = await storage.queues.depths()
    assert lengths.keys() == set(QUEUES)
    assert lengths[SLICES_QUEUE] >= 1
