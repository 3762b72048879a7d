"""The change feed of a storage account, in memory and made by hand in Azurite."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.adapters.azure import blob_feed as azure_blob_feed
from sync.adapters.azure.blob_feed import AzureBlobFeed
from sync.errors import FeedMalformed, FeedMissing
from sync.testing.feed import MemoryBlobFeed
from tests.change_feed import HandmadeFeed, record

HOUR = timedelta(hours=1)
FIRST = datetime(2026, 3, 4, 5, tzinfo=UTC)


class InMemory:
    def __init__(self):
        self.feed = MemoryBlobFeed(portion=2)

    def put(self, begin, shards, **more):
        self.feed.put(begin, shards, **more)

    def consumable(self, at):
        self.feed.last_consumable = at

    def remove(self):
        self.feed.present = False


class InAzurite:
    def __init__(self, connection, service):
        self.made = HandmadeFeed(connection)
        self.made.begin()
        self.feed = AzureBlobFeed(service)
        self.consumable(FIRST + 1000 * HOUR)

    def put(self, begin, shards, **more):
        self.made.put(begin, shards, chunks=3, **more)

    def consumable(self, at):
        self.made.consumable(at)

    def remove(self):
        self.made.end()


@pytest.fixture
def kept(request, storage, azurite_client, monkeypatch):
    if azurite_client is None:
        yield InMemory()
        return
    monkeypatch.setattr(azure_blob_feed, "PORTION", 2)
    kept = InAzurite(request.getfixturevalue("azurite"), azurite_client)
    yield kept
    kept.remove()


async def read(kept, start=FIRST, end=FIRST + 1000 * HOUR):
    segments = []
    async for segment in kept.feed.segments(start, end):
        names = []
        async for portion in kept.feed.records(segment):
            assert len(portion) <= 2
            names += [event["subject"].rpartition("/")[2] for event in portion]
        segments.append((segment.begin, segment.finished, names))
    return segments


async def test_segments_come_in_order_with_the_records_of_all_their_shards(kept):
    kept.put(FIRST + HOUR, {"01": [record("d", FIRST)], "00": [record(name, FIRST) for name in "abc"]})
    kept.put(FIRST, {"00": [record("z", FIRST)]})
    assert await read(kept) == [(FIRST, True, ["z"]), (FIRST + HOUR, True, ["a", "b", "c", "d"])]


async def test_only_segments_of_the_window_are_read(kept):
    for number in range(30):
        kept.put(FIRST + number * HOUR, {})
    segments = await read(kept, FIRST + HOUR, FIRST + 26 * HOUR)
    assert [begin for begin, _, _ in segments] == [FIRST + number * HOUR for number in range(1, 26)]


async def test_what_may_not_be_consumed_yet_is_not_read(kept):
    for number in range(3):
        kept.put(FIRST + number * HOUR, {"00": [record(str(number), FIRST)]})
    kept.consumable(FIRST + HOUR)
    assert [names for _, _, names in await read(kept)] == [["0"], ["1"]]


async def test_a_segment_that_still_grows_says_so(kept):
    kept.put(FIRST, {"00": [record("a", FIRST)]}, finished=False)
    assert await read(kept) == [(FIRST, False, ["a"])]


async def test_a_shard_without_any_record_is_no_end(kept):
    kept.put(FIRST, {"00": [], "01": [record("a", FIRST)], "02": []})
    assert await read(kept) == [(FIRST, True, ["a"])]


async def test_many_records_come_in_portions_that_are_the_same_each_time(kept):
    kept.put(FIRST, {"00": [record(f"{number:02}", FIRST) for number in range(10)]})
    first = await read(kept)
    assert first == await read(kept) == [(FIRST, True, [f"{number:02}" for number in range(10)])]


async def test_an_account_without_a_feed_says_so(kept, storage):
    kept.remove()
    with pytest.raises(FeedMissing):
        await read(kept)
    if isinstance(kept, InAzurite):
        kept.made.begin()  # the container is there and nothing was ever written: turned on a moment ago
        with pytest.raises(FeedMissing):
            await read(kept)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("meta/Segments.json", b"{"),
        ("meta/Segments.json", b"[]"),
        ("meta/Segments.json", b'{"lastConsumable": "soon"}'),
        ("idx/segments/2026/03/04/0500/meta.json", b"no"),
        ("idx/segments/2026/03/04/0500/meta.json", b'{"status": "Finalized"}'),
        ("idx/segments/2026/03/04/0500/meta.json", b'{"chunkFilePaths": ["../dicom/"]}'),
        ("log/00/2026/03/04/0500/00000.avro", b"Obj\x01garbage"),
        ("log/00/2026/03/04/0500/00000.avro", b"\x00" * 100),
    ],
)
async def test_a_feed_that_is_not_as_documented_is_told_apart_from_an_outage(kept, name, data):
    if isinstance(kept, InMemory):
        return  # it holds values, not bytes
    kept.put(FIRST, {"00": [record("a", FIRST)]})
    kept.made.write(name, data)
    with pytest.raises(FeedMalformed):
        await read(kept)


async def test_a_chunk_of_no_bytes_has_no_records(kept):
    if isinstance(kept, InMemory):
        return
    kept.put(FIRST, {"00": [record("a", FIRST)]})
    kept.made.write("log/00/2026/03/04/0500/00001.avro", b"")
    assert await read(kept) == [(FIRST, True, ["a"])]
