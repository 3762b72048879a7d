"""The file of an instance is read no further than its header takes, and its failures are ours."""

from __future__ import annotations

import httpx
import pytest

from sync.adapters.http.dicom.service import DicomService
from sync.config import HeaderLimits
from sync.dicom.header import read_stream
from sync.dicom.instance_names import instance_ref
from sync.errors import SourceGone, SourceUnavailable
from sync.model import InstanceRecord
from tests.dicom_services import uid
from tests.headers import PIXELS, dicom_file, element, identity
from tests.unit.adapters.test_dicom_web import URL, web

CHUNK, CHUNKS = 16 * 1024, 640
HEADER = dicom_file(identity(between=element(0x00100020, "LO", "P1")) + element(0x00700080, "CS", "A") + PIXELS)


class Content(httpx.AsyncByteStream):
    """Ten MiB of a file; counts what was taken of it."""

    def __init__(self, *, breaks_at: int = CHUNKS) -> None:
        self.taken, self.closed, self.breaks_at = 0, False, breaks_at

    async def __aiter__(self):
        for number in range(CHUNKS):
            if number == self.breaks_at:
                raise httpx.ReadError("cut")
            self.taken += 1
            yield HEADER.ljust(CHUNK, b"\0") if number == 0 else bytes(CHUNK)

    async def aclose(self) -> None:
        self.closed = True


async def read(*answers):
    """Read the header of an instance from these answers, one after the other."""
    requests = []

    def server(request):
        requests.append(request)
        return answers[min(len(requests), len(answers)) - 1]

    service = DicomService(web(server), URL)
    ref = instance_ref(service.account, "", uid(1), uid(1, 1), uid(1, 1, 1))
    async with service.content(ref) as chunks:
        return await read_stream(chunks, HeaderLimits()), requests


async def test_the_connection_is_closed_once_the_header_is_whole():
    content = Content()
    record, requests = await read(httpx.Response(200, stream=content))
    assert isinstance(record, InstanceRecord)
    assert record.attributes["PatientID"] == ["P1"]
    assert content.taken <= HeaderLimits().first_read_bytes // CHUNK + 1
    assert content.closed
    assert requests[0].headers["Accept"] == "application/dicom; transfer-syntax=*"


async def test_a_failure_that_passes_costs_a_repetition():
    record, requests = await read(httpx.Response(503), httpx.Response(200, stream=Content()))
    assert isinstance(record, InstanceRecord)
    assert len(requests) == 2


async def test_a_named_default_partition_is_found():
    record, requests = await read(httpx.Response(400), httpx.Response(200, stream=Content()))
    assert isinstance(record, InstanceRecord)
    assert "/partitions/Microsoft.Default/" in requests[1].url.path


@pytest.mark.parametrize(
    ("status", "failure", "code"),
    [
        (404, SourceGone, None),
        (503, SourceUnavailable, "source.unavailable"),
        (406, SourceUnavailable, "source.refused"),
    ],
)
async def test_what_is_no_file_is_one_of_our_errors(status, failure, code):
    with pytest.raises(failure) as problem:
        await read(httpx.Response(status))
    assert code is None or problem.value.code == code


async def test_a_transfer_that_breaks_is_an_outage():
    with pytest.raises(SourceUnavailable, match="connection ended"):
        await read(httpx.Response(200, stream=Content(breaks_at=1)))
