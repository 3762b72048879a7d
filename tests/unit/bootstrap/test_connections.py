"""Each service is tried, whatever became of the others, and what a refusal lacks is said."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from sync.adapters.azure.errors import ROLES_FOR_SOURCE, ROLES_FOR_STATE
from sync.adapters.http.fhir.capabilities import capabilities_in
from sync.bootstrap import connections
from sync.bootstrap.connections import tried
from sync.errors import FhirUnavailable, SourceGone, SourceUnavailable, StoreUnavailable
from sync.events import Sources
from sync.ports import Caches
from sync.testing.objects import MemoryObjects
from sync.testing.store import MemoryStore

STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "software": {"name": "HAPI FHIR Server", "version": "8.0.0"},
    "rest": [{"mode": "server"}],
}


class Failing:
    def __init__(self, failure):
        self.failure = failure

    def __getattr__(self, _):
        async def refuse(*_, **__):
            raise self.failure

        return refuse


class Answering:
    async def read(self, *_):
        return None

    async def depths(self):
        return {}


class Service:
    failure = None

    async def objects_of(self, _):
        if self.failure is not None:
            raise self.failure
        return
        yield


@pytest.fixture
def running():
    store = MemoryStore()
    services = SimpleNamespace(
        cursors=store.cursors,
        queues=Answering(),
        fhir=Answering(),
        instances={"pacs.example": Service()},
        caches=Caches(),
    )

    async def ensure():
        return None

    sources = Sources(account="memory", containers=frozenset({"dicom", "more"}))
    listing = MemoryObjects(containers=("dicom", "more"))

    async def capabilities():
        return capabilities_in(STATEMENT)

    more = {"ensure": ensure, "capabilities": capabilities}
    return SimpleNamespace(services=services, sources=sources, listing=listing, **more)


async def outcomes(running):
    return {outcome.service: outcome for outcome in await tried(running)}


async def test_when_all_answer_all_is_sound_and_nothing_is_left_behind(running):
    checks = await outcomes(running)
    assert all(outcome.sound for outcome in checks.values())
    assert {"DICOM files: container dicom", "DICOM files: container more"} <= set(checks)
    assert [cursor async for cursor in running.services.cursors.all()] == []


async def test_what_is_refused_is_named_with_the_role_and_the_others_are_tried(running):
    running.services.cursors = Failing(StoreUnavailable("403", code="store.forbidden", hint=ROLES_FOR_STATE))
    running.listing = Failing(SourceUnavailable("403", code="source.forbidden", hint=ROLES_FOR_SOURCE))
    running.services.fhir = Failing(FhirUnavailable("no answer"))
    running.services.instances["pacs.example"].failure = SourceUnavailable("403", code="dicom.forbidden")
    checks = await outcomes(running)
    failing = {service: outcome.code for service, outcome in checks.items() if not outcome.sound}
    assert failing == {
        "state: rows can be written": "store.forbidden",
        "clock: agrees with the storage's": "store.forbidden",  # it is not sound: nothing was compared
        "DICOM files: container dicom": "source.forbidden",
        "DICOM files: container more": "source.forbidden",
        "DICOM service pacs.example": "dicom.forbidden",
        "FHIR: ImagingStudy can be read": "fhir.unavailable",
    }
    assert "Storage Blob Data Reader" in checks["DICOM files: container dicom"].hint
    assert checks["state: queues can be read"].sound


async def test_a_clock_that_is_wrong_is_told_with_by_how_much(running):
    running.services.caches.clock_offset.seconds_ahead = -725.0
    check = (await outcomes(running))["clock: agrees with the storage's"]
    assert (check.code, "725 s behind" in check.detail, "chrony" in check.hint) == ("clock.wrong", True, True)


async def test_a_container_that_is_not_there_is_named(running):
    running.listing = MemoryObjects(containers=("dicom",))
    checks = await outcomes(running)
    assert [service for service, outcome in checks.items() if not outcome.sound] == ["DICOM files: container more"]


async def test_a_container_that_the_account_does_not_have_is_told_with_its_setting(running):
    running.listing = Failing(SourceGone("no such object"))
    failing = (await outcomes(running))["DICOM files: container more"]
    assert failing.code == "source.unavailable"
    assert "DICOM_SYNC_CONTAINERS" in failing.hint


async def test_a_service_that_hangs_is_named_and_all_take_no_longer_than_one(running, monkeypatch):
    monkeypatch.setattr(connections, "LONGEST", 0.05)

    async def hang(*_, **__):
        await asyncio.Event().wait()

    running.services.fhir.read = running.listing.page = running.services.queues.depths = hang
    began = time.monotonic()
    checks = await outcomes(running)
    assert time.monotonic() - began < 2
    assert {outcome.code for outcome in checks.values() if not outcome.sound} == {"connection.slow"}
    assert checks["state: rows can be written"].sound


async def test_each_is_told_as_soon_as_it_answers_and_one_that_hangs_keeps_no_other_unsaid(running):
    services = list(connections._attempts(running))
    slow, told = "state: queues can be read", []
    release, others_told = asyncio.Event(), asyncio.Event()

    def answered(connection):
        told.append(connection.service)
        if len(told) == len(services) - 1:
            others_told.set()

    running.services.queues.depths = release.wait
    trying = asyncio.create_task(tried(running, answered=answered))
    await others_told.wait()
    assert slow not in told
    assert not trying.done()
    release.set()
    assert [outcome.service for outcome in await trying] == services
    assert told[-1] == slow


async def test_what_answers_as_fhir_is_named_with_what_it_lacks(running):
    said = (await outcomes(running))["FHIR: a service of R4"]
    assert said.sound
    assert said.detail.startswith("HAPI FHIR Server 8.0.0, FHIR 4.0.1; it does not claim: transaction, ")
