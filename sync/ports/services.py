"""
Narrow frozen bundles of ports, one per stage: the type of a function's ``s`` says what the function can touch.

A bundle extends the bundles of the steps that it calls, so that a stage hands its own bundle down as it is, and mypy
refuses a step that reaches for more than its signature says. `sync.bootstrap` builds one `Services`, which contains all
bundles; a function declares the smallest that serves it. ADR 0031 says why these are classes, not Protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sync.config import Settings
from sync.ports.caches import Caches
from sync.ports.fhir import FhirServer
from sync.ports.operations import (
    AuditTrail,
    MetricHistory,
    Outbox,
    ResultEvents,
    StudyHistory,
    Tallies,
)
from sync.ports.queues import ObjectQueue, QueueDepths, SliceQueue, StudyQueue
from sync.ports.sources import ChangeFeed, InstanceSource, ObjectSource, OrthancServer
from sync.ports.state import Cursors, DeadLetters, DirtyStudies, Drifts, Ledger, Locators, PatientRows, Projections
from sync.telemetry.telemetry import Telemetry


class Clock(Protocol):
    """The current time; tests set it."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class Core:
    """The clock, settings, telemetry and caches that every step may use."""

    settings: Settings
    clock: Clock
    telemetry: Telemetry = field(default_factory=Telemetry)
    caches: Caches = field(default_factory=Caches)


@dataclass(frozen=True, kw_only=True)
class Jobs(Core):
    """Cursors and leases of resumable jobs."""

    cursors: Cursors


@dataclass(frozen=True, kw_only=True)
class Announce(Core):
    """Result events, sent once their cause is stored."""

    outbox: Outbox
    results: ResultEvents | None = None
    """None: no events are published."""


@dataclass(frozen=True, kw_only=True)
class MarkDirty(Core):
    """The list of outstanding studies, and the messages that wake a projection."""

    dirty: DirtyStudies
    study_queue: StudyQueue


@dataclass(frozen=True, kw_only=True)
class Reject(Announce):
    """Dead letters, and the events that report them."""

    dead_letters: DeadLetters


@dataclass(frozen=True, kw_only=True)
class Removing(Reject, Jobs):
    """The ceiling on removals, and the dead letters of the removals that it holds."""


@dataclass(frozen=True, kw_only=True)
class Inspect(Core):
    """The ports to read one object in its present state."""

    objects: ObjectSource
    instances: Mapping[str, InstanceSource] = field(default_factory=dict)
    """DICOM services by account; objects of any other account are in ``objects``. `sync.dicom.inspect` chooses."""


@dataclass(frozen=True, kw_only=True)
class Compare(Core):
    """Expected and actual content of FHIR."""

    ledger: Ledger
    projections: Projections
    patients: PatientRows
    fhir: FhirServer


@dataclass(frozen=True, kw_only=True)
class Locate(Core):
    """The stored state of each object, by its name."""

    locators: Locators


@dataclass(frozen=True, kw_only=True)
class Ingest(Removing, MarkDirty, Inspect, Locate, Jobs):
    """From a change to ledger rows: `sync.pipeline.ingest`."""

    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class Project(Removing, MarkDirty, Compare, Jobs):
    """From ledger rows to FHIR: `sync.pipeline.project_study`."""

    object_queue: ObjectQueue


@dataclass(frozen=True, kw_only=True)
class Deliver(Ingest, Project, Jobs):
    """One message of a queue to the end, failures included: `sync.delivery`."""

    history: StudyHistory


@dataclass(frozen=True, kw_only=True)
class Configured(Core):
    """The change feeds that are configured."""

    dicom_feed: ChangeFeed | None = None
    """Change feed of the DICOM service."""
    orthanc: OrthancServer | None = None


@dataclass(frozen=True, kw_only=True)
class ReadFeeds(Ingest, Configured, Jobs):
    """Change feeds to ledger rows: `sync.feeds`, `sync.replay`."""


@dataclass(frozen=True, kw_only=True)
class Preview(ReadFeeds, Project):
    """A replay's dry run: `sync.replay.preview`."""


@dataclass(frozen=True, kw_only=True)
class CallWorkers:
    """A call for a worker of walks: `sync.operators.walks`."""

    slice_queue: SliceQueue


@dataclass(frozen=True, kw_only=True)
class ShareWalks(ReadFeeds, CallWorkers):
    """Walks that several processes share: `sync.walks.sharing`."""


@dataclass(frozen=True, kw_only=True)
class Verify(Deliver):
    """Source, ledger and FHIR compared and repaired: `sync.verify`."""

    drifts: Drifts


@dataclass(frozen=True, kw_only=True)
class Measure(Configured, Jobs):
    """Counts and their history: `sync.monitoring`."""

    metrics: MetricHistory
    queues: QueueDepths
    tallies: Tallies


@dataclass(frozen=True, kw_only=True)
class Watch(Announce, Inspect, Locate, Measure):
    """The ports to measure, and to raise and clear alerts: `sync.monitoring.alerts`."""

    history: StudyHistory
    object_queue: ObjectQueue


@dataclass(frozen=True, kw_only=True)
class Audited(Core):
    """The audit trail of operators' actions."""

    audit: AuditTrail


@dataclass(frozen=True, kw_only=True)
class Control(Jobs, Audited):
    """Operator actions that start, pause and acknowledge: rows of table ``cursors``, each action audited."""


@dataclass(frozen=True, kw_only=True)
class Operate(Deliver, Control):
    """Operator actions on dead letters: `sync.dead_letters`."""


@dataclass(frozen=True, kw_only=True)
class Services(Operate, Verify, Preview, ShareWalks, Watch):
    """All bundles in one, built once per process by `sync.bootstrap`; serves every page and command."""
