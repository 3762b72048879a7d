"""All state tables of one account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from azure.data.tables.aio import TableServiceClient

from sync.adapters.azure import names
from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.names_there import names_there
from sync.adapters.azure.tables.audit import TableAuditTrail
from sync.adapters.azure.tables.cursors import TableCursors
from sync.adapters.azure.tables.dead_letters import TableDeadLetters
from sync.adapters.azure.tables.dirty import TableDirtyStudies
from sync.adapters.azure.tables.drifts import TableDrifts
from sync.adapters.azure.tables.history import TableHistory
from sync.adapters.azure.tables.ledger import TableLedger
from sync.adapters.azure.tables.locators import TableLocators
from sync.adapters.azure.tables.metric_history import TableMetricHistory
from sync.adapters.azure.tables.outbox import TableOutbox
from sync.adapters.azure.tables.patients import TablePatientRows
from sync.adapters.azure.tables.projections import TableProjections
from sync.adapters.azure.tables.tallies import TableTallies
from sync.ports import Company


class TableStore:
    """
    All state tables of one account, under the names that `sync.ports.Services` uses.

    Parameters
    ----------
    company
        Tells which deliveries may still join a write; by default only those that wait for one.
    """

    def __init__(self, service: TableServiceClient, company: Company | None = None) -> None:
        company = company or Company()
        self._service = service
        self.locators = TableLocators(service.get_table_client(names.LOCATORS), company)
        self.ledger = TableLedger(service.get_table_client(names.LEDGER), company)
        self.dirty = TableDirtyStudies(service.get_table_client(names.DIRTY), company)
        self.projections = TableProjections(service.get_table_client(names.PROJECTIONS))
        self.patients = TablePatientRows(service.get_table_client(names.PATIENTS))
        self.dead_letters = TableDeadLetters(service.get_table_client(names.DEAD_LETTERS))
        self.drifts = TableDrifts(service.get_table_client(names.DRIFTS))
        self.cursors = TableCursors(service.get_table_client(names.CURSORS))
        self.metrics = TableMetricHistory(service.get_table_client(names.METRICS))
        self.outbox = TableOutbox(service.get_table_client(names.OUTBOX))
        self.audit = TableAuditTrail(service.get_table_client(names.AUDIT))
        self.history = TableHistory(service.get_table_client(names.HISTORY))
        self.tallies = TableTallies(service)

    async def ensure(self) -> None:
        """Try to create each table, which also proves the permission to do so. Idempotent."""
        await self._create(names.TABLES)

    async def create_missing(self) -> None:
        """Create the tables that a listing lacks: one request when none is missing. Idempotent."""
        there = await names_there(self._service.list_tables())
        await self._create([name for name in names.TABLES if name not in there])

    async def _create(self, tables: Iterable[str]) -> None:
        with state_errors():
            await asyncio.gather(*(self._service.create_table_if_not_exists(name) for name in tables))

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()
