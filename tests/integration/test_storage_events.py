"""Blobs written to a real Azurite become queue messages that our own parser understands."""

import asyncio
import base64
import contextlib
import json
import statistics
import time
import uuid
from collections import Counter

import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob import BlobBlock, ContainerClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient

from local.azurite import ACCOUNT, azurite
from local.storage_events import Disorder, StorageEvents
from sync.events import Sources, parse_message
from sync.model import Action
from tests.waiting import deadline


class Taps:
    """Passes the log of one Azurite on to whichever stand-in the running test has."""

    def __init__(self):
        self.reader = lambda line: None

    def __call__(self, line):
        self.reader(line)


@pytest.fixture(scope="module")
def logged():
    taps = Taps()
    with azurite(on_line=taps) as storage:
        yield storage.connection_string, taps


@contextlib.asynccontextmanager
async def world(logged, **options):
    """A fresh container and queue, and the events between them."""
    connection, taps = logged
    name = f"c{uuid.uuid4().hex}"
    async with (
        BlobServiceClient.from_connection_string(connection) as blobs,
        QueueClient.from_connection_string(connection, name) as queue,
    ):
        await queue.create_queue()
        container = await blobs.create_container(name)
        events = StorageEvents([name], queue_name=name, **options)
        taps.reader = events.feed
        async with events.delivering(connection):
            yield container, events, queue
        taps.reader = lambda line: None


async def messages(queue, expected, seconds=10):
    """The decoded messages, once there are as many as expected and then no more."""
    messages_read = []
    end = deadline(seconds)
    while len(messages_read) < expected and time.monotonic() < end:
        messages_read += [m async for m in queue.receive_messages(messages_per_page=32, visibility_timeout=600)]
    await asyncio.sleep(0.1)
    messages_read += [m async for m in queue.receive_messages(messages_per_page=32, visibility_timeout=600)]
    assert len(messages_read) == expected
    return [json.loads(base64.b64decode(m.content)) for m in messages_read]


async def until(true, seconds=10):
    end = deadline(seconds)
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def changes(events, container):
    allowed = Sources(account=ACCOUNT, containers=frozenset([container.container_name]))
    return [change for event in events for change in parse_message(json.dumps(event), allowed)]


async def test_the_log_names_requests_to_blobs_alone(logged):
    lines = []
    async with world(logged) as (container, events, queue):
        logged[1].reader = lambda line: (lines.append(line), events.feed(line))
        await queue.send_message("to a queue")
        async with TableServiceClient.from_connection_string(logged[0]) as tables:
            await tables.create_table(container.container_name)
        await container.upload_blob("a.dcm", b"x")
        await until(lambda: any("/a.dcm" in line for line in lines))
    assert {line.split('"')[1].split()[1].split("/")[2].split("?")[0] for line in lines} == {container.container_name}


@pytest.mark.parametrize("schema", ["cloudevents", "eventgrid"])
async def test_upload_overwrite_and_delete_become_events_our_parser_reads(logged, schema):
    async with world(logged, schema=schema) as (container, _, queue):
        first = await container.upload_blob("a.dcm", b"x")
        before = await first.get_blob_properties()
        created = changes(await messages(queue, 1), container)
        assert [(c.action, c.object.name, c.etag) for c in created] == [
            (Action.CREATED, "a.dcm", before.etag.strip('"'))
        ]
        await container.upload_blob("a.dcm", b"yy", overwrite=True)
        await messages(queue, 1)
        await container.delete_blob("a.dcm")
        deleted = changes(await messages(queue, 1), container)
        assert [(c.action, c.object.name) for c in deleted] == [(Action.DELETED, "a.dcm")]


async def test_cloud_events_have_the_shape_that_event_grid_gives_them(logged):
    async with world(logged) as (container, _, queue):
        await container.upload_blob("a b.dcm", b"12345")
        (event,) = await messages(queue, 1)
    assert event["specversion"] == "1.0"
    assert event["type"] == "Microsoft.Storage.BlobCreated"
    assert event["subject"] == f"/blobServices/default/containers/{container.container_name}/blobs/a b.dcm"
    assert event["data"]["url"].endswith("/a%20b.dcm")
    assert (event["data"]["contentLength"], event["data"]["api"]) == (5, "PutBlob")


@pytest.mark.parametrize("name", ["a b+c'd\"e.dcm", "ü/Ö 中文 🩻.dcm", "100%/%2F?#&=;.dcm", "a//b/", "x" * 900])
async def test_odd_names_arrive_as_they_are(logged, name):
    async with world(logged) as (container, _, queue):
        await container.upload_blob(name, b"x")
        await container.delete_blob(name)
        seen = changes(await messages(queue, 2), container)
    assert {c.object.name for c in seen} == {name}
    assert Counter(c.action for c in seen) == {Action.CREATED: 1, Action.DELETED: 1}


