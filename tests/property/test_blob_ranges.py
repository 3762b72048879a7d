"""Ranges that we ask for ourselves against the library's own: the same request, and the same word for an answer."""

import asyncio

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob.aio import BlobServiceClient
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.adapters.azure.blob_ranges import TRIES, read_range
from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.transport import StorageTransport
from sync.errors import SyncError
from sync.model import ObjectRef
from tests.property import examples
from tests.simulation.gateway.blob_service import BlobSession
from tests.simulation.gateway.lies import Answer, Reset
from tests.simulation.gateway.virtual_time import run

KEY = AzureNamedKeyCredential("memory", "a2V5")
HOST = "https://memory.blob.core.windows.net"
WHOLE = Answer(
    206,
    {
        "x-ms-request-id": "1",
        "ETag": '"0x8D"',
        "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT",
        "Content-Range": "bytes 10-13/200",
        "Content-Length": "4",
        "x-ms-copy-status": "pending",
        "x-ms-meta-Hdi_IsFolder": "true",
    },
    b"abcd",
)


async def asked_of(account, read, answers):
    """Return the requests, and what became of the last."""
    asked, left = [], list(answers)

    async def line(one):
        asked.append(one)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = StorageTransport(session=BlobSession(line))
    credential = None if "?" in account else KEY
    async with BlobServiceClient(account, credential=credential, transport=transport, retry_total=0) as service:
        try:
            return asked, await read(service)
        except AzureError as problem:
            return asked, (getattr(problem, "status_code", None), problem.__class__.__mro__[-3:])


def ours(container, name, etag):
    return lambda service: read_range(service, container, name, start=10, length=4, etag=etag)


def library(container, name, etag):
    async def read(service):
        condition = {"if_match": etag} if etag else {}
        blob = service.get_blob_client(container, name)
        download = await blob.download_blob(offset=10, length=4, decompress=False, **condition)
        return await download.readall()

    return read


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=examples(60))
@given(NAMES, st.sampled_from(["dicom", "$web"]), st.sampled_from([HOST, f"{HOST}/?sv=2026&sig=a%2Fb"]))
def test_the_address_and_the_range_are_the_librarys(name, container, account):
    (one,), _ = run(asked_of(account, ours(container, name, None), [WHOLE]))
    (other,), _ = run(asked_of(account, library(container, name, None), [WHOLE]))
    assert (one.method, one.path, one.query) == (other.method, other.path, other.query)
    told = ("x-ms-range", "x-ms-version", "Accept")
    assert [one.headers[header] for header in told] == [other.headers[header] for header in told]
    assert ("Authorization" in one.headers) == ("Authorization" in other.headers)


def test_an_answer_is_read_to_its_headers():
    (asked,), piece = run(asked_of(HOST, ours("dicom", "a/b.dcm", "0x8D"), [WHOLE]))
    assert asked.headers["If-Match"] == '"0x8D"'
    assert (piece.data, piece.etag, piece.size, piece.copy_status) == (b"abcd", '"0x8D"', 200, "pending")
    assert piece.metadata == {"hdi_isfolder": "true"}
    assert piece.last_modified.isoformat() == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize("status", [304, 400, 403, 404, 409, 412, 416, 500, 503])
def test_what_is_refused_keeps_its_status_and_code(status):
    answer = Answer(status, {"x-ms-request-id": "1", "x-ms-error-code": "Named"}, b"")
    _, (told, _) = run(asked_of(HOST, ours("dicom", "x", None), [answer]))
    assert told == status


def test_bytes_that_break_off_are_asked_for_again_and_not_for_ever():
    cut = Answer(206, {**WHOLE.headers, "Content-Length": "9"}, b"ab")
    asked, piece = run(asked_of(HOST, ours("dicom", "x", None), [cut, WHOLE]))
    assert (len(asked), piece.data) == (2, b"abcd")
    asked, (status, _) = run(asked_of(HOST, ours("dicom", "x", None), [cut]))
    assert len(asked) == TRIES
    assert status is None or status == 206


@pytest.mark.parametrize("gone", ["Content-Range", "Last-Modified", "ETag"])
def test_an_answer_that_is_no_range_is_garbled(gone):
    short = Answer(200, {name: value for name, value in WHOLE.headers.items() if name != gone}, b"abcd")
    with pytest.raises(AzureError) as caught:
        asyncio.run(_read(short))
    assert not isinstance(caught.value, HttpResponseError) or caught.value.status_code is None


class Endless:
    """A body of many gigabytes, of which is counted what was read."""

    def __init__(self):
        self.read_bytes = 0

    def __len__(self):
        return 2**40

    def __bool__(self):
        return True

    def __getitem__(self, part):
        if part.start:
            return self
        self.read_bytes += part.stop
        return b"x" * part.stop


@pytest.mark.parametrize("told", [{"Content-Range": "bytes 10-13/200"}, {}], ids=["range", "whole"])
def test_no_more_of_an_answer_is_read_than_was_asked_for(told):
    body = Endless()
    headers = {name: value for name, value in WHOLE.headers.items() if not name.startswith("Content-")}
    asked, (status, _) = run(asked_of(HOST, ours("dicom", "x", None), [Answer(200, {**headers, **told}, body)]))
    assert (len(asked), status) == (1, None)
    assert body.read_bytes < 2**20


@pytest.mark.parametrize("etag", ["0x8D", "0x8E"])
def test_a_range_of_another_version_is_a_changed_object(etag):
    """What takes no conditions, such as a cache, answers with the version that it has."""

    async def read(service):
        blobs = AzureBlobs(service, account="memory", containers=["dicom"])
        ref = ObjectRef(account="memory", container="dicom", name="x")
        try:
            return (await blobs.read(ref, start=10, length=4, etag=etag)).data
        except SyncError as failure:
            return failure.code

    headers = {**WHOLE.headers, "x-ms-copy-status": "success"}
    _, answer = run(asked_of(HOST, read, [Answer(206, headers, b"abcd")]))
    assert answer == (b"abcd" if etag == "0x8D" else "source.changed")


async def _read(answer):
    async def line(_):
        return answer

    transport = StorageTransport(session=BlobSession(line))
    async with BlobServiceClient(HOST, credential=KEY, transport=transport, retry_total=0) as service:
        await read_range(service, "dicom", "x", start=10, length=4)


def test_a_connection_that_is_reset_is_no_answer():
    _, (status, _) = run(asked_of(HOST, ours("dicom", "x", None), [Reset()]))
    assert status is None
