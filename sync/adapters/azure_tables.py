"""
The state of the sync in Azure Table Storage (Azurite locally).

Point reads and conditional writes only; the writes of ingest go through the `Batcher`. ETags are the service's own and
change with every write. Source: Azure "Table service REST API", "Managing concurrency in Table Storage".
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from sync.adapters import azure_names as names
from sync.adapters.azure_batching import LINGER, LONGEST_LINGER, Batcher
from sync.adapters.azure_drifts import TableDrifts
from sync.adapters.azure_errors import state_errors
from sync.adapters.azure_history import TableHistory
from sync.adapters.azure_letters import TableAuditTrail, TableDeadLetters
from sync.adapters.azure_outbox import TableOutbox
from sync.adapters.azure_rows import (
    CURSOR_PARTITION,
    DIRTY_SHARDS,
    Entity,
    cursor_from,
    cursor_row,
    dirty_from,
    dirty_row,
    dirty_shard,
    key_of,
    ledger_from,
    ledger_row,
    locator_from,
    locator_row,
    patient_from,
    patient_row,
    projection_from,
    projection_row,
)
from sync.adapters.azure_series import TableSeries
from sync.adapters.azure_tallies import TableTallies
from sync.errors import StoreConflict
from sync.model import (
    Cursor,
    DirtyStudy,
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

_REMEMBERED = 10_000
_PAGE = 1000
"""The most rows that the service gives in one answer."""

_NOT_FOUND = 404


class TableLocators(Locators):
    """Table ``locators``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._batcher = Batcher(table)

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None."""
        return await self.find(ref.key)

    async def find(self, key: ObjectKey) -> Stored[Locator] | None:
        """Return the row by key alone."""
        found = await _get(self._table, key.partition, key.row)
        return Stored(locator_from(found), found.metadata["etag"]) if found is not None else None

    async def folder(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of a folder's objects."""
        for partition in folder_partitions(account, container, folder):
            async for row in _partition(self._table, partition):
                yield locator_from(row)

    async def insert(self, locator: Locator) -> str:
        """Write a new row; `StoreConflict` when there is one."""
        return await self._batcher.write("create", locator_row(locator))

    async def replace(self, locator: Locator, etag: str) -> str:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        return await self._batcher.write("replace", locator_row(locator), etag)


