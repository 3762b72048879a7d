"""The records of each object: the study that it belongs to, and the attributes of its header."""

from __future__ import annotations

from dataclasses import dataclass

from sync.model.identity import ObjectKey, ObjectRef, StudyRef
from sync.model.instances import InstanceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """
    One object's instance, as the study's ledger keeps it.

    ``source`` is set when FHIR is to name the object's location; its name is empty when FHIR may name only the
    container.
    """

    object_key: ObjectKey
    record: InstanceRecord
    order: str
    source: ObjectRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LedgerEntry:
    """The identifiers of a ledger row: an object, and the instance in it."""

    study: StudyRef
    series_instance_uid: str
    sop_instance_uid: str
    object_key: ObjectKey

    def has(self, uid: str) -> bool:
        """Return whether the UID is that of the study, the series or the instance."""
        return uid in (self.study.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """
    The stored state of one object. A delete event carries no UID: the sync finds its study by this row.

    ``study`` is None while the object is gone or unreadable. ``history`` holds every other study it ever claimed whose
    ledger row may still be there. ``settled`` means that ledger and marks agree with this row.
    """

    object: ObjectRef
    etag: str | None
    study: StudyRef | None = None
    sop_instance_uid: str | None = None
    history: frozenset[StudyRef] = frozenset()
    settled: bool = False
    has_dead_letter: bool = False
    sequence: int | None = None
    """Highest sequence of an ordered feed that was applied; an entry with a lower sequence is older than this row."""
    contested: bool = False
    """Whether it was ever claimed before an earlier claim was settled: that delivery may still write its row."""
    order: str = ""
    """`Inspection.order` of the inspection that the row is made of."""
