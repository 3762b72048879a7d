"""The stand-in speaks the documented protocol of the change feed, and our client reads it."""

import asyncio
from datetime import timedelta
from urllib.parse import urlencode

import httpx
import pytest
from aiohttp import web

from local.dicom_service import StandIn, metadata_of
from sync.adapters.http.dicom.service import DicomService
from sync.adapters.http.dicom.web import DicomWeb
from sync.dicom.instance_names import instance_ref
from sync.errors import SourceGone, SourceUnavailable
from sync.feeds import dicom_windows
from sync.model import StudyRef
from sync.telemetry.telemetry import Telemetry
from sync.testing.clock import ManualClock
from sync.testing.dicom import MemoryDicomService
from tests.dicom_services import described, instance, uid
from tests.e2e.files import made


class Served:
    """A stand-in that is served, a plain client of it, and ours."""

    def __init__(self, stand_in, url, token=None):
        self.service, self.url = stand_in.service, url
        self.http = httpx.AsyncClient(base_url=url)
        self.web = DicomWeb(url, setting="DICOM_SYNC_DICOM_URL", telemetry=Telemetry(), tokens=token)
        self.ours = DicomService(self.web, url)

    async def get(self, path, **parameters):
        return await self.http.get(f"{path}?{urlencode(parameters)}")

    async def sequences(self, path="/v2/changefeed", **parameters):
        answer = await self.get(path, **parameters)
        return [entry["sequence"] for entry in answer.raise_for_status().json()]


