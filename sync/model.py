"""
The frozen values that travel through the sync, named in the field's words.

Identity comes in two kinds. An *object* is one blob, or one instance of a DICOM service: what a store can create,
overwrite and delete. A *study* is what FHIR shows. One study has many objects, and one SOP Instance UID may sit in
several objects. Keys are hashes: Azure tables forbid some characters in keys, and blob names may hold patient names.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from sync.errors import SyncError, UnreadableObject

T = TypeVar("T")

Attributes = Mapping[str, Sequence[Any]]
"""
Extracted attributes of one instance: DICOM keyword -> values, as `sync.attributes` lists them.

Values are text as the file has it, decoded and without padding (dates stay ``YYYYMMDD``, person names keep ``^`` and
``=``), integers for binary VRs, and nested `Attributes` for the items of a sequence. Shape: absent keyword = absent
attribute; empty sequence = present but empty. It is JSON as it stands.
"""

Resource = dict[str, Any]
"""A FHIR R4 resource as JSON."""

LOCATOR_BUCKETS = 2
"""Partitions a folder is spread over; more spread the load, fewer make larger batches."""


def digest(*parts: str, length: int = 40) -> str:
    """Hex SHA-256 of the parts, cut to ``length`` characters; parts cannot run into each other."""
    joined = "\x00".join(parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def folder_partitions(account: str, container: str, folder: str) -> tuple[str, ...]:
    """Partitions that hold the rows of a folder's objects."""
    start = digest(account, container, folder, length=20)
    return tuple(f"{start}-{bucket}" for bucket in range(LOCATOR_BUCKETS))


class ObjectKey(NamedTuple):
    """Where an object's rows are: both parts are hashes, safe in keys, logs and dead letters."""

    partition: str
    row: str

    def __str__(self) -> str:
        return f"{self.partition}.{self.row}"

    @classmethod
    def parse(cls, text: str) -> ObjectKey:
        """Inverse of ``str``; ValueError when the text is not one."""
        partition, row = text.split(".")
        return cls(partition, row)


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """One object of a store: account, container and name, as the store spells them (case matters)."""

    account: str
    container: str
    name: str

    @cached_property
    def key(self) -> ObjectKey:
        """Hashed key. The partition follows the folder, split in a few buckets so that a flat container scales."""
        folder = self.name.rpartition("/")[0]
        row = digest(self.account, self.container, self.name)
        bucket = int(row[:4], 16) % LOCATOR_BUCKETS
        return ObjectKey(folder_partitions(self.account, self.container, folder)[bucket], row)


@dataclass(frozen=True, kw_only=True, order=True)
class StudyRef:
    """
    One study: Study Instance UID (0020,000D) within a data partition.

    ``partition`` is empty for blobs; DICOM services with data partitions may hold one UID in several.
    """

    study_instance_uid: str
    partition: str = ""

    @cached_property
    def key(self) -> str:
        """Hashed key, 40 hex digits; also the unique part of the FHIR id."""
        return digest(self.partition, self.study_instance_uid)


