"""The state of the pipeline in memory: rows as strict as those of Table Storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sync.errors import StoreConflict
from sync.model import (
    Cursor,
    DirtyStudy,
    LedgerEntry,
    LedgerRow,
    Locator,
    ObjectKey,
    ObjectRef,
    PatientRow,
    Projection,
    Stored,
    StudyRef,
    folder_partitions,
)
from sync.ports import Cursors, DirtyStudies, Ledger, Locators, PatientRows, Projections
from sync.testing.table import MemoryTable


class MemoryLocators(Locators):
    """One row per object."""

    def __init__(self) -> None:
        self.table: MemoryTable[ObjectKey, Locator] = MemoryTable()

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None."""
        return self.table.get(ref.key)

    async def find(self, key: ObjectKey) -> Stored[Locator] | None:
        """Return the row by key alone."""
        return self.table.get(key)

    async def folder(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of a folder's objects."""
        partitions = folder_partitions(account, container, folder)
        for locator in self.table.values():
            if locator.object.key.partition in partitions:
                yield locator

    async def etags(self, partition: str, most: int) -> Mapping[str, str | None] | None:
        """Return the objects of a partition by row key."""
        rows = [row for row in self.table.values() if row.object.key.partition == partition]
        return {row.object.key.row: row.etag if row.settled else None for row in rows} if len(rows) <= most else None

    async def rows(self, partition: str, most: int) -> Sequence[Stored[Locator]] | None:
        """Return the rows of a partition."""
        keys = [row.object.key for row in self.table.values() if row.object.key.partition == partition]
        rows = [stored for key in keys if (stored := self.table.get(key)) is not None]
        return rows if len(rows) <= most else None

    async def below(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of objects below a folder."""
        for locator in list(self.table.values()):
            ref = locator.object
            if (ref.account, ref.container) == (account, container) and ref.name.startswith(f"{folder}/"):
                yield locator

    async def insert(self, locator: Locator) -> str:
        """Write a new row; `StoreConflict` when there is one."""
        return self.table.insert(locator.object.key, locator)

    async def replace(self, locator: Locator, etag: str) -> str:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        return self.table.replace(locator.object.key, locator, etag)


class MemoryLedger(Ledger):
    """One row per object, in the partition of its study."""

    def __init__(self) -> None:
        self.studies: dict[str, MemoryTable[ObjectKey, LedgerRow]] = {}

    async def upsert(self, row: LedgerRow) -> None:
        """Insert or replace."""
        self.studies.setdefault(row.record.study.key, MemoryTable()).upsert(row.object_key, row)

    async def delete(self, study: StudyRef, key: ObjectKey) -> None:
        """Delete; a missing row is fine."""
        if (rows := self.studies.get(study.key)) is not None:
            rows.discard(key)

    async def read(self, study: StudyRef) -> Sequence[LedgerRow]:
        """Return all rows of the study."""
        rows = self.studies.get(study.key)
        return rows.values() if rows is not None else []

    async def between(self, first: str, last: str) -> AsyncIterator[Sequence[LedgerRow]]:
        """Iterate over the studies from one key to another, both included: all rows of each."""
        for key in sorted(self.studies):
            if first <= key <= last and (rows := self.studies[key].values()):
                yield rows

    async def orders(self, study: StudyRef, most: int) -> Sequence[str]:
        """Return ``order`` of that many rows of the study."""
        return [row.order for row in (await self.read(study))[:most]]

    async def entries(self, uid: str, study: StudyRef | None = None) -> AsyncIterator[LedgerEntry]:
        """Iterate over the rows whose study, series or instance has that UID."""
        for key in list(self.studies) if study is None else [study.key]:
            for row in self.studies[key].values() if key in self.studies else ():
                entry = LedgerEntry(
                    study=row.record.study,
                    series_instance_uid=row.record.series_instance_uid,
                    sop_instance_uid=row.record.sop_instance_uid,
                    object_key=row.object_key,
                )
                if entry.has(uid):
                    yield entry


class MemoryDirtyStudies(DirtyStudies):
    """The outbox."""

    def __init__(self) -> None:
        self.table: MemoryTable[str, DirtyStudy] = MemoryTable()

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        return self.table.get(study.key)

    async def mark(
        self, study: StudyRef, now: datetime, *, bypass_cache: bool = False, longest_gap: float | None = None
    ) -> bool:
        """Insert the row, or set ``last_marked`` on it, keeping the rest; True when the row is new."""
        stored = self.table.get(study.key)
        new = DirtyStudy(study=study, first_marked=now, last_marked=now, comparison=True)
        before = stored.value if stored else new
        marked = replace(
            before,
            last_marked=now,
            bypass_cache=before.bypass_cache or bypass_cache,
            comparison=before.comparison and bypass_cache,
        )
        if longest_gap is not None:
            marked = replace(marked, longest_gap=longest_gap)
        self.table.upsert(study.key, marked)
        return stored is None

    async def postpone(self, dirty: DirtyStudy, etag: str) -> None:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        self.table.replace(dirty.study.key, dirty, etag)

    async def delete(self, study: StudyRef, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        self.table.delete(study.key, etag)

    async def all(self) -> AsyncIterator[DirtyStudy]:
        """Iterate over every outstanding study."""
        for dirty in self.table.values():
            yield dirty


class MemoryProjections(Projections):
    """The content that the sync last wrote to FHIR, one row per study."""

    def __init__(self) -> None:
        self.table: MemoryTable[str, Projection] = MemoryTable()

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        return self.table.get(study.key)

    async def write(self, projection: Projection, etag: str | None) -> str:
        """Insert (``etag`` None) or replace; `StoreConflict` when another writer changed it."""
        key = projection.study.key
        return self.table.insert(key, projection) if etag is None else self.table.replace(key, projection, etag)

    async def all(self) -> AsyncIterator[Projection]:
        """Iterate over all rows."""
        for projection in self.table.values():
            yield projection

    async def after(self, key: str, limit: int) -> Sequence[Projection]:
        """Return the next rows after a study key, by study key."""
        beyond = [projection for projection in self.table.values() if projection.study.key > key]
        return sorted(beyond, key=lambda projection: projection.study.key)[:limit]

    async def find(self, key: str) -> Projection | None:
        """Return the row by study key alone."""
        stored = self.table.get(key)
        return stored.value if stored is not None else None


class MemoryPatientRows(PatientRows):
    """The patient attributes of each study."""

    def __init__(self) -> None:
        self.table: MemoryTable[tuple[str, str], PatientRow] = MemoryTable()

    async def upsert(self, row: PatientRow) -> None:
        """Insert or replace."""
        self.table.upsert((row.patient_key, row.study.key), row)

    async def delete(self, patient_key: str, study: StudyRef) -> None:
        """Delete; a missing row is fine."""
        self.table.discard((patient_key, study.key))

    async def read(self, patient_key: str) -> Sequence[PatientRow]:
        """Return all rows of the patient."""
        return [row for row in self.table.values() if row.patient_key == patient_key]

    async def between(self, first: str, before: str) -> AsyncIterator[Sequence[PatientRow]]:
        """Iterate over the patients of a range of keys: all rows of each."""
        keys = {row.patient_key for row in self.table.values()}
        for key in sorted(key for key in keys if first <= key < before):
            if rows := await self.read(key):
                yield rows


class MemoryCursors(Cursors):
    """How far each feed, listing and check has come."""

    def __init__(self) -> None:
        self.table: MemoryTable[str, Cursor] = MemoryTable()

    async def read(self, name: str) -> Stored[Cursor] | None:
        """Return the row, or None."""
        return self.table.get(name)

    async def write(self, cursor: Cursor, etag: str | None) -> str:
        """Insert (``etag`` None) or replace; `StoreConflict` when another writer changed it."""
        name = cursor.name
        return self.table.insert(name, cursor) if etag is None else self.table.replace(name, cursor, etag)

    async def replace_beside(self, cursor: Cursor, etag: str, new: Sequence[Cursor]) -> str:
        """Replace a row and insert others, all or none."""
        if any(self.table.get(other.name) is not None for other in new):
            raise StoreConflict("a row is there already")
        changed = self.table.replace(cursor.name, cursor, etag)
        for other in new:
            self.table.insert(other.name, other)
        return changed

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        self.table.discard(name)

    async def delete_all(self, names: Sequence[str]) -> None:
        """Delete rows; a missing row is no error."""
        for name in names:
            self.table.discard(name)

    async def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows."""
        for cursor in self.table.values():
            yield cursor
