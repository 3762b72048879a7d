"""Real stores behind a gateway that lies: nothing is taken for gone, and all is right once it is over."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from urllib.parse import urlsplit

import pytest
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure import transport
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.bootstrap.clients import Clients
from sync.config import Settings
from sync.delivery.handlers import handle_object_message
from sync.errors import SourceGone, SyncError, TransientError
from sync.events import Sources, object_message
from sync.mapping.resource import study_id
from sync.model import Action, Change, FhirWrite, ObjectRef, StudyRef
from sync.pipeline import ingest, project_study
from sync.ports import Services
from sync.telemetry.telemetry import Telemetry
from sync.verify.repair import Budget, repair_study
from sync.verify.studies import check_study
from tests.integration.stand_ins.gateway import Gateway, Lie, gateway
from tests.worlds import MemoryWorld, dicom

LIES = {
    "404 html": Lie(status=404),
    "403 html": Lie(status=403),
    "409 html": Lie(status=409),
    "412 html": Lie(status=412),
    "410": Lie(status=410, body=b""),
    "413": Lie(status=413),
    "424": Lie(status=424),
    "429 a day": Lie(status=429, headers=(("Retry-After", "86400"),)),
    "503 absurd": Lie(status=503, headers=(("Retry-After", "9" * 300),)),
    "502 html": Lie(status=502),
    "200 html": Lie(status=200),
    "200 json": Lie(status=200, body=b"{}", headers=(("Content-Type", "application/json"),)),
    "200 another Bundle": Lie(
        status=200,
        body=b'{"resourceType": "Bundle", "type": "collection"}',
        headers=(("Content-Type", "application/fhir+json"),),
    ),
    "200 empty": Lie(status=200, body=b""),
    "204": Lie(status=204, body=b""),
    "302": Lie(status=302, headers=(("Location", "https://login.example/"),)),
    "cut": Lie(spoil="cut"),
    "short": Lie(spoil="short"),
    "encoding": Lie(spoil="encoding"),
    "reset": Lie(spoil="reset"),
    "strip": Lie(spoil="strip"),
}


@dataclass
class World:
    """A sync whose state and objects are in a real Azurite, each service behind a gateway."""

    services: Services
    gateways: list[Gateway]
    direct: BlobServiceClient
    account: str
    container: str
    study: StudyRef
    memory: MemoryWorld

    def lie(self, lie: Lie | None, *which: int) -> None:
        """Lie at every request of these services (0 blobs, 1 queues, 2 tables), and tell the truth at the others."""
        for index, stand_in in enumerate(self.gateways):
            stand_in.lie = (lambda method, target: lie) if index in which else (lambda method, target: None)

    async def put(self, name: str) -> ObjectRef:
        data = dicom(study=self.study.study_instance_uid, sop=f"{self.study.study_instance_uid}.1")
        await self.direct.get_blob_client(self.container, name).upload_blob(data, overwrite=True)
        return ObjectRef(account=self.account, container=self.container, name=name)

    def held(self) -> int:
        study = self.memory.server.peek("ImagingStudy", study_id(self.study))
        return study["numberOfInstances"] if study else 0


@pytest.fixture
async def w(azurite: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(transport, "LONGEST_SLEEP", 0.01)  # the libraries wait for seconds between their tries
    parts = dict(part.split("=", 1) for part in azurite.split(";") if part)
    endpoints = [f"{service}Endpoint" for service in ("Blob", "Queue", "Table")]
    container, memory = f"c{uuid.uuid4().hex[:12]}", MemoryWorld()
    async with contextlib.AsyncExitStack() as stack:
        gateways = []
        for name in endpoints:
            url = urlsplit(parts[name])
            made = await stack.enter_async_context(gateway(url.hostname, url.port))
            gateways.append(made)
            parts[name] = f"http://127.0.0.1:{made.port}{url.path}"
        settings = Settings(
            fhir_url="http://localhost:1/fhir",
            AzureWebJobsStorage=";".join(f"{name}={value}" for name, value in parts.items()),
            containers=(container,),
            quiet_period=0,
            max_wait=0,
        )
        clients = Clients(settings, Telemetry())
        stack.push_async_callback(clients.close)
        tables, queues, blobs = clients.tables(), clients.queues(), clients.blobs()
        await tables.ensure()
        await queues.ensure()
        direct = await stack.enter_async_context(BlobServiceClient.from_connection_string(azurite))
        await direct.create_container(container)
        names = {field.name for field in fields(Services)} & vars(tables).keys()
        services = replace(
            memory.services,
            settings=settings,
            objects=blobs,
            study_queue=queues,
            object_queue=queues,
            queues=queues,
            **{name: getattr(tables, name) for name in names},
        )
        study = StudyRef(study_instance_uid=f"2.25.{uuid.uuid4().int}")
        yield World(services, gateways, direct, blobs.account, container, study, memory)


async def outcome(call):
    try:
        return await call
    except SyncError as failure:
        return failure


async def test_whatever_the_gateway_says_every_port_answers_the_truth_or_an_outage(w):
    ref = await w.put("a.dcm")
    s = w.services
    await ingest(Change(object=ref, action=Action.CREATED), s)
    missing = replace(ref, name="missing.dcm")
    calls = {
        "read": lambda: s.objects.read(ref, start=0, length=64),
        "etag": lambda: s.objects.etag(ref),
        "locator": lambda: s.locators.read(ref),
        "no locator": lambda: s.locators.read(missing),
        "ledger": lambda: s.ledger.read(w.study),
        "dirty": lambda: s.dirty.read(w.study),
        "projection": lambda: s.projections.read(w.study),
        "dead letters": lambda: s.dead_letters.page(limit=5),
        "length": s.queues.depths,
    }
    truths = {name: await outcome(call()) for name, call in calls.items()}
    for which, lie in LIES.items():
        w.lie(lie, 0, 1, 2)
        answers = dict(zip(calls, await asyncio.gather(*(outcome(call()) for call in calls.values())), strict=True))
        for name, answer in answers.items():
            told = f"{which}, {name}: {answer!r}"
            assert answer == truths[name] or isinstance(answer, TransientError), told
            assert getattr(answer, "code", "") != "sync.unexpected", told
    assert sum(stand_in.told for stand_in in w.gateways) >= len(calls) * len(LIES)


async def test_no_event_and_no_repair_removes_what_a_gateway_hides(w):
    ref = await w.put("a.dcm")
    s, sources = w.services, Sources(account=w.account, containers=frozenset({w.container}))
    await ingest(Change(object=ref, action=Action.CREATED), s)
    await project_study(w.study, s)
    assert w.held() == 1
    for name in ("404 html", "200 html", "cut", "strip"):
        w.lie(LIES[name], 0)
        await handle_object_message(object_message(ref), sources, s)
        for work in (check_study(w.study, s), repair_study(w.study, [], Budget(9), s)):
            with contextlib.suppress(TransientError):
                await work
        with contextlib.suppress(TransientError):
            await project_study(w.study, s, redelivered=True)
        assert w.held() == 1, name
    w.lie(None)
    await ingest(Change(object=ref, action=Action.CREATED), s, redelivered=True)
    await project_study(w.study, s, redelivered=True)
    assert w.held() == 1
    await w.direct.get_blob_client(w.container, "a.dcm").delete_blob()
    with pytest.raises(SourceGone):
        await s.objects.etag(ref)
    await ingest(Change(object=ref, action=Action.DELETED), s, redelivered=True)
    await project_study(w.study, s, redelivered=True)
    assert w.held() == 0, "what the store itself says is gone goes"


async def test_stored_bytes_are_read_as_they_are_stored_whatever_their_encoding_says(w):
    from azure.storage.blob import ContentSettings

    data = dicom(study=w.study.study_instance_uid)
    settings = ContentSettings(content_encoding="gzip")
    await w.direct.get_blob_client(w.container, "a.dcm").upload_blob(data, content_settings=settings)
    ref = ObjectRef(account=w.account, container=w.container, name="a.dcm")
    assert (await w.services.objects.read(ref, start=0, length=len(data))).data == data
    await ingest(Change(object=ref, action=Action.CREATED), w.services)
    await project_study(w.study, w.services)
    assert w.held() == 1


@pytest.fixture(params=["fhir_embedded", "hapi"])
async def fhir(request) -> AsyncIterator[tuple[HttpFhirServer, Gateway]]:
    url = urlsplit(request.getfixturevalue(request.param))

    async def at_once(seconds: float) -> None:
        assert seconds <= 2

    async with gateway(url.hostname, url.port) as made:
        server = HttpFhirServer(f"http://127.0.0.1:{made.port}{url.path}", telemetry=Telemetry(), sleep=at_once)
        yield server, made
        await server.aclose()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_fhir_service_behind_a_gateway_answers_the_truth_or_an_outage(fhir, lie):
    server, before = fhir
    identifier = {"system": "urn:test", "value": uuid.uuid4().hex}
    patient = {"resourceType": "Patient", "id": f"pt-{uuid.uuid4().hex}", "identifier": [identifier]}
    await server.transact([FhirWrite(resource_type="Patient", resource_id=patient["id"], resource=patient)])
    assert await server.read("Patient", "never-was") is None, "its own 404 is believed"
    before.lie = lambda method, target: lie
    calls = {
        "read": server.read("Patient", patient["id"]),
        "read_all": server.read_all([f"Patient/{patient['id']}"]),
        "search": server.search("Patient", "urn:test", identifier["value"]),
        "delete": server.transact([FhirWrite(resource_type="Patient", resource_id=patient["id"])]),
    }
    for name, call in calls.items():
        answer = await outcome(call)
        if isinstance(answer, SyncError):
            assert isinstance(answer, TransientError), f"{name}: {answer!r}"
        elif name != "delete":
            assert answer, f"{name}: {answer!r}"
