"""
What the pipeline needs from the world, as Protocols; `sync.adapters` has two of each, in memory and for Azure.

All methods are coroutines and safe to repeat unless they say otherwise. Table rows carry an ETag that changes with
every write, also one of equal content. Adapters translate every library exception: a lost race is `StoreConflict`,
an outage is a `TransientError`.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol
from weakref import WeakValueDictionary

from sync.config import Settings
from sync.model import (
    AuditEntry,
    Chunk,
    Cursor,
    DeadLetter,
    DirtyStudy,
    Drift,
    FeedSegment,
    FhirPage,
    FhirWrite,
    InstanceMetadata,
    LedgerRow,
    LetterEntry,
    LetterPage,
    Locator,
    ObjectKey,
    ObjectRef,
    Page,
    PatientRow,
    Projection,
    Resource,
    Stored,
    StudyEvent,
    StudyRef,
    SubjectKind,
)
from sync.results import ResultEvent
from sync.samples import SeriesRow
from sync.telemetry import Telemetry


class Clock(Protocol):
    """The time; tests turn it by hand."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...


class ObjectSource(Protocol):
    """The store of DICOM objects."""

    async def read(self, ref: ObjectRef, *, start: int, length: int, etag: str | None = None) -> Chunk:
        """
        Read bytes ``start`` to ``start + length``; a range past the end is cut short, an empty object gives no bytes.

        Raises
        ------
        SourceGone
            The object, or its container, does not exist.
        SourceChanged
            ``etag`` was given and the object has another one now.
        SourceUnavailable
            The store did not answer.
        """
        ...

    async def etag(self, ref: ObjectRef) -> str:
        """
        Return the object's ETag, without quotes, and none of its bytes.

        Raises
        ------
        SourceGone, SourceUnavailable
            See `read`.
        """
        ...


class ObjectListing(Protocol):
    """What is in a container, page by page."""

    async def page(self, container: str, *, prefix: str = "", token: str | None = None, size: int = 1000) -> Page:
        """
        Return the next objects whose names begin with ``prefix``, in the order of their names.

        Folders that a store keeps as objects of their own are left out; a page may be empty though others follow.

        Parameters
        ----------
        token
            Of the page before, None for the first one. It stays good for as long as the container is there.
        size
            Objects of a page at most; at least 1.

        Raises
        ------
        SourceGone
            There is no such container.
        ForeignSource
            It is not among the configured ones.
        StaleToken
            The store does not take the token any more: begin anew.
        SourceUnavailable
            The store did not answer.
        """
        ...


class BlobFeed(Protocol):
    """The change feed of the account of the DICOM files: every change of its blobs, in segments of about an hour."""

    def segments(self, start: datetime, end: datetime) -> AsyncIterator[FeedSegment]:
        """
        Iterate over the segments that begin from ``start`` on and before ``end``, in order, as far as they may be read.

        Raises
        ------
        FeedMissing
            The account has no change feed.
        FeedMalformed
            It is not as documented.
        SourceUnavailable
            The store did not answer.
        """
        ...

    def records(self, segment: FeedSegment) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """
        Iterate over the records of a segment, some at a time; those of a finished one always in the same portions.

        Raises
        ------
        FeedMalformed, SourceUnavailable
            As `segments`.
        """
        ...


class InstanceSource(Protocol):
    """
    A DICOM service: it tells the attributes of its instances as DICOM JSON. `Services.instances` holds ours by account.

    Its objects are named as `sync.model.ObjectRef`: ``account`` is the service, ``container`` the data partition (empty
    where there is none), ``name`` what the service calls the instance.
    """

    @property
    def account(self) -> str:
        """What `ObjectRef.account` of its instances is."""
        ...

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        """
        Return what the service says of the instance now.

        Raises
        ------
        SourceGone
            There is no such instance.
        SourceUnavailable
            The service did not answer, refused us, or answered what is no DICOM JSON.
        """
        ...

    def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        """
        Iterate over the instances that the service holds of a study now, in no particular order; none is fine.

        Raises
        ------
        SourceUnavailable
            See `metadata`.
        """
        ...


class ChangeFeed(Protocol):
    """
    What happened to the instances of a DICOM service, in order: the feed of Azure's, version 2.

    ``state`` and metadata of an entry say what the instance is *now*, when the page is read, not what the entry did.
    """

    @property
    def account(self) -> str:
        """What `ObjectRef.account` of its instances is."""
        ...

    async def page(
        self, *, start: str = "", end: str = "", offset: int = 0, limit: int = 200, metadata: bool = True
    ) -> Sequence[Any]:
        """
        Return entries of a window of time, by timestamp and sequence, as the service sent them: nothing is checked.

        Parameters
        ----------
        start
            First timestamp, ISO 8601 with an offset; empty: from the beginning.
        end
            First timestamp that is not wanted any more; empty: to the end.
        offset
            Entries of the window to skip.
        limit
            Entries to return at most, up to 200.
        metadata
            Whether the entries carry the metadata of their instances.

        Raises
        ------
        SourceUnavailable
            The service did not answer, refused us, or answered no list.
        """
        ...