async def test_blocks_appends_and_copies_give_one_event_a_blob(logged):
    async with world(logged) as (container, _, queue):
        blocks = container.get_blob_client("blocks")
        await blocks.stage_block("MDAx", b"1" * 10)
        await blocks.commit_block_list([BlobBlock("MDAx")])
        append = container.get_blob_client("append")
        await append.create_append_blob()
        await append.append_block(b"1")
        await container.get_blob_client("copy").start_copy_from_url(blocks.url)
        await blocks.set_blob_metadata({"a": "b"})
        events = await messages(queue, 3)
    assert sorted(event["data"]["api"] for event in events) == ["CopyBlob", "PutBlob", "PutBlockList"]


async def test_a_batch_delete_gives_an_event_for_each_blob_it_deleted(logged):
    async with world(logged) as (container, _, queue):
        for name in ("a", "b ü", "kept"):
            await container.upload_blob(name, b"")
        await messages(queue, 3)
        # Azurite refuses the batches of the asynchronous client.
        same = ContainerClient.from_connection_string(logged[0], container.container_name)
        names = ("a", "b ü", "never there")
        answers = await asyncio.to_thread(lambda: list(same.delete_blobs(*names, raise_on_any_failure=False)))
        assert [answer.status_code for answer in answers] == [202, 202, 404]
        seen = changes(await messages(queue, 2), container)
    assert {(c.action, c.object.name) for c in seen} == {(Action.DELETED, "a"), (Action.DELETED, "b ü")}


async def test_a_blob_gone_before_its_event_is_made_still_gives_one(logged):
    async with world(logged) as (container, events, queue):
        path = f"/{ACCOUNT}/{container.container_name}/vanished"
        events.feed(f'- - [-] "PUT {path} HTTP/1.1" 201 -\n')
        (change,) = changes(await messages(queue, 1), container)
    assert (change.action, change.etag) == (Action.CREATED, None)


@pytest.mark.parametrize(("upload", "action"), [(True, Action.CREATED), (False, Action.DELETED)])
async def test_an_unknown_outcome_is_told_as_the_blob_is_now(logged, upload, action):
    async with world(logged) as (container, events, queue):
        if upload:
            await container.upload_blob("a", b"")
            await messages(queue, 1)
        events.feed(f'- - [-] "PUT /{ACCOUNT}/{container.container_name}/a HTTP/1.1" - -\n')
        (change,) = changes(await messages(queue, 1), container)
    assert change.action is action


async def test_other_containers_give_no_events(logged):
    async with world(logged) as (container, _, queue), BlobServiceClient.from_connection_string(logged[0]) as blobs:
        other = await blobs.create_container(f"o{uuid.uuid4().hex}")
        await other.upload_blob("a", b"")
        await container.upload_blob("b", b"")
        seen = changes(await messages(queue, 1), container)
    assert [c.object.name for c in seen] == ["b"]


async def test_duplicates_and_disorder_deliver_everything_all_the_same(logged):
    async with world(logged, disorder=Disorder(duplicate=1, shuffle=0.2)) as (container, events, queue):
        names = [f"{n}.dcm" for n in range(40)]
        await asyncio.gather(*(container.upload_blob(name, b"") for name in names))
        seen = changes(await messages(queue, 80), container)
        assert events.delivered.sent == 80
    arrived = [c.object.name for c in seen]
    assert Counter(arrived) == dict.fromkeys(names, 2)
    assert arrived != sorted(arrived)


async def test_dropped_events_never_come_and_are_counted(logged):
    async with world(logged, disorder=Disorder(drop=1)) as (container, events, queue):
        await container.upload_blob("a", b"")
        await messages(queue, 0, seconds=0.3)
        assert events.delivered.dropped == 1


async def test_an_outage_of_the_queue_only_delays(logged):
    async with world(logged) as (container, events, queue):
        await queue.delete_queue()
        await container.upload_blob("a", b"")
        await until(lambda: events.delivered.retried)
        assert events.pending == 1
        await queue.create_queue()
        assert len(await messages(queue, 1)) == 1
        await events.settled()


async def test_a_defect_of_the_stand_in_is_not_swallowed(logged):
    async def deliver_wrongly():
        async with world(logged, disorder=Disorder(shuffle="not a number")) as (container, events, _):
            await container.upload_blob("a", b"")
            await until(events.ended)

    with pytest.raises(ExceptionGroup):
        await deliver_wrongly()


async def test_events_come_within_tens_of_milliseconds(logged):
    async with world(logged) as (container, events, queue):
        delays = []
        for n in range(15):
            await container.upload_blob(f"{n}", b"")
            start = time.perf_counter()
            await until(lambda n=n: events.delivered.sent > n)
            delays.append(time.perf_counter() - start)
        assert len(await messages(queue, 15)) == 15
    assert statistics.median(delays) < 0.1  # 5 ms on an idle machine
