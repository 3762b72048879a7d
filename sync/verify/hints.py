"""The meaning and remedy of each kind of drift, for operators; docs/runbook.md says more."""

from __future__ import annotations

from collections.abc import Mapping

from sync.model import DriftKind

HINTS: Mapping[DriftKind, str] = {
    DriftKind.MISSING: "FHIR lacks a resource that the ledger requires. --repair writes it again.",
    DriftKind.STALE: "FHIR holds an older state than the ledger. --repair writes the current state.",
    DriftKind.FOREIGN_MODIFIED: "Another system changed elements that the sync owns. --repair writes them again.",
    DriftKind.ORPHANED: "FHIR holds a resource of the sync that no object justifies. --repair removes it.",
    DriftKind.DOUBLED: "A second ImagingStudy has the same UID. --repair removes a plain copy; merge others by hand.",
    DriftKind.DEAD_LETTERED: "FHIR or the mapping refuses the study. See its dead letter, fix the cause, then retry.",
    DriftKind.OBJECT_GONE: "The ledger has an object that the source no longer holds. --repair deletes its row.",
    DriftKind.OBJECT_CHANGED: "The source holds another version of an object than the ledger. --repair reads it.",
    DriftKind.OBJECT_UNSEEN: "The source holds an object that was never inspected. --repair reads it.",
}

NO_CONTAINER = "Correct DICOM_SYNC_CONTAINERS or DICOM_SYNC_SOURCE, or create the container; names are in lower case."
"""What to do about a configured container that does not exist."""