class OrthancServer(InstanceSource, Protocol):
    """An Orthanc: besides metadata it tells what was stored, and what it holds."""

    async def changes(self, since: int, limit: int) -> Any:
        """
        Return the changes after a sequence number as the server sent them: nothing is checked.

        Raises
        ------
        SourceUnavailable
            The server did not answer, or refused us.
        """
        ...

    async def count(self) -> int | None:
        """Return how many instances it holds; None when it does not say. Raises like `changes`."""
        ...

    def held(self) -> AsyncIterator[ObjectRef]:
        """Iterate over all its instances, in no particular order. Raises like `changes`."""
        ...

    def ref(self, instance: str) -> ObjectRef:
        """Return the reference of an instance by Orthanc's own id; ValueError when it can be none."""
        ...


class Locators(Protocol):
    """One row an object."""

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None."""
        ...

    async def find(self, key: ObjectKey) -> Stored[Locator] | None:
        """Return the row by key alone, for retries of dead letters, which hold no name."""
        ...

    def folder(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """
        Iterate over the rows of objects whose names are ``folder``, a slash and more without one, in no order.

        Gone and unreadable ones included. It reads the partitions of that folder only.
        """
        ...

    async def insert(self, locator: Locator) -> str:
        """Write a new row and return its ETag; `StoreConflict` when there is one."""
        ...

    async def replace(self, locator: Locator, etag: str) -> str:
        """Replace the row and return the new ETag; `StoreConflict` unless its ETag is the given one."""
        ...


class Ledger(Protocol):
    """One row an object, in the partition of its study."""

    async def upsert(self, row: LedgerRow) -> None:
        """Insert or replace."""
        ...

    async def delete(self, study: StudyRef, key: ObjectKey) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, study: StudyRef) -> Sequence[LedgerRow]:
        """Return all rows of the study, 0..n, in no particular order."""
        ...


class DirtyStudies(Protocol):
    """The outbox: outstanding studies only."""

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        ...

    async def mark(self, study: StudyRef, now: datetime, *, distrust: bool = False) -> bool:
        """
        Insert the row, or set ``last_marked`` on it, keeping the rest: attempts tell that a pass failed half-way.

        Parameters
        ----------
        distrust
            Set ``distrust`` too; a mark without it never takes it away.

        Returns
        -------
        bool
            True when the row is new. The ETag changes either way.
        """
        ...

    async def postpone(self, dirty: DirtyStudy, etag: str) -> None:
        """Replace the row (its attempts and ``not_before``); `StoreConflict` unless its ETag is the given one."""
        ...

    async def delete(self, study: StudyRef, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        ...

    def all(self) -> AsyncIterator[DirtyStudy]:
        """Iterate over every outstanding study, in no particular order."""
        ...


class Projections(Protocol):
    """What we last wrote, one row a study."""

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        ...

    async def write(self, projection: Projection, etag: str | None) -> str:
        """Insert (``etag`` None) or replace and return the new ETag; `StoreConflict` when somebody else wrote."""
        ...

    def all(self) -> AsyncIterator[Projection]:
        """Iterate over all rows, in no particular order."""
        ...

    async def after(self, key: str, limit: int) -> Sequence[Projection]:
        """Return the next rows beyond a study key, at most so many, by study key; an empty key is the beginning."""
        ...

    async def find(self, key: str) -> Projection | None:
        """Return the row by study key alone, which the id of an ImagingStudy of ours holds."""
        ...


class PatientRows(Protocol):
    """What each study says of its patient, in the partition of the patient key."""

    async def upsert(self, row: PatientRow) -> None:
        """Insert or replace."""
        ...

    async def delete(self, patient_key: str, study: StudyRef) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, patient_key: str) -> Sequence[PatientRow]:
        """Return all rows of the patient, 0..n, in no particular order."""
        ...


class Cursors(Protocol):
    """How far each feed, listing and check has come, one row each."""

    async def read(self, name: str) -> Stored[Cursor] | None:
        """
        Return the row; None only when there is none.

        Raises
        ------
        StoreUnavailable
            Storage did not answer; that never means "begin at the beginning".
        """
        ...

    async def write(self, cursor: Cursor, etag: str | None) -> str:
        """Insert (``etag`` None) or replace and return the new ETag; `StoreConflict` when somebody else wrote."""
        ...

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        ...

    def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows, in no particular order."""
        ...


