"""
The frozen values that travel through the sync, named in the field's words.

Others import them from here; the modules say which belong together.
"""

from __future__ import annotations

from sync.model.changes import Action, Change
from sync.model.dead_letters import AuditEntry, DeadLetter, DeadLetterEntry, DeadLetterPage, SubjectKind
from sync.model.drifts import Drift, DriftKind
from sync.model.fhir import UNSEEN_REFERRER, FhirPage, FhirWrite, Resource, StudySearch, references_in
from sync.model.identity import LOCATOR_BUCKETS, ObjectKey, ObjectRef, StudyRef, digest, folder_partitions
from sync.model.instances import Attributes, Finding, Inspection, InstanceRecord
from sync.model.ledger import LedgerEntry, LedgerRow, Locator
from sync.model.outcomes import Delivered, Ingested, Projected
from sync.model.sources import Chunk, FeedSegment, InstanceMetadata, ListedObject, Page
from sync.model.stored import Stored
from sync.model.studies import DirtyStudy, PatientRow, Projection, StudyEvent
from sync.model.walks import (
    CHECKS,
    RECONCILE_CURSOR,
    Batch,
    Cursor,
    Json,
    LastRound,
    dicom_cursor,
    orthanc_cursor,
    units_of,
)

__all__ = [
    "CHECKS",
    "LOCATOR_BUCKETS",
    "RECONCILE_CURSOR",
    "UNSEEN_REFERRER",
    "Action",
    "Attributes",
    "AuditEntry",
    "Batch",
    "Change",
    "Chunk",
    "Cursor",
    "DeadLetter",
    "DeadLetterEntry",
    "DeadLetterPage",
    "Delivered",
    "DirtyStudy",
    "Drift",
    "DriftKind",
    "FeedSegment",
    "FhirPage",
    "FhirWrite",
    "Finding",
    "Ingested",
    "Inspection",
    "InstanceMetadata",
    "InstanceRecord",
    "Json",
    "LastRound",
    "LedgerEntry",
    "LedgerRow",
    "ListedObject",
    "Locator",
    "ObjectKey",
    "ObjectRef",
    "Page",
    "PatientRow",
    "Projected",
    "Projection",
    "Resource",
    "Stored",
    "StudyEvent",
    "StudyRef",
    "StudySearch",
    "SubjectKind",
    "dicom_cursor",
    "digest",
    "folder_partitions",
    "orthanc_cursor",
    "references_in",
    "units_of",
]
