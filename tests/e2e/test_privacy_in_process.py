"""No patient data in any log line at any level, error text, or dead letter, whatever the ports do. Without servers."""

import json
import logging
import traceback
from dataclasses import replace

import pytest

from sync.config import Settings
from sync.delivery import handlers
from sync.errors import FhirRejected, FhirUnavailable, SourceUnavailable, SyncError
from sync.events import Sources, study_message
from sync.model import StudyRef
from sync.monitoring.status import status
from sync.ports import Services
from sync.testing.clock import ManualClock
from sync.testing.fhir import MemoryFhirServer
from sync.testing.store import MemoryStore
from sync.web.dead_letters import list_dead_letters, show_dead_letter
from sync.web.exchange import Request
from tests.e2e.messages import event
from tests.e2e.sentinels import NAME, PATIENT, STUDIES, blob, file_of, found_in
from tests.worlds import ports_of

SOURCES = Sources(account="memory", containers=frozenset({"dicom"}))
SETTINGS = Settings(
    fhir_url="http://localhost/fhir", AzureWebJobsStorage="UseDevelopmentStorage=true", quiet_period=0, max_wait=0
)


class Failing:
    """A port that fails as configured, with a text that no error of ours would have."""

    def __init__(self, port, failures):
        self._port, self._failures = port, failures

    def __getattr__(self, name):
        if name in self._failures:
            raise self._failures[name]
        return getattr(self._port, name)


class Sync:
    """The pipeline in memory, and all that it says."""

    def __init__(self, caplog):
        self.caplog = caplog
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.raised: list[str] = []
        self.whole = Services(settings=SETTINGS, fhir=MemoryFhirServer(), **ports_of(self.store))
        self.services = self.whole

    def breaks(self, port, **failures):
        self.services = replace(self.services, **{port: Failing(getattr(self.services, port), failures)})

    async def upload(self, name, content):
        self.store.objects.put(self.store.objects.ref(name), content)
        await self.object_message(json.dumps(event(name, account="memory")))

    async def object_message(self, text, attempt=1):
        await self._listening(handlers.handle_object_message(text, SOURCES, self.services, attempt=attempt))

    async def project(self, *, attempt=1):
        self.clock.advance(1000)
        for study in self.store.study_queue.take():
            await self._listening(handlers.handle_study_message(study_message(study), self.services, attempt=attempt))

    async def poison(self, name, study):
        message = json.dumps(event(name, account="memory"))
        await self._listening(handlers.handle_poison_object(message, SOURCES, self.services))
        text = study_message(StudyRef(study_instance_uid=study))
        await self._listening(handlers.handle_poison_study(text, self.services))

    async def _listening(self, handled):
        try:
            await handled
        except SyncError as failure:
            self.raised.append("".join(traceback.format_exception(failure)))
            self.raised.append(f"{failure.code} {failure.hint} {failure.detail} {failure!r}")

    async def said(self):
        letters = [repr(letter) async for letter in self.store.dead_letters.all()]
        answers = [
            json.dumps(await status(self.whole)),
            json.dumps((await list_dead_letters(Request(), self.whole)).body),
        ]
        async for letter in self.store.dead_letters.all():
            asked = Request(params={"kind": letter.kind.value, "subject": letter.subject})
            answers.append(json.dumps((await show_dead_letter(asked, self.whole)).body))
        return "\n".join([self.caplog.text, *self.raised, *letters, *answers])


@pytest.fixture
def sync(caplog):
    caplog.set_level(logging.DEBUG)
    return Sync(caplog)


async def test_success_names_no_patient(sync):
    await sync.upload(blob("good"), file_of("good"))
    await sync.upload(blob("bad date"), file_of("bad date", birth="1937SENTINEL"))
    await sync.project()
    patients = [r for r in sync.whole.fhir.resources() if r["resourceType"] == "Patient"]
    assert "Zzyzx" in json.dumps(patients)
    assert "study.written" in sync.caplog.text
    assert found_in(await sync.said()) == []


@pytest.mark.parametrize(
    "content",
    [NAME.encode(), b"", file_of("good")[:500], file_of("good").replace(b"\x20\x00\x0d\x00UI", b"\x20\x00\x0c\x00UI")],
)
async def test_an_unreadable_object_names_no_patient(sync, content):
    await sync.upload(blob("bad"), content)
    assert "object.rejected" in sync.caplog.text
    assert found_in(await sync.said()) == []


@pytest.mark.parametrize(
    "message",
    [
        NAME,
        json.dumps(event(blob("a"), account=PATIENT)),
        json.dumps([{PATIENT: NAME}, event("../" + blob("a"), account="memory")]),
    ],
)
async def test_a_refused_message_names_no_patient(sync, message):
    await sync.object_message(message)
    assert "message.refused" in sync.caplog.text
    assert found_in(await sync.said()) == []


@pytest.mark.parametrize(
    "failure", [ValueError(NAME), KeyError(PATIENT), UnicodeEncodeError("ascii", NAME, 0, 1, PATIENT)]
)
@pytest.mark.parametrize("call", [("objects", "read"), ("locators", "insert"), ("ledger", "upsert"), ("dirty", "mark")])
async def test_a_defect_while_ingesting_names_no_patient(sync, call, failure):
    sync.breaks(call[0], **{call[1]: failure})
    await sync.upload(blob("good"), file_of("good"))
    assert "sync.unexpected" in sync.raised[-1]
    assert found_in(await sync.said()) == []


@pytest.mark.parametrize(
    "call", [("fhir", "search"), ("fhir", "transact"), ("projections", "write"), ("patients", "read")]
)
async def test_a_defect_while_projecting_names_no_patient(sync, call):
    await sync.upload(blob("good"), file_of("good"))
    sync.breaks(call[0], **{call[1]: RuntimeError(f"{NAME} {PATIENT}")})
    await sync.project()
    assert "sync.unexpected" in sync.raised[-1]
    assert found_in(await sync.said()) == []


async def test_an_outage_of_fhir_or_of_the_store_names_no_patient(sync):
    sync.breaks("objects", read=SourceUnavailable("no answer"))
    await sync.upload(blob("good"), file_of("good"))
    sync.services = sync.whole
    await sync.object_message(json.dumps(event(blob("good"), account="memory")), attempt=2)
    sync.breaks("fhir", search=FhirUnavailable("no answer"))
    await sync.project()
    assert "study.postponed" in sync.caplog.text
    assert found_in(await sync.said()) == []


async def test_a_study_that_fhir_refuses_names_no_patient(sync):
    await sync.upload(blob("good"), file_of("good"))
    sync.breaks("fhir", transact=FhirRejected("422"))
    await sync.project()
    assert "study.dead_lettered" in sync.caplog.text
    assert found_in(await sync.said()) == []


async def test_poison_names_no_patient(sync):
    await sync.upload(blob("good"), file_of("good"))
    await sync.poison(blob("good"), STUDIES["good"])
    assert "object.poisoned" in sync.caplog.text
    assert "study.poisoned" in sync.caplog.text
    assert found_in(await sync.said()) == []
