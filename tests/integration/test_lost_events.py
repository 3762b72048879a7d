"""Event Grid's dead-letter container on Azurite: blobs made by hand, in both schemas."""

import json

import pytest
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure.undelivered_events import AzureUndeliveredEvents
from sync.delivery.undelivered_events import recover_undelivered_events
from tests.contract.storage import fresh
from tests.unit.delivery.test_undelivered_events import WHY, cloud_event
from tests.worlds import SOURCES, MemoryWorld, event


@pytest.fixture
async def lost(azurite):
    lost = AzureUndeliveredEvents(BlobServiceClient.from_connection_string(azurite), fresh())
    yield lost
    await lost.close()


async def test_a_container_that_does_not_exist_holds_nothing(lost):
    assert await lost.names(10) == []


async def test_events_come_back_and_only_what_is_none_stays(lost, azurite):
    w = MemoryWorld()
    await lost._container.create_container()
    blobs = {
        "topic/sub/2026/11/25/19/a.json": json.dumps([event(w.put("a")) | WHY]),
        "topic/sub/2026/11/25/20/b.json": json.dumps([cloud_event(w.put("b", sop="2.25.9"))]),
        "topic/sub/2026/11/25/20/c.json": "no event",
    }
    for name, text in blobs.items():
        await lost._container.upload_blob(name, text.encode())
    assert await recover_undelivered_events(lost, SOURCES, w.services) == 2
    assert await lost.names(10) == []
    assert [blob.name async for blob in lost._container.list_blobs()] == ["topic/sub/2026/11/25/20/c.json"]
    assert len(w.store.object_queue.messages) == 2
    assert w.dead_letters() == [("message", "event.malformed")]
    await lost.remove("x")
    await lost.mark("x")
    assert await lost.read("x", 10) is None
