"""
A whole sync in memory with a clock turned by hand: what tests of the core start from.

The adapters are the real ones for memory. `ReadOnlyFhir` passes everything on; it counts, lets another writer act just
before a call, and breaks when told to.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from sync.config import Settings
from sync.delivery.handlers import handle_study_message
from sync.events import Sources, study_message
from sync.mapping.resource import patient_id, study_id
from sync.model import (
    Action,
    Change,
    FhirPage,
    FhirWrite,
    Ingested,
    ObjectRef,
    Projected,
    Projection,
    Resource,
    StudyRef,
    StudySearch,
    digest,
)
from sync.pipeline import ingest, project_study
from sync.ports import Services
from sync.testing.clock import ManualClock
from sync.testing.fhir import MemoryFhirServer
from sync.testing.results import MemoryTopic
from sync.testing.store import MemoryStore

STUDY = StudyRef(study_instance_uid="2.25.1")
OTHER = StudyRef(study_instance_uid="2.25.2")
UNREADABLE = b"not a DICOM file"
PATIENT_SYSTEM = "urn:dicom-fhir-sync:patient-id"
SOURCES = Sources(account="memory", containers=frozenset({"dicom"}))


def dicom(**given: Any) -> bytes:
    """A CT header; attributes by DICOM keyword, None leaves one of the defaults out; equal ones are written once."""
    try:
        return _dicom(**given)
    except TypeError:  # some values have no hash
        return _dicom.__wrapped__(**given)


@lru_cache(maxsize=2_000, typed=True)
def _dicom(*, study: str = "2.25.1", series: str = "2.25.10", sop: str = "2.25.100", **attributes: Any) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, sop
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = pydicom.Dataset()
    file.file_meta = meta
    defaults = {"PatientID": "P1", "PatientName": "Doe^Jane", "Modality": "CT", "StudyDate": "20260102"}
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": sop}
    for keyword, value in {**defaults, **uids, "SOPClassUID": CTImageStorage, **attributes}.items():
        if value is not None:
            setattr(file, keyword, value)
    buffer = BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def patient_of(value: str, system: str = PATIENT_SYSTEM) -> str:
    """FHIR id of the Patient that we create for a Patient ID."""
    return patient_id(digest("patient", system, value))


def ehr_patient(resource_id: str, value: str = "P1", **elements: Any) -> Resource:
    identifier = {"system": PATIENT_SYSTEM, "value": value}
    return {"resourceType": "Patient", "id": resource_id, "identifier": [identifier], **elements}


def ehr_study(resource_id: str, study: StudyRef = STUDY, **elements: Any) -> Resource:
    identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_instance_uid}"}
    return {
        "resourceType": "ImagingStudy",
        "id": resource_id,
        "identifier": [identifier],
        "status": "registered",
        "subject": {"reference": "Patient/of-the-ehr"},
        **elements,
    }


def cast_patient(resource_id: str, value: str = "P1", **elements: Any) -> Resource:
    """Patient as Microsoft DICOM Cast creates one by default: its identifier has no system."""
    name = {"use": "usual", "family": "Doe", "given": ["Jane"]}
    return {"resourceType": "Patient", "id": resource_id, "identifier": [{"value": value}], "name": [name], **elements}


def cast_study(
    resource_id: str, study: StudyRef = STUDY, *, patient: str = "cast-p", descriptions: Sequence[str] = ()
) -> Resource:
    """ImagingStudy as Microsoft DICOM Cast creates one: its codings, its notes, its endpoint, nothing counted."""
    modality = {"system": "DCM", "code": "CT"}
    instance = {"uid": "2.25.100", "sopClass": {"code": str(CTImageStorage)}, "number": 1}
    accession = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
    resource = {
        "resourceType": "ImagingStudy",
        "id": resource_id,
        "meta": {"source": "https://dicom.example/v1/"},
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_instance_uid}"},
            {"type": accession, "value": "A1"},
        ],
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "started": "2026-01-02T10:15:30+00:00",
        "endpoint": [{"reference": "Endpoint/cast-e"}],
        "note": [{"text": text} for text in descriptions],
        "series": [{"uid": "2.25.10", "modality": modality, "instance": [instance]}],
    }
    return {element: value for element, value in resource.items() if value}


def event(change: Change, **more: Any) -> dict[str, Any]:
    """Return the event that Event Grid would send for the change."""
    kind = "BlobCreated" if change.action is Action.CREATED else "BlobDeleted"
    return {
        "topic": "/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/memory",
        "subject": f"/blobServices/default/containers/{change.object.container}/blobs/{change.object.name}",
        "eventType": f"Microsoft.Storage.{kind}",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": "PutBlob", "eTag": change.etag, **more},
    }


def events(*changes: Change) -> str:
    return json.dumps([event(change) for change in changes])


@dataclass
class ReadOnlyFhir:
    """The FHIR service, watched."""

    server: MemoryFhirServer
    calls: Counter[str] = field(default_factory=Counter)
    written: list[FhirWrite] = field(default_factory=list)
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)
    """The write of another writer, once, just before the next call of this name."""
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next transactions, one each, before anything is applied."""
    outage: Exception | None = None
    """Raised by every call while it lasts."""

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        self._before("read")
        return await self.server.read(resource_type, resource_id)

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        self._before("read_all")
        return await self.server.read_all(references)

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        self._before("search")
        return await self.server.search(resource_type, system, value)

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        self._before("page")
        return await self.server.page(resource_type, link, subject=subject)

    async def find_studies(self, search: StudySearch, link: str | None = None) -> FhirPage:
        self._before("find_studies")
        return await self.server.find_studies(search, link)

    async def last_version(self, resource_type: str, resource_id: str) -> Resource | None:
        self._before("last_version")
        return await self.server.last_version(resource_type, resource_id)

    async def referrers(self, references: Sequence[str]) -> Mapping[str, frozenset[str]]:
        self._before("referrers")
        return await self.server.referrers(references)

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        self._before("transact")
        if self.failures:
            raise self.failures.pop(0)
        self.written += writes
        return await self.server.transact(writes)

    def _before(self, call: str) -> None:
        self.calls[call] += 1
        if act := self.meanwhile.pop(call, None):
            act()
        if self.outage is not None:
            raise self.outage