class TableLedger(Ledger):
    """Table ``ledger``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._batcher = Batcher(table)

    async def upsert(self, row: LedgerRow) -> None:
        """Insert or replace."""
        await self._batcher.write("upsert", ledger_row(row))

    async def delete(self, study: StudyRef, key: ObjectKey) -> None:
        """Delete; a missing row is fine. Not batched: in a transaction a missing row would fail all."""
        await _discard(self._table, study.key, str(key))

    async def read(self, study: StudyRef) -> Sequence[LedgerRow]:
        """Return all rows of the study."""
        return [ledger_from(row) async for row in _partition(self._table, study.key)]


class TableDirtyStudies(DirtyStudies):
    """
    Table ``dirty``.

    Marks of one study that arrive while one is on its way share the next write: hundreds of instances of a study
    arrive at once, and one fresh ETag after the last of their rows says it all.
    """

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._next: dict[str, asyncio.Task[bool]] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._seen_dirty: set[str] = set()
        self._distrusted: set[str] = set()
        """Studies whose next write has to say so."""

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        found = await _get(self._table, dirty_shard(study), study.key)
        return Stored(dirty_from(found), found.metadata["etag"]) if found is not None else None

    async def mark(self, study: StudyRef, now: datetime, *, distrust: bool = False) -> bool:
        """Insert the row, or set ``last_marked``; of the callers that share a write only the first may get True."""
        if distrust:
            self._distrusted.add(study.key)
        shared = self._next.get(study.key)
        if shared is not None:
            await asyncio.shield(shared)
            return False
        shared = self._next[study.key] = asyncio.create_task(self._mark_soon(study, now))
        return await asyncio.shield(shared)

    async def _mark_soon(self, study: StudyRef, now: datetime) -> bool:
        lock = self._locks.setdefault(study.key, asyncio.Lock())
        try:
            async with lock:
                await asyncio.sleep(LONGEST_LINGER if study.key in self._seen_dirty else LINGER)
                # The write begins now: who comes later must not share it.
                del self._next[study.key]
                distrust = study.key in self._distrusted
                self._distrusted.discard(study.key)
                with state_errors():
                    return await self._mark(study, now, distrust=distrust)
        finally:
            if self._next.get(study.key) is asyncio.current_task():
                del self._next[study.key]

    async def _mark(self, study: StudyRef, now: datetime, *, distrust: bool) -> bool:
        fresh = dirty_row(DirtyStudy(study=study, first_marked=now, last_marked=now, distrust=distrust))
        touched = {"PartitionKey", "RowKey", "last_marked", "distrust"}
        touch = {name: value for name, value in fresh.items() if name in touched}
        while True:
            if study.key not in self._seen_dirty:
                try:
                    await self._table.create_entity(fresh)
                except ResourceExistsError:
                    pass
                else:
                    self._remember(study.key)
                    return True
            try:
                await self._table.update_entity(touch, mode=UpdateMode.MERGE)
            except ResourceNotFoundError:
                self._seen_dirty.discard(study.key)
            else:
                self._remember(study.key)
                return False

    def _remember(self, key: str) -> None:
        """Note that a merge is likely to succeed; forgetting costs one request, so the set may be emptied at will."""
        if len(self._seen_dirty) > _REMEMBERED:
            self._seen_dirty.clear()
        self._seen_dirty.add(key)

    async def postpone(self, dirty: DirtyStudy, etag: str) -> None:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        with state_errors():
            await self._table.update_entity(
                dirty_row(dirty), mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )

    async def delete(self, study: StudyRef, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        self._seen_dirty.discard(study.key)
        with state_errors():
            # The library takes a missing row for success, and for us it is none.
            await self._table.delete_entity(
                {"PartitionKey": dirty_shard(study), "RowKey": study.key},
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                raw_response_hook=_refuse_missing,
            )

    async def all(self) -> AsyncIterator[DirtyStudy]:
        """Iterate over every outstanding study."""
        for shard in range(DIRTY_SHARDS):
            async for row in _partition(self._table, f"{shard:02d}"):
                yield dirty_from(row)


class TableProjections(Projections):
    """Table ``projections``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        found = await _get(self._table, study.key, "projection")
        return Stored(projection_from(found), found.metadata["etag"]) if found is not None else None

    async def write(self, projection: Projection, etag: str | None) -> str:
        """Insert or replace; `StoreConflict` when somebody else wrote."""
        return await _write_fenced(self._table, projection_row(projection), etag)

    async def all(self) -> AsyncIterator[Projection]:
        """Iterate over all rows."""
        async for row in _everything(self._table):
            yield projection_from(row)

    async def after(self, key: str, limit: int) -> Sequence[Projection]:
        """Return the next rows beyond a study key; the service keeps them by partition key, which it is."""
        return [projection_from(row) async for row in _beyond(self._table, key, limit)]

    async def find(self, key: str) -> Projection | None:
        """Return the row by study key alone."""
        found = await _get(self._table, key, "projection")
        return projection_from(found) if found is not None else None


