"""Table ``drifts``: the differences that checks found, one partition per subject."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, check_size, key_of, time_from
from sync.adapters.azure.tables.table import Table
from sync.model import Drift, DriftKind
from sync.ports import Drifts


def drift_row(drift: Drift) -> Entity:
    """Return the row of table ``drifts``."""
    row = {
        "PartitionKey": key_of(drift.subject),
        "RowKey": key_of(f"{drift.kind.value}.{drift.resource}"),
        "subject": drift.subject,
        "kind": drift.kind.value,
        "resource": drift.resource,
        "detail": drift.detail,
        "kept": drift.kept,
        "first_at": drift.first_at.isoformat() if drift.first_at else "",
        "last_at": drift.last_at.isoformat() if drift.last_at else "",
        "found_in": drift.found_in,
    }
    return check_size(row)


def drift_from(row: Mapping[str, Any]) -> Drift:
    """Read a row back: the inverse of `drift_row`."""
    return Drift(
        subject=row["subject"],
        kind=DriftKind(row["kind"]),
        resource=row["resource"],
        detail=row["detail"],
        kept=row["kept"],
        first_at=time_from(row["first_at"]),
        last_at=time_from(row["last_at"]),
        found_in=row.get("found_in", ""),
    )


class TableDrifts(Drifts):
    """Table ``drifts``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def note(self, subject: str, drifts: Sequence[Drift], now: datetime) -> None:
        """Replace the subject's rows by these; two concurrent checks leave the drifts of both."""
        partition = key_of(subject)
        recorded = {row["RowKey"]: drift_from(row) async for row in self._table.partition(partition)}
        for drift in drifts:
            noted = drift.noted(recorded.pop(drift_row(drift)["RowKey"], None), now)
            if noted is not None:
                await self._table.upsert(drift_row(noted))
        # Obsolete rows are deleted last: a crash in between shows a drift too many, never one too few.
        for obsolete in recorded:
            await self._table.delete(partition, obsolete)

    async def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows."""
        async for row in self._table.every():
            yield drift_from(row)
