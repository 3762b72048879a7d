"""
What the pipeline needs from the world, as Protocols; `sync.adapters` has two of each, in memory and for Azure.

All methods are coroutines and safe to repeat unless they say otherwise. Table rows carry an ETag that changes with
every write, also one of equal content. Adapters translate every library exception: a lost race is `StoreConflict`,
an outage is a `TransientError`.
"""

from __future__ import annotations

from sync.ports.fhir import FhirServer
from sync.ports.operations import (
    AlertChannel,
    AuditTrail,
    Counted,
    DeadLetterGroup,
    MetricHistory,
    Notice,
    Outbox,
    ResultEvents,
    StudyHistory,
    Tallies,
    Tally,
)
from sync.ports.queues import ObjectQueue, QueueDepths, StudyQueue, UndeliveredEvents
from sync.ports.services import (
    Announce,
    Audited,
    Caches,
    Clock,
    Compare,
    Configured,
    Control,
    Core,
    Deliver,
    Ingest,
    Inspect,
    Jobs,
    MarkDirty,
    Measure,
    Operate,
    Project,
    ReadFeeds,
    Reject,
    Services,
    Verify,
    Watch,
)
from sync.ports.sources import BlobFeed, ChangeFeed, InstanceSource, ObjectListing, ObjectSource, OrthancServer
from sync.ports.state import Cursors, DeadLetters, DirtyStudies, Drifts, Ledger, Locators, PatientRows, Projections

__all__ = [
    "AlertChannel",
    "Announce",
    "AuditTrail",
    "Audited",
    "BlobFeed",
    "Caches",
    "ChangeFeed",
    "Clock",
    "Compare",
    "Configured",
    "Control",
    "Core",
    "Counted",
    "Cursors",
    "DeadLetterGroup",
    "DeadLetters",
    "Deliver",
    "DirtyStudies",
    "Drifts",
    "FhirServer",
    "Ingest",
    "Inspect",
    "InstanceSource",
    "Jobs",
    "Ledger",
    "Locators",
    "MarkDirty",
    "Measure",
    "MetricHistory",
    "Notice",
    "ObjectListing",
    "ObjectQueue",
    "ObjectSource",
    "Operate",
    "OrthancServer",
    "Outbox",
    "PatientRows",
    "Project",
    "Projections",
    "QueueDepths",
    "ReadFeeds",
    "Reject",
    "ResultEvents",
    "Services",
    "StudyHistory",
    "StudyQueue",
    "Tallies",
    "Tally",
    "UndeliveredEvents",
    "Verify",
    "Watch",
]
