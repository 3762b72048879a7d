"""What Azure Storage answers, cut or of something else by the way: an outage, never less than there is."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.export_files import AzureExportFiles
from sync.adapters.azure.transport import CLOCK_INTERVAL, StorageTransport
from sync.adapters.azure.undelivered_events import AzureUndeliveredEvents
from sync.errors import FeedMalformed, SourceUnavailable, StoreUnavailable
from sync.model import ObjectRef
from sync.ports import ClockOffset
from sync.testing.objects import MemoryObjects
from tests.change_feed import chunk, record
from tests.simulation.gateway.blob_service import URL, BlobService, BlobSession
from tests.simulation.gateway.lies import Answer
from tests.worlds import dicom

REF = ObjectRef(account="memory", container="dicom", name="a/1.dcm")
AT = datetime(2026, 3, 4, 5, 10, tzinfo=UTC)
FEED = "$blobchangefeed"
MOST_ASKED = 50
"""Pages after which a listing counts as read for ever."""


class Store:
    """A blob service in memory; ``spoil`` makes of an answer what arrives."""

    def __init__(self):
        self.objects = MemoryObjects()
        self.spoil = lambda asked, answer: answer
        self.service = BlobService(self.objects)
        self.offset = ClockOffset()
        self.transport = StorageTransport(session=BlobSession(self._send), offset=self.offset)
        self.client = BlobServiceClient(URL, transport=self.transport, retry_total=0)
        self.blobs = AzureBlobs(self.client, account="memory", containers=["dicom"])

    async def _send(self, asked):
        return self.spoil(asked, self.service.serve(asked))

    def put(self, name, data, container=FEED):
        self.objects.put(ObjectRef(account="memory", container=container, name=name), data)
        return self

    def cut(self, ending, kept):
        """Cut the body of what ends so, and make the length fit."""

        def spoil(asked, answer):
            if not asked.path.endswith(ending) or asked.method == "HEAD" or not answer.body:
                return answer
            body = kept(answer.body)
            return replace(answer, body=body, headers={**answer.headers, "Content-Length": str(len(body))})

        self.spoil = spoil


@pytest.fixture
async def store():
    made = Store()
    yield made
    await made.blobs.close()


async def outage(call):
    with pytest.raises(SourceUnavailable) as caught:
        await call
    return caught.value.code


def half(body):
    return body[: len(body) // 2]


async def test_fewer_bytes_than_were_announced_are_an_outage(store):
    data = dicom()
    store.put(REF.name, data, "dicom")
    assert (await store.blobs.read(REF, start=0, length=len(data))).data == data
    for kept in (half, lambda body: b"", lambda body: b"<html>blocked</html>"):
        store.cut("1.dcm", kept)
        for start in (0, 10):
            assert await outage(store.blobs.read(REF, start=start, length=50)) == "source.garbled"


async def test_another_part_of_a_blob_is_an_outage(store):
    store.put(REF.name, bytes(200), "dicom")

    def from_the_beginning(asked, answer):
        told = answer.headers["Content-Range"].replace("bytes 100-", "bytes 0-")
        return replace(answer, headers={**answer.headers, "Content-Range": told})

    store.spoil = from_the_beginning
    assert await outage(store.blobs.read(REF, start=100, length=50)) == "source.gateway"
    store.spoil = lambda asked, answer: Answer(
        200, {name: value for name, value in answer.headers.items() if name != "Content-Range"}, answer.body
    )
    assert await outage(store.blobs.read(REF, start=100, length=50)) == "source.garbled"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'ContainerName="dicom"', b'ContainerName="other"'),
        (b' ContainerName="dicom"', b""),
        (b"<NextMarker />", b"<NextMarker>again</NextMarker>"),
    ],
)
async def test_a_list_that_was_not_asked_for_is_no_list(store, old, new):
    store.put(REF.name, b"x", "dicom")
    assert [object_.object for object_ in (await store.blobs.page("dicom")).objects] == [REF]
    store.spoil = lambda asked, answer: replace(answer, body=answer.body.replace(old, new))
    assert await outage(store.blobs.page("dicom", token="again")) == "source.garbled"


MANIFEST = "idx/segments/2026/03/04/0500/meta.json"
CHUNK = "log/00/2026/03/04/0500/00000.avro"


async def read_feed(store):
    subjects = []
    async for segment in store.blobs.feed.segments(AT.replace(hour=0), AT.replace(hour=23)):
        async for records in store.blobs.feed.records(segment):
            subjects += [item["subject"].rpartition("/")[2] for item in records]
    return subjects


def in_a_circle(store):
    """Have the pages of a listing lead from A to B, and back to A."""
    asked = []

    def spoil(request, answer):
        if b"<NextMarker />" not in answer.body:
            return answer
        asked.append(request)
        assert len(asked) < MOST_ASKED, "read for ever"
        marker = b"<NextMarker>A</NextMarker>" if len(asked) % 2 else b"<NextMarker>B</NextMarker>"
        return replace(answer, body=answer.body.replace(b"<NextMarker />", marker))

    store.spoil = spoil


async def test_pages_that_lead_in_a_circle_are_an_outage_wherever_the_library_follows_them(store):
    with_feed(store, b"")
    in_a_circle(store)
    assert await outage(read_feed(store)) == "source.garbled"
    in_a_circle(store)
    with pytest.raises(StoreUnavailable) as caught:
        async for _ in AzureExportFiles(store.client, FEED).names("idx"):
            pass
    assert caught.value.code == "store.garbled"
    in_a_circle(store)
    with pytest.raises(StoreUnavailable) as caught:
        await AzureUndeliveredEvents(store.client, FEED).names(1000)
    assert caught.value.code == "store.garbled"


def with_feed(store, data):
    store.put("meta/Segments.json", b'{"lastConsumable": "2026-03-04T09:00:00.000Z"}')
    store.put(MANIFEST, b'{"status": "Finalized", "chunkFilePaths": ["$blobchangefeed/log/00/2026/03/04/0500/"]}')
    store.put(CHUNK, data)


async def test_a_part_of_the_feed_that_arrives_cut_is_an_outage_and_not_its_end(store):
    many = [record(f"{number:04}", AT) for number in range(300)]
    whole = chunk(many)
    with_feed(store, whole)
    assert len(await read_feed(store)) == 300
    block = whole.rindex(whole[-16:], 0, -16) + 16  # where a block ends: its marker is that of the file
    assert 0 < block < len(whole)
    for ending, kept in (
        (".avro", half),
        (".avro", lambda body: body[: min(block, len(body) - 1)]),
        (".avro", lambda body: body[:-1]),
        ("0500/meta.json", half),
        ("Segments.json", half),
    ):
        store.cut(ending, kept)
        assert await outage(read_feed(store)) == "source.garbled", ending


async def test_what_is_stored_so_is_not_as_documented(store):
    with_feed(store, chunk([record("a", AT)])[:-5])
    with pytest.raises(FeedMalformed):
        await read_feed(store)


async def test_a_list_in_another_coding_is_an_outage_though_it_fails_in_a_codec_of_python(store):
    store.put(REF.name, dicom(), "dicom")
    store.spoil = lambda _, answer: replace(answer, body=answer.body.decode().encode("utf-16"))
    assert await outage(store.blobs.page("dicom")) == "source.garbled"


@pytest.mark.parametrize(
    ("told", "more", "ahead"),
    [
        (timedelta(), {}, 0),
        (timedelta(minutes=-10), {}, 600),
        (timedelta(hours=1), {}, -3600),
        (timedelta(minutes=-10), {"Age": "600"}, None),
        (None, {}, None),
    ],
)
async def test_answers_tell_how_far_our_clock_is_from_that_of_storage(store, told, more, ahead, monkeypatch):
    date = {"Date": format_datetime(datetime.now(UTC) + told, usegmt=True) if told is not None else "yesterday"}
    store.put("log/1", b"x", container="dicom")
    store.spoil = lambda asked, answer: replace(answer, headers={**answer.headers, **date, **more})
    for _ in range(2):
        monkeypatch.setattr(store.transport, "_compared", -CLOCK_INTERVAL)
        assert store.offset.seconds_ahead is None, "one answer proves nothing"
        with suppress(SourceUnavailable):  # the library reads the date of a blob's answer too
            await store.blobs.read(ObjectRef(account="memory", container="dicom", name="log/1"), start=0, length=1)
    assert store.offset.seconds_ahead == (ahead if ahead is None else pytest.approx(ahead, abs=2))


def test_a_slow_answer_is_no_wrong_clock():
    offset = ClockOffset()
    for _ in range(2):
        offset.note(AT, sent=AT - timedelta(seconds=90), received=AT + timedelta(seconds=90))
    assert offset.seconds_ahead == 0


@pytest.mark.parametrize(
    ("aheads", "believed"),
    [
        ([3600], None),
        ([3600, 3600], 3600),
        ([3600, 3601], 3600),
        ([0, -315_360_000], 0),  # a gateway names a day in ten years, once
        ([0, -315_360_000, 0], 0),
        ([-3600, 315_360_000], 0),
        ([-3600, -315_360_000], -3600),
        ([3600, 3600, -315_360_000], 3600),
        ([3600, -315_360_000, 3600], 3600),
        ([3600, 3600, 0], 3600),  # the clock was set right while the process runs, or an answer is wrong
        ([3600, 3600, 0, 0], 0),
    ],
)
def test_one_answer_is_not_believed_about_the_time(aheads, believed):
    offset = ClockOffset()
    for ahead in aheads:
        ours = AT + timedelta(seconds=ahead)
        offset.note(AT, sent=ours, received=ours)
    assert offset.seconds_ahead == believed