@pytest.fixture
async def served():
    stand_in = StandIn(MemoryDicomService(ManualClock()))
    runner = web.AppRunner(stand_in.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    made_ = Served(stand_in, f"http://{host}:{port}")
    yield made_
    await made_.http.aclose()
    await made_.web.aclose()
    await runner.cleanup()


def fill(service, count):
    for sop in range(count):
        service._clock.advance(1)
        service.store(instance(1, sop))


async def test_version_2_pages_by_rows_of_a_window_and_version_1_by_sequences(served):
    fill(served.service, 3)
    served.service.skip(20)
    fill(served.service, 0)
    served.service.store(instance(2, 1))
    assert await served.sequences(offset=1, limit=2) == [2, 3]
    assert await served.sequences(offset=3) == [24]
    assert await served.sequences(offset=4) == []
    assert await served.sequences("/v1/changefeed") == [1, 2, 3]
    assert await served.sequences("/v1/changefeed", offset=3, limit=10) == [], "more follows an empty page"
    assert await served.sequences("/v1/changefeed", offset=14, limit=10) == [24]


async def test_windows_hold_their_start_and_not_their_end_and_must_say_their_zone(served):
    fill(served.service, 3)
    second = served.service.rows[1].at
    assert await served.sequences(startTime=second.isoformat()) == [2, 3]
    assert await served.sequences(endTime=second.isoformat()) == [1]
    later = (second + timedelta(hours=1)).isoformat().replace("+00:00", "+01:00")
    assert await served.sequences(startTime=later) == [2, 3]
    for wrong in (
        {"startTime": "2026-01-01T00:00:00"},
        {"startTime": "yesterday"},
        {"startTime": second.isoformat(), "endTime": second.isoformat()},
        {"limit": 201},
        {"limit": 0},
        {"offset": -1},
        {"limit": "many"},
    ):
        assert (await served.get("/v2/changefeed", **wrong)).status_code == 400
    assert (await served.get("/v1/changefeed", limit=101)).status_code == 400


async def test_states_say_what_is_now(served):
    service = served.service
    states = lambda: [row["state"] for row in map(service.entry, service.rows)]  # noqa: E731
    service.store(instance())
    assert states() == ["Current"]
    service.delete("", uid(1))
    assert states() == ["Deleted", "Deleted"]
    assert "metadata" not in service.entry(service.rows[0])
    service.store(instance())
    assert states() == ["Replaced", "Replaced", "Current"]
    assert service.entry(service.rows[1])["metadata"] == instance()
    service.update("", uid(1), described("new"))
    assert states() == ["Replaced"] * 3 + ["Current"]
    assert service.entry(service.rows[0])["metadata"] == instance() | described("new")
    answer = (await served.get("/v2/changefeed/latest")).json()
    assert (answer["sequence"], answer["action"]) == (4, "Update")


async def test_an_empty_feed_has_no_latest_entry(served):
    assert (await served.get("/v2/changefeed/latest")).json() is None
    assert await served.ours.page() == []


async def test_our_client_reads_metadata_and_studies_of_it(served):
    for sop in range(3):
        served.service.store(instance(1, sop), "north")
    ref = instance_ref(served.ours.account, "north", uid(1), uid(1, 1), uid(1, 1, 2))
    assert (await served.ours.metadata(ref)).dataset == instance(1, 2)
    refs = [ref async for ref in served.ours.objects_of(StudyRef(study_instance_uid=uid(1), partition="north"))]
    assert len(refs) == 3
    assert [ref async for ref in served.ours.objects_of(StudyRef(study_instance_uid=uid(1)))] == []
    await served.http.delete(f"/v2/partitions/north/studies/{uid(1)}")
    with pytest.raises(SourceGone):
        await served.ours.metadata(ref)


async def test_our_client_walks_a_feed_of_many_pages(served):
    fill(served.service, 450)
    seen = [
        entry.change.sequence async for page in dicom_windows.pages(served.ours, start=None, end=None) for entry in page
    ]
    assert seen == list(range(1, 451))
    start, end = served.service.rows[100].at, served.service.rows[200].at
    seen = [
        entry.change.sequence async for page in dicom_windows.pages(served.ours, start=start, end=end) for entry in page
    ]
    assert seen == list(range(101, 201))


async def test_files_are_stored_updated_and_deleted_over_http(served):
    content = made(uid(9), uid(9, 1), uid(9, 1, 1), patient="P9", PatientName="Doe^Jane")
    assert (await served.http.post("/v2/studies", content=content)).status_code == 200
    assert (await served.http.post("/v2/studies", content=content)).status_code == 409
    assert (await served.http.post("/v2/studies", content=b"no DICOM")).status_code == 409
    parts = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--x--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    assert (await served.http.post("/v2/partitions/p/studies", content=parts, headers=kind)).status_code == 200
    await served.http.post("/control/update", json={"study": uid(9), "changes": described("new")})
    await served.http.post("/control/skip", json={"sequences": 5})
    await served.http.delete(f"/v2/studies/{uid(9)}")
    entries = (await served.get("/v2/changefeed")).json()
    assert [(entry["action"], entry["state"], entry["sequence"]) for entry in entries] == [
        ("Create", "Deleted", 1),
        ("Create", "Current", 2),
        ("Update", "Deleted", 3),
        ("Delete", "Deleted", 9),
    ]
    assert entries[1]["partitionName"] == "p"
    assert entries[1]["metadata"] == metadata_of(content)


async def test_it_fails_on_demand_and_wants_its_token(served):
    ask = {"status": 429, "seconds": 0.3, "retry_after": 7}
    await served.http.post("/control/fail", json=ask)
    with pytest.raises(SourceUnavailable) as caught:
        await served.ours.page()
    assert (caught.value.code, caught.value.retry_after) == ("source.throttled", 7)
    await asyncio.sleep(0.35)
    assert await served.ours.page() == []
    guarded = StandIn(token="t")
    request = httpx.AsyncClient  # a server of its own, with a token
    runner = web.AppRunner(guarded.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0][:2])
    async with request(base_url=url) as client:
        assert (await client.get("/v2/changefeed")).status_code == 401
        assert (await client.get("/v2/changefeed", headers={"Authorization": "Bearer t"})).status_code == 200
    await runner.cleanup()
