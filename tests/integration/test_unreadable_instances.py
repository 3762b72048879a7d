"""A DICOM service over HTTP with an instance in its middle that it cannot read back; readers are killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import random

import httpx
import pytest
from aiohttp import web

from local.dicom_service import StandIn
from sync.adapters.http.dicom.service import DicomService
from sync.adapters.http.dicom.web import DicomWeb
from sync.dicom.listing import held_objects
from sync.errors import StudyUnlisted
from sync.feeds.reader import read_dicom_feed
from sync.telemetry.telemetry import Telemetry
from sync.testing.dicom import MemoryDicomService
from tests.dicom_services import FeedWorld, study_ref, uid
from tests.headers import dicom_file, element

BAD, COUNT = 5, 9
LEASE = 31


def file_of(sop: int, *, modality: str = "CT", patient: str = "P1", thickness: str = "1.0") -> bytes:
    return dicom_file(
        element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2")
        + element(0x00080018, "UI", uid(1, 1, sop))
        + element(0x00080060, "CS", modality)
        + element(0x00100020, "LO", patient)
        + element(0x00180050, "DS", thickness)
        + element(0x0020000D, "UI", uid(1))
        + element(0x0020000E, "UI", uid(1, 1))
        + element(0x00700080, "CS", "A")
        + element(0x7FE00010, "OW", b"\0" * 300_000)
    )


async def soon(_: float) -> None:
    """Wait for nothing before a request is repeated."""


@pytest.fixture
async def world():
    made = FeedWorld()
    stand_in = StandIn(MemoryDicomService(made.clock))
    runner = web.AppRunner(stand_in.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    url = f"http://{host}:{port}"
    ours = DicomService(DicomWeb(url, setting="DICOM_SYNC_DICOM_URL", telemetry=Telemetry(), sleep=soon), url)
    made.url, made.service = url, stand_in.service
    object.__setattr__(made.services, "dicom_feed", ours)
    made.services.instances.clear()
    made.services.instances[ours.account] = ours
    made.ours = ours
    yield made
    await ours.aclose()
    await runner.cleanup()


async def store(world, **more) -> None:
    async with httpx.AsyncClient(base_url=world.url) as http:
        for sop in range(1, COUNT + 1):
            world.clock.advance(1)
            content = file_of(sop, thickness="8.0E28", **more) if sop == BAD else file_of(sop, **more)
            answer = await http.post("/v2/studies", content=content, headers={"Content-Type": "application/dicom"})
            assert answer.status_code in (200, 202)
        assert (await http.get("/v2/changefeed")).status_code == 503


async def test_the_feed_goes_on_whenever_its_reader_is_killed(world):
    await store(world)
    rng = random.Random(20)
    for _ in range(8):
        reader = asyncio.create_task(read_dicom_feed(world.services))
        await asyncio.sleep(rng.random() * 0.05)
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        world.clock.advance(LEASE)
    await read_dicom_feed(world.services)
    await world.settle()
    assert world.held(1) == {uid(1, 1, sop) for sop in range(1, COUNT + 1)}
    assert world.dead_letters() == []


async def test_what_was_dropped_comes_back_from_the_headers(world):
    await store(world, patient="HOSP\\1001", modality="ct")
    await read_dicom_feed(world.services)
    await world.settle()
    patients = [resource for resource in world.server.resources() if resource["resourceType"] == "Patient"]
    assert [patient["identifier"][0]["value"] for patient in patients] == ["HOSP\\1001"]
    study = next(resource for resource in world.server.resources() if resource["resourceType"] == "ImagingStudy")
    assert study["numberOfInstances"] == COUNT


async def test_its_study_is_listed_from_what_is_known(world):
    await store(world)
    with pytest.raises(StudyUnlisted):
        await held_objects(world.ours, study_ref(1), ())
    await read_dicom_feed(world.services)
    rows = await world.services.ledger.read(study_ref(1))
    known = [(await world.services.locators.find(row.object_key)).value.object for row in rows]
    assert len(await held_objects(world.ours, study_ref(1), known)) == COUNT
