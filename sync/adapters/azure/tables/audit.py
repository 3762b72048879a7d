"""
Table ``audit``: the operators' actions.

Keys begin with the time, counted backwards, so that the newest entries come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, check_size, newest_first
from sync.adapters.azure.tables.table import Table
from sync.model import AuditEntry, digest
from sync.model.timestamps import utc_of
from sync.ports import AuditTrail

_PARTITION = "audit"


def audit_row(entry: AuditEntry) -> Entity:
    """Return the row of table ``audit``."""
    author = digest(entry.who, entry.action, entry.subject, entry.code, length=16)
    return check_size(
        {
            "PartitionKey": _PARTITION,
            "RowKey": f"{newest_first(entry.at)}-{author}",
            "at": entry.at.isoformat(),
            "who": entry.who,
            "action": entry.action,
            "subject": entry.subject,
            "code": entry.code,
            "why": entry.why,
        }
    )


def audit_from(row: Mapping[str, Any]) -> AuditEntry:
    """Read a row back: the inverse of `audit_row`."""
    texts = {name: row[name] for name in ("who", "action", "subject", "code", "why")}
    return AuditEntry(at=utc_of(row["at"]), **texts)


class TableAuditTrail(AuditTrail):
    """Table ``audit``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def add(self, entry: AuditEntry) -> None:
        """Keep the entry."""
        await self._table.upsert(audit_row(entry))

    async def newest(self, limit: int) -> Sequence[AuditEntry]:
        """Return at most ``limit`` entries, the newest first: rows are sorted by key, and keys count time backwards."""
        return [audit_from(row) for row in await self._table.first(limit)]