class TablePatientRows(PatientRows):
    """Table ``patients``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def upsert(self, row: PatientRow) -> None:
        """Insert or replace."""
        with state_errors():
            await self._table.upsert_entity(patient_row(row), mode=UpdateMode.REPLACE)

    async def delete(self, patient_key: str, study: StudyRef) -> None:
        """Delete; a missing row is fine."""
        await _discard(self._table, key_of(patient_key), study.key)

    async def read(self, patient_key: str) -> Sequence[PatientRow]:
        """Return all rows of the patient."""
        return [patient_from(row) async for row in _partition(self._table, key_of(patient_key))]


class TableCursors(Cursors):
    """Table ``cursors``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def read(self, name: str) -> Stored[Cursor] | None:
        """Return the row; None only when there is none."""
        found = await _get(self._table, CURSOR_PARTITION, key_of(name))
        return Stored(cursor_from(found), found.metadata["etag"]) if found is not None else None

    async def write(self, cursor: Cursor, etag: str | None) -> str:
        """Insert or replace; `StoreConflict` when somebody else wrote."""
        return await _write_fenced(self._table, cursor_row(cursor), etag)

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        await _discard(self._table, CURSOR_PARTITION, key_of(name))

    async def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows."""
        async for row in _everything(self._table):
            yield cursor_from(row)


class TableStore:
    """All state tables of one account, under the names that `sync.ports.Services` uses."""

    def __init__(self, service: TableServiceClient) -> None:
        self._service = service
        self.locators = TableLocators(service.get_table_client(names.LOCATORS))
        self.ledger = TableLedger(service.get_table_client(names.LEDGER))
        self.dirty = TableDirtyStudies(service.get_table_client(names.DIRTY))
        self.projections = TableProjections(service.get_table_client(names.PROJECTIONS))
        self.patients = TablePatientRows(service.get_table_client(names.PATIENTS))
        self.dead_letters = TableDeadLetters(service.get_table_client(names.DEAD_LETTERS))
        self.drifts = TableDrifts(service.get_table_client(names.DRIFTS))
        self.cursors = TableCursors(service.get_table_client(names.CURSORS))
        self.series = TableSeries(service.get_table_client(names.SERIES))
        self.outbox = TableOutbox(service.get_table_client(names.OUTBOX))
        self.audit = TableAuditTrail(service.get_table_client(names.AUDIT))
        self.history = TableHistory(service.get_table_client(names.HISTORY))
        self.tallies = TableTallies(service)

    async def ensure(self) -> None:
        """Create the tables that are missing. Safe to repeat."""
        with state_errors():
            await asyncio.gather(*(self._service.create_table_if_not_exists(name) for name in names.TABLES))

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()


async def _get(table: TableClient, partition: str, row: str) -> Any | None:
    with state_errors():
        try:
            return await table.get_entity(partition, row)
        except ResourceNotFoundError:
            return None


async def _write_fenced(table: TableClient, row: Entity, etag: str | None) -> str:
    """Insert (``etag`` None) or replace; `StoreConflict` when somebody else wrote."""
    with state_errors():
        if etag is None:
            answer = await table.create_entity(row)
        else:
            answer = await table.update_entity(
                row, mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )
    return str(answer["etag"])


async def _discard(table: TableClient, partition: str, row: str) -> None:
    with state_errors():
        await _quietly(table.delete_entity(partition, row))


async def _quietly(deletion: Awaitable[None]) -> None:
    try:
        await deletion
    except ResourceNotFoundError:
        return


def _refuse_missing(response: Any) -> None:
    if response.http_response.status_code == _NOT_FOUND:
        raise StoreConflict("the row is gone")


async def _partition(table: TableClient, partition: str) -> AsyncIterator[Mapping[str, Any]]:
    with state_errors():
        async for row in table.query_entities("PartitionKey eq @partition", parameters={"partition": partition}):
            yield row


async def _beyond(table: TableClient, partition: str, limit: int) -> AsyncIterator[Mapping[str, Any]]:
    """Iterate over the next rows in the order of partitions; a page may be short, or empty, before the end."""
    left = limit
    rows = table.query_entities(
        "PartitionKey gt @partition", parameters={"partition": partition}, results_per_page=min(limit, _PAGE)
    )
    with state_errors():
        async for row in rows:
            yield row
            left -= 1
            if not left:
                return


async def _everything(table: TableClient) -> AsyncIterator[Mapping[str, Any]]:
    with state_errors():
        async for row in table.list_entities():
            yield row
