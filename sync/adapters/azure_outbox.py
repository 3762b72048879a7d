"""Result events on their way, in table ``outbox``: one row an event, gone once it was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure_errors import state_errors
from sync.adapters.azure_rows import Entity, check_size, key_of
from sync.ports import Outbox
from sync.results import ResultEvent

_PARTITION = "outbox"
_MOST = 1000


class TableOutbox(Outbox):
    """Table ``outbox``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def put(self, event: ResultEvent) -> None:
        """Insert or replace."""
        with state_errors():
            await self._table.upsert_entity(_row(event), mode=UpdateMode.REPLACE)

    async def delete(self, event: ResultEvent) -> None:
        """Delete; a missing row is fine."""
        with state_errors():
            try:
                await self._table.delete_entity(_PARTITION, key_of(event.id))
            except ResourceNotFoundError:
                return

    async def waiting(self, limit: int) -> Sequence[ResultEvent]:
        """Return at most so many; what was put at other times has other ids, so none stays behind for long."""
        found: list[ResultEvent] = []
        with state_errors():
            async for row in self._table.list_entities(results_per_page=min(limit, _MOST)):
                if len(found) >= limit:
                    break
                found.append(_event(row))
        return found


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
        at=datetime.fromisoformat(row["at"]),
        data=json.loads(row["data"]),
    )