class Action(enum.Enum):
    """What happened to an object, as far as the message knows. A hint, never the truth."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One normalised happening: look at this object. ``etag`` (without quotes) is None when the event has none.

    An entry of an ordered feed has a ``sequence``; one that carries metadata brings the ``look`` with it. Such a look
    is as old as the page it came in: of two, that of the higher sequence is the younger one.

    ``again`` is true when we ask ourselves, for a retry or because the first look met an outage: an earlier look may
    have died half-way. ``waited`` is how often it was put off, ``failing_since`` when that began.
    """

    object: ObjectRef
    action: Action
    etag: str | None = None
    event_id: str = ""
    sequence: int | None = None
    look: Look | None = None
    again: bool = False
    waited: int = 0
    failing_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """
    An attribute that could not be used as it is. It never holds the value.

    ``keyword`` is the DICOM keyword, ``code`` says what is wrong (``date.impossible``), ``action`` what was done
    (``omitted``).
    """

    keyword: str
    code: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """What one header says: the identity of the instance and its extracted attributes."""

    study: StudyRef
    series_instance_uid: str
    sop_instance_uid: str
    attributes: Attributes
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    The object as it was when looked at; exactly one of three truths.

    A ``record`` (it is an instance), a ``problem`` (it is there and can never become one), or neither: it is gone, and
    then ``etag`` is None.
    """

    etag: str | None
    order: str = ""
    """When the store last changed the object, ISO 8601 UTC. For people: nothing is decided by it."""
    record: InstanceRecord | None = None
    problem: UnreadableObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One object's instance, as the study's ledger keeps it."""

    object_key: ObjectKey
    record: InstanceRecord
    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """
    What we know of one object; a delete event carries no UID, so this is how it finds its study.

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
    """Highest sequence of an ordered feed that was acted on; a lower one is older than what we know."""
    contested: bool = False
    """Whether it was ever claimed while an earlier claim was not settled: who made that one may still write its row."""
    order: str = ""
    """`Look.order` of the look that the row is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyStudy:
    """An outstanding study: the outbox row. Times are aware UTC."""

    study: StudyRef
    first_marked: datetime
    last_marked: datetime
    attempts: int = 0
    not_before: datetime | None = None
    failing_since: datetime | None = None
    """When the failures began that ``attempts`` counts."""
    distrust: bool = False
    """Whether somebody asked for FHIR to be read: no record may stand for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """
    What we last wrote to FHIR for one study; a cache of the server, and the write-ahead note of patient rows.

    ``version`` and ``content_hash`` describe the ImagingStudy that we wrote or found equal; both are None when we left
    none. ``foreign`` is true when it carried elements of others, which an update has to read and keep. ``elements``
    are the top-level elements that we wrote. ``taken_over`` tells of an adopted resource that its maker has left to us.
    ``begun`` is noted before the first write, so that no crash hides one.
    ``patient_key`` is the key of the patient row that the study keeps, ``patient_keys`` holds every one that it ever
    had: a pass that crashed, or lost a race, may have left a row or a Patient under any of them. ``derived`` likewise
    holds, as ``Type/id``, every resource that an instance of this study ever made: with the hash of what it says, or
    with an empty text when it should not be there.
    """

    study: StudyRef
    fhir_id: str
    adopted: bool = False
    taken_over: bool = False
    version: str | None = None
    content_hash: str | None = None
    foreign: bool = False
    elements: frozenset[str] = frozenset()
    begun: bool = False
    patient_id: str | None = None
    patient_key: str | None = None
    patient_hash: str | None = None
    patient_keys: frozenset[str] = frozenset()
    derived: Mapping[str, str] = field(default_factory=dict)
    shared_hashes: frozenset[str] = frozenset()
    """Of the resources that it refers to and shares with other studies, as they should be: Endpoint, Devices."""
    series: int = 0
    instances: int = 0
    findings: tuple[Finding, ...] = ()
    patient_findings: tuple[Finding, ...] = ()
    """Those of ``findings`` that only a look at the Patient and its other studies can give."""
    error: str | None = None
    announced: str = ""
    """What result events last said of it: a digest, a failure's code, or nothing; see `sync.announcing`."""
    announcements: int = 0
    finished: bool = False
    """False while a pass is on its way (or died there): trust ids, ``begun`` and ``patient_keys`` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """One study's say about its patient; the Patient resource is built from all rows of its key."""

    patient_key: str
    study: StudyRef
    study_date: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    How far a walk has come: a change feed, a listing, a slow check of everything. One row a walk.

    ``position`` is JSON and the walker's own; it names no patient. ``holder`` is who walks until ``held_until`` (aware
    UTC), empty when nobody does: see `sync.leases`.
    """

    name: str
    position: Mapping[str, Any] = field(default_factory=dict)
    holder: str = ""
    held_until: datetime | None = None
    advanced_at: datetime | None = None
    """When ``position`` last moved, or was found to be the end."""


RECONCILE_CURSOR = "reconcile"
"""Cursor of the timer that compares everything in turn; its position holds ``last_round`` (``began``, ``ended``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvent:
    """
    Something that came of a study, for people to look at: nothing is decided by it.

    ``outcome`` is a word of `sync.pipeline.Projected`; counts are those of the study then. Aware UTC.
    """

    study: StudyRef
    at: datetime
    outcome: str
    series: int = 0
    instances: int = 0


class SubjectKind(enum.Enum):
    """What a dead letter is about."""

    OBJECT = "object"
    STUDY = "study"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """
    A failure that needs somebody, kept until its cause is gone. One per subject: a repeat updates it.

    ``subject`` is the object key, the study key or the digest of the message: never a name or a value. What a retry
    needs is kept elsewhere and shown to operators only: an object's name in its locator, a study's UID in its
    projection row. A message itself is in ``message``, with the ``queue`` that it came from.
    """

    kind: SubjectKind
    subject: str
    code: str
    detail: str
    hint: str
    first_at: datetime
    last_at: datetime
    attempts: int = 1
    message: str | None = field(default=None, repr=False)
    queue: str = ""

    @classmethod
    def of(cls, kind: SubjectKind, subject: str, failure: SyncError, now: datetime, **kept: Any) -> DeadLetter:
        """Make the letter of a failure that happened now; ``kept`` is what a retry needs."""
        code, detail, hint = failure.code, failure.detail, failure.hint
        return cls(kind=kind, subject=subject, code=code, detail=detail, hint=hint, first_at=now, last_at=now, **kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterEntry:
    """A dead letter as a list of all of them has it: enough to count, group and sort."""

    kind: SubjectKind
    subject: str
    code: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPage:
    """Some dead letters; ``token`` asks for the next ones, None: these were the last."""

    letters: Sequence[DeadLetter] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What an operator did: who, what, to which subject (a hashed key, or a code), why."""

    at: datetime
    who: str
    action: str
    subject: str
    code: str = ""
    why: str = ""


class DriftKind(enum.Enum):
    """How source, ledger and FHIR can disagree; the value is the code in reports, metrics and the runbook."""

    MISSING = "drift.missing"
    STALE = "drift.stale"
    FOREIGN_MODIFIED = "drift.foreign_modified"
    ORPHANED = "drift.orphaned"
    DOUBLED = "drift.doubled"
    SET_ASIDE = "drift.set_aside"
    OBJECT_GONE = "drift.object_gone"
    OBJECT_CHANGED = "drift.object_changed"
    OBJECT_UNSEEN = "drift.object_unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """
    One disagreement that a check has found, until a later check finds it gone.

    ``subject`` is what was checked: a study key, or the address of what belongs to no study. ``resource`` is the
    address of what is wrong, ``Type/id`` in FHIR or ``object/`` and an object key; ``detail`` holds names of elements
    and codes, never a value. ``kept`` means that a repair had its turn and FHIR would not let it go: no alarm.
    """

    subject: str
    kind: DriftKind
    resource: str
    detail: str = ""
    kept: bool = False
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value with the ETag of the table row that holds it."""

    value: T
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some bytes of an object, and what its store says of it: ETag without quotes, whole size, last change (UTC)."""

    data: bytes
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object as a listing of its container shows it."""

    object: ObjectRef
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    Some objects of a listing in the order of their names; ``token`` asks for the next page, None: that was the last.

    A token may hold an object's name: it is kept in a cursor and shown to nobody.
    """

    objects: Sequence[ListedObject] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSegment:
    """
    About an hour of a blob change feed. Only a ``finished`` one gets no further records.

    ``shards`` are the folders of its chunk files.
    """

    begin: datetime
    finished: bool
    shards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    Changes that a walk found, and where it stands once they all are dealt with.

    ``passed`` counts the entries beside them that concern nothing of ours, ``unusable`` those that name no object.
    """

    changes: Sequence[Change] = ()
    position: Mapping[str, Any] = field(default_factory=dict)
    passed: int = 0
    unusable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirPage:
    """One page of a listing; ``following`` is the link of the next one, None after the last."""

    resources: Sequence[Resource] = field(repr=False)
    following: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMetadata:
    """What a DICOM service says of one instance: its DICOM JSON (PS3.18 F.2), unjudged, and when it last changed."""

    dataset: Any = field(repr=False)
    etag: str = ""
    changed: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirWrite:
    """One entry of a transaction: PUT when there is a resource, DELETE when there is none."""

    resource_type: str
    resource_id: str
    resource: Resource | None = field(default=None, repr=False)
    if_match: str | None = None
