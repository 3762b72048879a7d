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
        Iterate over the rows of objects whose names are ``folder``, a slash and more without one, in no order.

        Gone and unreadable ones included. It reads the partitions of that folder only.
        """
        ...

    async def etags(self, partition: str, most: int) -> Mapping[str, str | None] | None:
        """
        Return the objects of a partition by row key, in few requests; None where there are more than ``most``.

        The value is the object's ETag if it was inspected to the end as it was then, else None.
        """
        ...

    async def rows(self, partition: str, most: int) -> Sequence[Stored[Locator]] | None:
        """Return the rows of a partition, in few requests and no order; None where there are more than ``most``."""
        ...

    def below(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """
        Iterate over the rows of objects in ``folder`` and all folders below it, in no order.

        Gone and unreadable ones included. It reads the whole table, so it is for what happens to folders only.
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
        """Iterate over the studies from one key to another, both included, by key: all rows of each, as `read`."""
        ...

    async def orders(self, study: StudyRef, most: int) -> Sequence[str]:
        """Return ``order`` of the rows of the study, of any ``most`` of them if there are more, and nothing else."""
        ...

    def entries(self, uid: str, study: StudyRef | None = None) -> AsyncIterator[LedgerEntry]:
        """
        Iterate over the rows whose study, series or instance has that UID, in no particular order, without attributes.

        Parameters
        ----------
        study
            Read only the rows of this study. None reads the whole table, so it is for questions of operators only.
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
        Insert the row, or set ``last_marked`` on it, keeping the rest: its attempts show that one failed half-way.

        Parameters
        ----------
        bypass_cache
            Compare with FHIR itself next time; a mark without it never takes it away.
        longest_gap
            Of `DirtyStudy`; a mark without it never takes it away, the latest that has one counts.

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
    """What we last wrote, one row per study."""

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
        """Return the next rows beyond a study key, at most that many, by study key; an empty key is the beginning."""
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


MOST_BESIDE = 50
"""Rows that are inserted beside one that is replaced at most."""


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
        """Insert (``etag`` None) or replace and return the new ETag; `StoreConflict` when another writer changed it."""
        ...

    async def replace_beside(self, cursor: Cursor, etag: str, new: Sequence[Cursor]) -> str:
        """
        Replace a row and insert others, all or none; return the new ETag of the first.

        Parameters
        ----------
        new
            Others, at most `MOST_BESIDE`.

        Raises
        ------
        StoreConflict
            Another writer changed the row, or one of the others is there already; nothing was written.
        """
        ...

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        ...

    async def delete_all(self, names: Sequence[str]) -> None:
        """Delete rows, as few requests as that takes; one that is missing is fine. Not all or none."""
        ...

    def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows, in no particular order."""
        ...


class Drifts(Protocol):
    """What checks found to disagree, by subject; a subject without rows is right, or was never checked."""

    async def note(self, subject: str, drifts: Sequence[Drift], now: datetime) -> None:
        """Make these all the rows of the subject, each as `Drift.noted` says."""
        ...

    def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows, in no particular order."""
        ...


class DeadLetters(Protocol):
    """Permanent failures, one row a subject."""

    async def put(self, letter: DeadLetter) -> bool:
        """
        Insert, or update keeping ``first_at`` and adding to ``attempts``.

        Returns
        -------
        bool
            Whether it is a new failure: its subject had no dead letter of this code.
        """
        ...

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        """Delete; a missing row is fine."""
        ...

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:
        """Return the row, or None."""
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
        Return some dead letters, of one code, one kind or of all, without reading the others.

        The order is no particular one but lasts: every letter that is there all along comes exactly once. A page may
        be empty though others follow.

        Parameters
        ----------
        token
            Of the page before; None for the first one. An invalid token gives the first page.
        """
        ...