def ports_of(store: MemoryStore) -> dict[str, Any]:
    """Return every port that the store has, by its name in `Services`: a new port is added nowhere else."""
    return {name: getattr(store, name) for name in {port.name for port in fields(Services)} & vars(store).keys()}


def settings_of(**settings: Any) -> Settings:
    """Read the settings of a world; without any of its own, only once an environment, for it takes 3 ms."""
    if settings:
        return _read_settings(**settings)
    return _plain_settings(frozenset(item for item in os.environ.items() if item[0] != "PYTEST_CURRENT_TEST"))


@lru_cache(maxsize=4)
def _plain_settings(_environment: frozenset[tuple[str, str]]) -> Settings:
    return _read_settings()


def _read_settings(**settings: Any) -> Settings:
    required = {"fhir_url": "http://localhost/fhir", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    return Settings(**required, **settings)


class MemoryWorld:
    """Everything that the sync needs, and what the outside does to it."""

    def __init__(
        self, server: MemoryFhirServer | None = None, *, topic: MemoryTopic | None = None, **settings: Any
    ) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        # The embedded server's way: an unchanged PUT makes a new version, so that a needless write shows.
        self.server = server or MemoryFhirServer(notices_unchanged=False)
        self.fhir = ReadOnlyFhir(self.server)
        self.topic = topic
        self.services = self.process(**settings)

    def process(self, **settings: Any) -> Services:
        """Start a function process on this state; it has seen nothing yet."""
        given = {**ports_of(self.store), "clock": self.clock, "queues": self.store.study_queue}
        return Services(settings=settings_of(**settings), fhir=self.fhir, results=self.topic, **given)

    # What the outside does.

    def put(self, name: str, data: bytes | None = None, **attributes: Any) -> Change:
        ref = self.ref(name)
        self.clock.advance(1)
        etag = self.store.objects.put(ref, dicom(**attributes) if data is None else data)
        return Change(object=ref, action=Action.CREATED, etag=etag)

    def delete(self, name: str) -> Change:
        self.store.objects.delete(self.ref(name))
        return Change(object=self.ref(name), action=Action.DELETED)

    def ref(self, name: str) -> ObjectRef:
        return self.store.objects.ref(name)

    def edit(self, resource_type: str, resource_id: str, **elements: Any) -> None:
        """Another writer sets elements of a resource; None removes one."""
        resource = {**(self.server.peek(resource_type, resource_id) or {}), **elements}
        resource.setdefault("resourceType", resource_type)
        resource.setdefault("id", resource_id)
        self.create({k: v for k, v in resource.items() if v is not None})

    def create(self, resource: Resource) -> None:
        write = FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=resource)
        run(self.server.transact([write]))

    def erase(self, resource_type: str, resource_id: str) -> None:
        run(self.server.transact([FhirWrite(resource_type=resource_type, resource_id=resource_id)]))

    def erase_all(self) -> None:
        """The FHIR service is emptied from outside."""
        resources = [(r["resourceType"], r["id"]) for r in self.server.resources()]
        run(self.server.transact([FhirWrite(resource_type=kind, resource_id=identity) for kind, identity in resources]))

    # What the sync does.

    async def ingest(self, change: Change, *, redelivered: bool = False) -> Ingested:
        return await ingest(change, self.services, redelivered=redelivered)

    async def project(self, study: StudyRef = STUDY, *, redelivered: bool = False) -> Projected:
        """Project after the quiet period."""
        self.clock.advance(100)
        return await project_study(study, self.services, redelivered=redelivered)

    async def project_and_die(self) -> None:
        """Project; the pass dies after it wrote, before it recorded what."""
        rows, noted = self.store.projections.table._rows, {}
        self.fhir.meanwhile["transact"] = lambda: noted.update(rows)
        await self.project()
        rows.update(noted)

    async def arrive(self, name: str, data: bytes | None = None, **attributes: Any) -> None:
        """Put an object and let everything run."""
        await self.ingest(self.put(name, data, **attributes))
        await self.settle()

    async def go(self, name: str) -> None:
        """Delete an object and let everything run."""
        await self.ingest(self.delete(name))
        await self.settle()

    async def settle(self) -> None:
        """Deliver study messages until none is left."""
        for _ in range(50):
            self.clock.advance(100)
            if not (due := self.store.study_queue.take()):
                return
            for study in due:
                await handle_study_message(study_message(study), self.services)
        raise AssertionError("messages without end")

    async def replay(self, *, redelivered: bool = True) -> None:
        """Inspect every object again and project every study again."""
        for ref in self.store.objects.refs():
            change = Change(object=ref, action=Action.CREATED)
            await self.ingest(change, redelivered=redelivered)
        self.clock.advance(100)
        for study in [dirty.study for dirty in self.outstanding()]:
            await handle_study_message(study_message(study), self.services, attempt=2 if redelivered else 1)
        await self.settle()

    # The results.

    def imaging_study(self, study: StudyRef = STUDY) -> Resource | None:
        return self.server.peek("ImagingStudy", study_id(study))

    def patient(self, value: str = "P1") -> Resource | None:
        return self.server.peek("Patient", patient_of(value))

    def projection(self, study: StudyRef = STUDY) -> Projection:
        stored = self.store.projections.table.get(study.key)
        assert stored is not None
        return stored.value

    def outstanding(self) -> list[Any]:
        return self.store.dirty.table.values()

    def dead_letters(self) -> list[tuple[str, str]]:
        return sorted((letter.kind.value, letter.code) for letter in self.store.dead_letters.table.values())

    def versions(self) -> dict[tuple[str, str], int]:
        return {
            (r["resourceType"], r["id"]): self.server.history(r["resourceType"], r["id"])
            for r in self.server.resources()
        }


def subject(w: MemoryWorld, study: StudyRef = STUDY) -> str:
    """FHIR id of the Patient that a study of ours points to."""
    resource = w.imaging_study(study)
    assert resource is not None
    return str(resource["subject"]["reference"]).removeprefix("Patient/")


def rows(w: MemoryWorld) -> list[tuple[str, StudyRef]]:
    """Patient rows: under which key, of which study."""
    return sorted((row.patient_key, row.study) for row in w.store.patients.table.values())


def other_ids(*values: str) -> list[pydicom.Dataset]:
    """Other Patient IDs Sequence, all by one issuer."""
    items = []
    for value in values:
        item = pydicom.Dataset()
        item.PatientID, item.IssuerOfPatientID = value, "CITY"
        items.append(item)
    return items


def count(port: Any, name: str) -> list[tuple[Any, ...]]:
    """Return the calls of a method of a port from now on, by their arguments."""
    calls, method = list[tuple[Any, ...]](), getattr(port, name)

    async def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return await method(*args, **kwargs)

    setattr(port, name, counted)
    return calls


def run(steps: Any) -> Any:
    """Run a coroutine that never waits, from anywhere."""
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