class Drifts(Protocol):
    """What checks found to disagree, by subject; a subject without rows is right, or was never checked."""

    async def note(self, subject: str, found: Sequence[Drift], now: datetime) -> None:
        """Make these all the rows of the subject; what was known before keeps its ``first_at``."""
        ...

    def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows, in no particular order."""
        ...


class DeadLetters(Protocol):
    """Permanent failures, one row a subject."""

    async def put(self, letter: DeadLetter) -> None:
        """Insert, or update keeping ``first_at`` and adding to ``attempts``."""
        ...

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:
        """Return the row, or None."""
        ...

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag, for it may have failed again."""
        ...

    def all(self) -> AsyncIterator[DeadLetter]:
        """Iterate over all dead letters, in no particular order."""
        ...

    async def page(self, *, code: str | None = None, limit: int = 100, token: str | None = None) -> LetterPage:
        """
        Return some dead letters, of one code or of all, without reading the others.

        The order is no particular one but lasts: every letter that is there all along comes exactly once. A page may
        be empty though others follow.

        Parameters
        ----------
        token
            Of the page before; None for the first one. One that is none gives the first page.
        """
        ...

    async def entries(self) -> Sequence[LetterEntry]:
        """Return all of them, in no particular order, with little of each: thousands take a fraction of a second."""
        ...


class AuditTrail(Protocol):
    """What operators did."""

    async def add(self, entry: AuditEntry) -> None:
        """Keep the entry; one that is equal in all but the reason is replaced, so it may be repeated."""
        ...

    async def newest(self, limit: int) -> Sequence[AuditEntry]:
        """Return at most so many, the newest first."""
        ...


