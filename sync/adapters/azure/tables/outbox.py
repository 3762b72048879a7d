"""Table ``outbox``: result events to be published, one row per event, deleted once the event was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, check_size, key_of
from sync.adapters.azure.tables.table import Table
from sync.model.result_events import ResultEvent
from sync.model.timestamps import utc_of
from sync.ports import Outbox

_PARTITION = "outbox"


class TableOutbox(Outbox):
    """Table ``outbox``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def put(self, event: ResultEvent) -> None:
        """Insert or replace."""
        await self._table.upsert(_row(event))

    async def delete(self, event: ResultEvent) -> None:
        """Delete; a missing row is fine."""
        await self._table.delete(_PARTITION, key_of(event.id))

    async def waiting(self, limit: int) -> Sequence[ResultEvent]:
        """Return at most ``limit`` events; events put at other times have other ids, so none is left out for long."""
        return [_event(row) for row in await self._table.first(limit)]


def _row(event: ResultEvent) -> Entity:
    return check_size(
        {
            "PartitionKey": _PARTITION,
            "RowKey": key_of(event.id),
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "at": event.at.isoformat(),
            "data": json.dumps(event.data),
        }
    )


def _event(row: Mapping[str, Any]) -> ResultEvent:
    return ResultEvent(
        id=row["id"],
        type=row["type"],
        subject=row["subject"],
        at=utc_of(row["at"]),
        data=json.loads(row["data"]),
    )
