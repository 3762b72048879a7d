"""A DICOM service, a real Orthanc and the blob change feed behind a gateway that lies: the truth or an outage."""

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from aiohttp import web
from azure.storage.blob.aio import BlobServiceClient

from local.dicom_service import StandIn
from local.orthanc import orthanc_server
from local.samples import samples
from sync.adapters.azure import transport
from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.transport import StorageTransport
from sync.adapters.http.dicom.orthanc import Orthanc
from sync.adapters.http.dicom.service import DicomService
from sync.adapters.http.dicom.web import DicomWeb, OrthancWeb
from sync.dicom.instance_names import instance_ref
from sync.errors import SourceGone, SourceUnavailable, SyncError
from sync.feeds.orthanc import changes_of
from sync.model import StudyRef
from sync.telemetry.telemetry import Telemetry
from sync.testing.clock import ManualClock
from sync.testing.dicom import MemoryDicomService
from tests.change_feed import HandmadeFeed, record
from tests.dicom_services import instance, uid
from tests.integration.stand_ins.gateway import gateway
from tests.integration.test_lying_gateway import LIES


async def at_once(seconds):
    await asyncio.sleep(0)


def asking(kind, url, **more):
    return kind(url, setting="DICOM_SYNC_DICOM_URL", telemetry=Telemetry(), sleep=at_once, **more)


async def listed(iterable):
    return {member async for member in iterable}


async def outcome(call):
    """Return what it answers; the type alone of what it raises."""
    try:
        return await call()
    except SyncError as failure:
        return type(failure)


async def holds_against_every_lie(calls, before):
    """Ask each call under each lie: it answers as without, or that the source is out of reach."""
    truths = {name: await outcome(call) for name, call in calls.items()}
    for which, lie in LIES.items():
        before.lie = lambda method, target, lie=lie: lie
        for name, call in calls.items():
            answer = await outcome(call)
            told = f"{which}, {name}: {answer!r}"
            is_outage = isinstance(answer, type) and issubclass(answer, SourceUnavailable)
            assert answer == truths[name] or is_outage, told
    before.lie = lambda method, target: None
    again = {name: await outcome(call) for name, call in calls.items()}
    assert again == truths
    assert before.told >= len(calls) * len(LIES)
    return truths


@pytest.fixture
async def service():
    stand_in = StandIn(MemoryDicomService(ManualClock()))
    for sop in range(3):
        stand_in.service.store(instance(1, sop))
    runner = web.AppRunner(stand_in.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with gateway(host, port) as before:
        url = f"http://127.0.0.1:{before.port}"
        http = asking(DicomWeb, url)
        yield DicomService(http, url), before
        await http.aclose()
    await runner.cleanup()


async def test_a_dicom_service_answers_the_truth_or_is_out_of_reach(service):
    ours, before = service
    ref = instance_ref(ours.account, "", uid(1), uid(1, 1), uid(1, 1, 1))
    missing = instance_ref(ours.account, "", uid(1), uid(1, 1), uid(1, 1, 99))
    study = StudyRef(study_instance_uid=uid(1))
    truths = await holds_against_every_lie(
        {
            "metadata": lambda: ours.metadata(ref),
            "of none": lambda: ours.metadata(missing),
            "feed": ours.page,
            "study": lambda: listed(ours.objects_of(study)),
        },
        before,
    )
    assert truths["of none"] is SourceGone
    assert len(truths["study"]) == 3


@pytest.fixture(scope="module", params=[True, False], ids=["dicomweb", "rest"])
def orthanc(request):
    sample = next(sample for sample in samples() if sample.identity)
    with orthanc_server(dicomweb=request.param) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield server.url, client.post("/instances", content=sample.content).json()["ID"], sample.identity.study


async def test_an_orthanc_answers_the_truth_or_is_out_of_reach(orthanc):
    url, identifier, study = orthanc
    parts = urlsplit(url)
    async with gateway(parts.hostname, parts.port) as before:
        through = f"http://127.0.0.1:{before.port}"
        http = asking(OrthancWeb, through)
        ours = Orthanc(http, through)

        async def changes():
            page = changes_of(await ours.changes(0, 100), ours, 0)
            return {change.object for change in page.changes}

        truths = await holds_against_every_lie(
            {
                "metadata": lambda: ours.metadata(ours.ref(identifier)),
                "of none": lambda: ours.metadata(ours.ref("0-0-0-0-0")),
                "changes": changes,
                "list": lambda: listed(ours.held()),
                "study": lambda: listed(ours.objects_of(StudyRef(study_instance_uid=study))),
            },
            before,
        )
        await http.aclose()
    assert truths["of none"] is SourceGone
    assert truths["list"] == truths["study"] == truths["changes"] == {ours.ref(identifier)}


HOUR = datetime(2026, 3, 4, 5, tzinfo=UTC)


async def test_the_change_feed_of_a_real_account_is_whole_or_out_of_reach(azurite, monkeypatch):
    monkeypatch.setattr(transport, "LONGEST_SLEEP", 0.01)
    feed = HandmadeFeed(azurite)
    feed.begin()
    feed.put(HOUR, {"00": [record(f"{number}", HOUR) for number in range(400)]})
    feed.consumable(HOUR + timedelta(hours=2))
    settings = dict(part.split("=", 1) for part in azurite.split(";") if part)
    parts = urlsplit(settings["BlobEndpoint"])
    async with gateway(parts.hostname, parts.port) as before:
        settings["BlobEndpoint"] = f"http://127.0.0.1:{before.port}{parts.path}"
        text = ";".join(f"{name}={value}" for name, value in settings.items())
        client = BlobServiceClient.from_connection_string(text, transport=StorageTransport(), retry_total=0)
        blobs = AzureBlobs(client, account="devstoreaccount1", containers=["dicom"])

        async def records():
            subjects = []
            async for segment in blobs.feed.segments(HOUR, HOUR + timedelta(hours=1)):
                async for portion in blobs.feed.records(segment):
                    subjects += [event["subject"] for event in portion]
            return subjects

        truths = await holds_against_every_lie({"records": records}, before)
        await blobs.close()
    assert len(truths["records"]) == 400
    feed.end()
