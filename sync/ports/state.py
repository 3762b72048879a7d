"""The state of the sync, one row at a time. Every row carries an ETag that changes with every write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sync.model import (
    Cursor,
    DeadLetter,
    DeadLetterPage,
    DirtyStudy,
    Drift,
    LedgerEntry,
    LedgerRow,
    Locator,
    ObjectKey,
    ObjectRef,
    PatientRow,
    Projection,
    Stored,
    StudyRef,
    SubjectKind,
)


class Locators(Protocol):
    """One row per object."""

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None."""
        ...

    async def find(self, key: ObjectKey) -> Stored[Locator] | None:
        """Return the row by key alone, for retries of dead letters, which hold no name."""
        ...

    def folder(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """
        Iterate over the rows of objects directly in ``folder`` (not in its subfolders), in no particular order.

        Includes objects that are gone or unreadable. Reads only the partitions of that folder.
        """
        ...

    async def etags(self, partition: str, most: int) -> Mapping[str, str | None] | None:
        """
        Return the objects of a partition by row key, in few requests; None when there are more than ``most``.

        The value is the ETag under which the object was last inspected to the end, None if it was not.
        """
        ...

    async def rows(self, partition: str, most: int) -> Sequence[Stored[Locator]] | None:
        """Return the rows of a partition, in few requests and any order; None when there are more than ``most``."""
        ...

    def below(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """
        Iterate over the rows of objects in ``folder`` and all its subfolders, in no particular order.

        Includes objects that are gone or unreadable. Reads the whole table, so it is only for changes of folders.
        """
        ...

    async def insert(self, locator: Locator) -> str:
        """Write a new row and return its ETag; `StoreConflict` when there is one."""
        ...

    async def replace(self, locator: Locator, etag: str) -> str:
        """Replace the row and return the new ETag; `StoreConflict` unless its ETag is the given one."""
        ...


class Ledger(Protocol):
    """One row per object, in the partition of its study."""

    async def upsert(self, row: LedgerRow) -> None:
        """Insert or replace."""
        ...

    async def delete(self, study: StudyRef, key: ObjectKey) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, study: StudyRef) -> Sequence[LedgerRow]:
        """Return all rows of the study, 0..n, in no particular order."""
        ...

    def between(self, first: str, last: str) -> AsyncIterator[Sequence[LedgerRow]]:
        """Iterate, by key, over the studies from one key to another, both included, with all rows of each."""
        ...

    async def orders(self, study: StudyRef, most: int) -> Sequence[str]:
        """Return only ``order`` of the study's rows; of any ``most`` rows if there are more."""
        ...

    def entries(self, uid: str, study: StudyRef | None = None) -> AsyncIterator[LedgerEntry]:
        """
        Iterate over the rows whose study, series or instance has that UID, without attributes, in no particular order.

        Parameters
        ----------
        study
            Read only the rows of this study. None reads the whole table, so use it only to answer operators.
        """
        ...


class DirtyStudies(Protocol):
    """The outbox: outstanding studies only."""

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        ...

    async def mark(
        self, study: StudyRef, now: datetime, *, bypass_cache: bool = False, longest_gap: float | None = None
    ) -> bool:
        """
        Insert the row, or set ``last_marked`` on it and keep the rest: its attempts show that one failed half-way.

        Parameters
        ----------
        bypass_cache
            Read FHIR itself for the next attempt; a later mark without this flag does not clear it.
        longest_gap
            As in `DirtyStudy`. The latest mark that has a value counts; a mark without one does not clear it.

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
    """The content that we last wrote to FHIR, one row per study."""

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        ...

    async def write(self, projection: Projection, etag: str | None) -> str:
        """Insert (``etag`` None) or replace and return the new ETag; `StoreConflict` when another writer changed it."""
        ...

    def all(self) -> AsyncIterator[Projection]:
        """Iterate over all rows, in no particular order."""
        ...

    async def after(self, key: str, limit: int) -> Sequence[Projection]:
        """Return at most that many rows after a study key, by study key; an empty key starts at the beginning."""
        ...

    async def find(self, key: str) -> Projection | None:
        """Return the row by study key alone, which is part of the id of our ImagingStudies."""
        ...


class PatientRows(Protocol):
    """The patient attributes of each study, in the partition of the patient key."""

    async def upsert(self, row: PatientRow) -> None:
        """Insert or replace."""
        ...

    async def delete(self, patient_key: str, study: StudyRef) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, patient_key: str) -> Sequence[PatientRow]:
        """Return all rows of the patient, 0..n, in no particular order."""
        ...

    def between(self, first: str, before: str) -> AsyncIterator[Sequence[PatientRow]]:
        """
        Iterate over the patients whose keys are from one on and before another, by key: all rows of each.

        Only for keys that rows are kept under as they are, as digests are.
        """
        ...


MOST_BESIDE = 50
"""Maximum number of rows that are inserted together with one replaced row."""


class Cursors(Protocol):
    """The position of each feed, listing and check, one row each."""

    async def read(self, name: str) -> Stored[Cursor] | None:
        """
        Return the row; None only when there is none.

        Raises
        ------
        StoreUnavailable
            Storage did not answer. That never means "start at the beginning".
        """
        ...

    async def write(self, cursor: Cursor, etag: str | None) -> str:
        """Insert (``etag`` None) or replace and return the new ETag; `StoreConflict` when another writer changed it."""
        ...

    async def replace_beside(self, cursor: Cursor, etag: str, new: Sequence[Cursor]) -> str:
        """
        Replace a row and insert others, all or none; return the new ETag of the replaced row.

        Parameters
        ----------
        new
            Rows to insert, at most `MOST_BESIDE`.

        Raises
        ------
        StoreConflict
            Another writer changed the row, or one of the new rows already exists; nothing was written.
        """
        ...

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        ...

    async def delete_all(self, names: Sequence[str]) -> None:
        """Delete rows in as few requests as possible; a missing row is fine. Not atomic."""
        ...

    def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows, in no particular order."""
        ...


class Drifts(Protocol):
    """The drifts that checks found, by subject. A subject without rows is in step, or was never checked."""

    async def note(self, subject: str, drifts: Sequence[Drift], now: datetime) -> None:
        """Replace the rows of the subject by these, each as `Drift.noted` says."""
        ...

    def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows, in no particular order."""
        ...


class DeadLetters(Protocol):
    """Permanent failures, one row per subject."""

    async def put(self, letter: DeadLetter) -> bool:
        """
        Insert, or update keeping ``first_at`` and adding to ``attempts``.

        Returns
        -------
        bool
            Whether the failure is new: its subject had no dead letter of this code.
        """
        ...

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:
        """Return the row, or None."""
        ...

    async def subjects(self, kind: SubjectKind, most: int) -> frozenset[str] | None:
        """Return the subjects of a kind's dead letters, in few requests; None when there are more than ``most``."""
        ...

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag, because it may have failed again."""
        ...

    def all(self) -> AsyncIterator[DeadLetter]:
        """Iterate over all dead letters, in no particular order."""
        ...

    async def page(
        self, *, code: str | None = None, kind: SubjectKind | None = None, limit: int = 100, token: str | None = None
    ) -> DeadLetterPage:
        """
        Return a page of dead letters, of one code, of one kind or of all, without reading the others.

        The order is arbitrary but stable: every dead letter that exists throughout is returned exactly once. A page may
        be empty although others follow.

        Parameters
        ----------
        token
            ``token`` of the previous page; None for the first one. An invalid token gives the first page.
        """
        ...
