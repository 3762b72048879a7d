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
from sync.ports.services import Clock, Services
from sync.ports.sources import BlobFeed, ChangeFeed, InstanceSource, ObjectListing, ObjectSource, OrthancServer
from sync.ports.state import Cursors, DeadLetters, DirtyStudies, Drifts, Ledger, Locators, PatientRows, Projections

__all__ = [
    "AlertChannel",
    "AuditTrail",
    "BlobFeed",
    "ChangeFeed",
    "Clock",
    "Counted",
    "Cursors",
    "DeadLetterGroup",
    "DeadLetters",
    "DirtyStudies",
    "Drifts",
    "FhirServer",
    "InstanceSource",
    "Ledger",
    "Locators",
    "MetricHistory",
    "Notice",
    "ObjectListing",
    "ObjectQueue",
    "ObjectSource",
    "OrthancServer",
    "Outbox",
    "PatientRows",
    "Projections",
    "QueueDepths",
    "ResultEvents",
    "Services",
    "StudyHistory",
    "StudyQueue",
    "Tallies",
    "Tally",
    "UndeliveredEvents",
]
