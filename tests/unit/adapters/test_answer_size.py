"""An answer that never ends, or that inflates without bound, is an outage and not the end of the process."""

from __future__ import annotations

import gzip

import httpx
import pytest

from sync.adapters.http import remote
from sync.adapters.http.dicom.web import DicomWeb
from sync.errors import SourceUnavailable
from sync.telemetry.telemetry import Telemetry

MOST = 1000


class Answer(httpx.AsyncByteStream):
    """Bytes without end; counts those that were read, and whether it was closed."""

    def __init__(self, parts):
        self.parts, self.read, self.closed = parts, 0, False

    async def __aiter__(self):
        for part in self.parts:
            self.read += len(part)
            yield part

    async def aclose(self):
        self.closed = True


def endless():
    while True:
        yield b" " * 100


def service(answer, **headers):
    def respond(request):
        return httpx.Response(200, headers=headers, stream=answer)

    async def no_sleep(seconds):
        return None

    return DicomWeb(
        "http://localhost/dicom",
        telemetry=Telemetry(),
        transport=httpx.MockTransport(respond),
        sleep=no_sleep,
        setting="DICOM_SYNC_DICOM_URL",
    )


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(remote, "LARGEST_ANSWER", MOST)


async def test_an_endless_answer_is_cut_off_and_its_connection_closed():
    answer = Answer(endless())
    with pytest.raises(SourceUnavailable, match="too large"):
        await service(answer).get("/studies")
    assert answer.closed


async def test_an_answer_counts_as_it_is_inflated():
    packed = gzip.compress(b" " * 1_000_000)
    assert len(packed) < 2 * MOST
    answer = Answer([packed])
    with pytest.raises(SourceUnavailable, match="too large"):
        await service(answer, **{"Content-Encoding": "gzip"}).get("/studies")
    assert answer.closed


async def test_an_answer_within_bounds_is_read_whole():
    answer = Answer([b"[1, ", b"2]" + b" " * (MOST - 6)])
    assert await service(answer).get("/studies") == [1, 2]
    assert answer.closed
