"""Everything that the pipeline uses, in one frozen bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from weakref import WeakValueDictionary

from sync.config import Settings
from sync.model import (
    ObjectKey,
)
from sync.model.result_events import ResultEvent
from sync.ports.fhir import FhirServer
from sync.ports.operations import (
    AuditTrail,
    MetricHistory,
    Outbox,
    ResultEvents,
    StudyHistory,
    Tallies,
)
from sync.ports.queues import ObjectQueue, QueueDepths, StudyQueue
from sync.ports.sources import ChangeFeed, InstanceSource, ObjectSource, OrthancServer
from sync.ports.state import Cursors, DeadLetters, DirtyStudies, Drifts, Ledger, Locators, PatientRows, Projections
from sync.telemetry.telemetry import Telemetry


class Clock(Protocol):
    """The time; tests turn it by hand."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything the pipeline uses, built once a process by `sync.bootstrap`."""

    settings: Settings
    clock: Clock
    objects: ObjectSource
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
    fhir: FhirServer
    telemetry: Telemetry = field(default_factory=Telemetry)
    instances: Mapping[str, InstanceSource] = field(default_factory=dict)
    """DICOM services by account; an object of any other account is in ``objects``. `sync.dicom.inspect` chooses."""
    dicom_feed: ChangeFeed | None = None
    """Change feed of the DICOM service, where one is configured."""
    orthanc: OrthancServer | None = None
    """The Orthanc that is read, where one is configured."""
    verified: set[str] = field(default_factory=set)
    """Hashes of shared resources that this process has seen as they should be, so that not every study reads them."""
    results: ResultEvents | None = None
    """None: nobody is told."""
    unsent_events: dict[str, ResultEvent] = field(default_factory=dict)
    """Events that this process has put into the outbox and not sent yet, by id."""
    hints: dict[str, str] = field(default_factory=dict)
    """What can be done about dead letters, by code, as one of each that this process has read says it."""
    object_locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Locks of the objects that this process is looking at; they go when nobody holds them."""
