"""
The two kinds of storage that the contracts are tried on, memory and Azurite, and values that no other test uses.

Azurite's tables and queues are shared by all tests of a run: every test makes its own names and UIDs.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Protocol

from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from sync.bootstrap import start
from sync.config import Settings
from sync.model import DirtyStudy, InstanceRecord, LedgerRow, Locator, ObjectKey, ObjectRef, StudyRef
from sync.ports import (
    AuditTrail,
    Cursors,
    DeadLetters,
    DirtyStudies,
    Drifts,
    Ledger,
    Locators,
    MetricHistory,
    ObjectListing,
    ObjectQueue,
    ObjectSource,
    Outbox,
    PatientRows,
    Projections,
    QueueDepths,
    StudyHistory,
    StudyQueue,
    Tallies,
)
from sync.testing.objects import MemoryObjects
from sync.testing.store import MemoryStore

CONTAINER = "dicom"
MISSING_CONTAINER = "never-created"
NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


class Outside(Protocol):
    """What others do to the objects."""

    async def put(self, name: str, data: bytes) -> ObjectRef:
        """Create or overwrite."""
        ...

    async def delete(self, ref: ObjectRef) -> None:
        """Delete."""
        ...


@dataclass(frozen=True, kw_only=True)
class Storage:
    """All storage ports, and the outside world."""

    locators: Locators
    ledger: Ledger
    dirty: DirtyStudies
    projections: Projections
    patients: PatientRows
    dead_letters: DeadLetters
    drifts: Drifts
    cursors: Cursors
    metrics: MetricHistory
    audit: AuditTrail
    history: StudyHistory
    outbox: Outbox
    tallies: Tallies
    study_queue: StudyQueue
    object_queue: ObjectQueue
    queues: QueueDepths
    objects: ObjectSource
    listing: ObjectListing
    outside: Outside
    account: str


class _MemoryOutside:
    def __init__(self, objects: MemoryObjects) -> None:
        self._objects = objects

    async def put(self, name: str, data: bytes) -> ObjectRef:
        ref = self._objects.ref(name)
        self._objects.put(ref, data)
        return ref

    async def delete(self, ref: ObjectRef) -> None:
        self._objects.delete(ref)


class _AzureOutside:
    def __init__(self, container: ContainerClient, account: str) -> None:
        self._container = container
        self._account = account

    async def put(self, name: str, data: bytes) -> ObjectRef:
        await self._container.upload_blob(name, data, overwrite=True)
        return ObjectRef(account=self._account, container=CONTAINER, name=name)

    async def delete(self, ref: ObjectRef) -> None:
        await self._container.delete_blob(ref.name)


def memory_storage() -> Storage:
    """Give storage in memory."""
    store = MemoryStore()
    objects = MemoryObjects(containers=(CONTAINER, MISSING_CONTAINER))
    return Storage(objects=objects, listing=objects, outside=_MemoryOutside(objects), account="memory", **_ports(store))


@contextlib.asynccontextmanager
async def azure_storage(connection_string: str) -> AsyncIterator[Storage]:
    """Give the adapters as a function process has them."""
    settings = Settings(
        fhir_url="http://localhost:1/fhir",
        AzureWebJobsStorage=connection_string,
        containers=(CONTAINER, MISSING_CONTAINER),
    )
    running = await start(settings)
    blobs = BlobServiceClient.from_connection_string(connection_string)
    try:
        container = blobs.get_container_client(CONTAINER)
        if not await container.exists():
            await container.create_container()
        outside, account = _AzureOutside(container, str(blobs.account_name)), str(blobs.account_name)
        services = running.services
        yield Storage(
            objects=services.objects, listing=running.listing, outside=outside, account=account, **_ports(services)
        )
    finally:
        await blobs.close()
        await running.close()


def _ports(store: Any) -> dict[str, Any]:
    names = {field.name for field in fields(Storage)} - {"objects", "listing", "outside", "account"}
    return {name: getattr(store, name) for name in names}


def fresh() -> str:
    """Return a name that no other test uses."""
    return uuid.uuid4().hex


def fresh_study() -> StudyRef:
    """Return a study that no other test uses."""
    return StudyRef(study_instance_uid=f"2.25.{uuid.uuid4().int}")


def locator(name: str | None = None, **fields: Any) -> Locator:
    """Return the row of an object that is gone; fields by name."""
    ref = ObjectRef(account="account", container="dicom", name=name or fresh())
    return Locator(object=ref, **{"etag": None, **fields})


def ledger_row(study: StudyRef, row: str = "", attributes: dict[str, Any] | None = None) -> LedgerRow:
    """Return one instance of a study."""
    record = InstanceRecord(
        study=study,
        series_instance_uid="2.25.1",
        sop_instance_uid="2.25.2",
        attributes=attributes if attributes is not None else {"PatientName": ["Doe^Jane"]},
    )
    return LedgerRow(object_key=ObjectKey("folder-0", row or fresh()), record=record, order="2026-01-01T00:00:00")


async def outstanding(dirty: DirtyStudies, study: StudyRef) -> list[DirtyStudy]:
    """Return the rows of one study among all that are outstanding."""
    return [mark async for mark in dirty.all() if mark.study == study]