class StudyHistory(Protocol):
    """What came of studies lately, for the dashboard. Nothing depends on it, and a crash may lose an entry."""

    async def add(self, event: StudyEvent) -> None:
        """Keep an event; the same one again is one."""
        ...

    async def of_study(self, study: StudyRef, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of a study, newest first."""
        ...

    async def latest(self, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of all studies, newest first."""
        ...

    async def discard(self, before: datetime, most: int) -> int:
        """Delete at most so many events that are older, and return how many; oldest first or not."""
        ...


class Series(Protocol):
    """Measurements over time: a row for each minute of each worker, and one for each hour of all. See `sync.series`."""

    async def write(self, row: SeriesRow) -> None:
        """Insert or replace the row of this worker and time."""
        ...

    def between(self, seconds: int, start: datetime, end: datetime) -> AsyncIterator[SeriesRow]:
        """Iterate over the rows of that length with ``start <= row.start < end``, oldest first."""
        ...

    async def discard(self, seconds: int, before: datetime, most: int) -> int:
        """Delete at most so many rows of that length that start earlier, and return how many; oldest first."""
        ...


class Outbox(Protocol):
    """Result events that were not delivered yet; few, unless the topic does not answer."""

    async def put(self, event: ResultEvent) -> None:
        """Insert or replace, by id."""
        ...

    async def delete(self, event: ResultEvent) -> None:
        """Delete; a missing row is fine."""
        ...

    async def waiting(self, limit: int) -> Sequence[ResultEvent]:
        """Return at most so many, in no particular order."""
        ...


class ResultEvents(Protocol):
    """Where result events go."""

    async def publish(self, events: Sequence[ResultEvent]) -> None:
        """
        Send the events, all or none; sent again, they have the same ids.

        Raises
        ------
        EventsUnavailable
            The topic did not answer.
        EventsRefused
            It never will take them.
        """


class Counted(enum.Enum):
    """What is counted without being read."""

    DIRTY = "dirty"
    PROJECTIONS = "projections"
    DEAD_LETTERS = "deadletters"
    DRIFTS = "drifts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    What one page of a table adds to its counts.

    Words: ``studies`` of outstanding studies; ``studies`` and ``instances`` of those in FHIR; codes of dead letters;
    kinds of drift, without those that are kept on purpose.
    """

    counts: Mapping[str, int]
    oldest: datetime | None = None
    """When the page's oldest row came, for outstanding studies and dead letters."""
    token: str | None = None
    """Where the next page begins; None at the end of the table."""


class Tallies(Protocol):
    """Counts of rows, a page at a time: small and quick however much the rows hold."""

    async def page(self, table: Counted, token: str | None = None) -> Tally:
        """Count about a thousand rows; from the beginning without a token."""
        ...


class StudyQueue(Protocol):
    """The queue ``studies``: hints that a study is outstanding. The dirty row is the truth."""

    async def enqueue(self, study: StudyRef, delay: float = 0.0) -> None:
        """Send a message that becomes visible after ``delay`` seconds (at most 7 days)."""
        ...

    async def length(self) -> int:
        """Return about how many messages there are, invisible ones included."""
        ...


class ObjectQueue(Protocol):
    """The queue ``objects``, into which Event Grid delivers, and we put what is to be looked at again."""

    async def send(self, text: str, delay: float = 0.0) -> None:
        """
        Send a message that becomes visible after ``delay`` seconds (at most 7 days).

        Raises
        ------
        MessageTooLarge
            No queue takes it.
        """
        ...


class LostEvents(Protocol):
    """Event Grid's dead-letter container: blobs with events that it could not deliver."""

    async def names(self, most: int) -> Sequence[str]:
        """Return at most so many names, of blobs that are not marked; none when there is no container."""
        ...

    async def read(self, name: str, most: int) -> str | None:
        """Return the text of a blob, cut at so many bytes; None when it is gone."""
        ...

    async def remove(self, name: str) -> None:
        """Delete; a missing blob is fine."""
        ...

    async def mark(self, name: str) -> None:
        """Leave the blob, but out of `names`."""
        ...


class QueueDepths(Protocol):
    """Lengths of all our queues, for status."""

    async def depths(self) -> dict[str, int]:
        """Return queue name -> about how many messages, invisible ones included."""
        ...

    async def oldest(self) -> dict[str, datetime]:
        """Return queue name -> when the message that waits first in line was sent; without those where none waits."""
        ...


class FhirServer(Protocol):
    """
    A FHIR R4 service.

    Only updates can be fenced: servers ignore If-Match on DELETE and If-None-Match on PUT.
    """

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the resource as it is now with ``meta.versionId``; None when it never was or is deleted."""
        ...

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Read many resources, given as ``Type/id``, with few requests; like `read`, in the order of the references."""
        ...

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        """Return the resources that carry the identifier, 0..n, never from a cache; of any system when it is None."""
        ...

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        """
        List all resources of a type, page by page, each with its id and identifiers at least, never from a cache.

        What is created or deleted meanwhile may be missing, or be there still: read a resource before judging it.

        Parameters
        ----------
        link
            ``following`` of the page before; None for the first one.
        subject
            Only resources about this one, ``Type/id``; for the first page, the links go on with it.

        Raises
        ------
        FhirRejected
            The link has expired: begin anew.
        ForeignLink
            The service sends us elsewhere.
        """
        ...

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """
        Apply the writes, all or none where the server can; every entry of the answer is checked.

        Returns
        -------
        Sequence
            New version id of each write, in order; None for a DELETE (deleting what is gone is fine).

        Raises
        ------
        FhirConflict
            An If-Match failed, or the server reports a conflict. With a server whose transactions are not atomic
            some writes may have been applied.
        FhirRejected
            400, 404, 422: what was sent is not acceptable.
        Throttled, FhirUnavailable
            After the adapter's own short retries.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    What is sent when an alert is raised or cleared: codes and figures, no name and no key.

    ``id`` is the same whenever this notice is sent again; ``alert`` is common to a raising and its clearing.
    """

    id: str
    alert: str
    step: str
    """``raised`` or ``cleared``."""
    code: str
    severity: str
    """``critical`` or ``warning``."""
    text: str
    at: datetime
    value: float
    threshold: float

    def as_json(self) -> dict[str, Any]:
        """As an outbox keeps it."""
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Notice:
        """Inverse of `as_json`."""
        return cls(**{**kept, "at": datetime.fromisoformat(kept["at"])})


class AlertChannel(Protocol):
    """A way to reach people or programs."""

    async def send(self, notice: Notice) -> None:
        """
        Send a notice; sent again, it has the same id.

        Raises
        ------
        TransientError
            Not sent, after the adapter's own short retries.
        """
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
    series: Series
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
    """DICOM services by account; an object of any other account is in ``objects``. `sync.looking` chooses."""
    dicom_feed: ChangeFeed | None = None
    """Change feed of the DICOM service, where one is configured."""
    orthanc: OrthancServer | None = None
    """The Orthanc that is read, where one is configured."""
    verified: set[str] = field(default_factory=set)
    """Hashes of shared resources that this process has seen as they should be, so that not every study reads them."""
    results: ResultEvents | None = None
    """None: nobody is told."""
    announced: dict[str, ResultEvent] = field(default_factory=dict)
    """Events that this process has put into the outbox and not sent yet, by id."""
    turns: WeakValueDictionary[ObjectKey, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Locks of the objects that this process is looking at; they go when nobody holds them."""
