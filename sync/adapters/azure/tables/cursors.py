"""Table ``cursors``: the position of each walk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, check_size, key_of, pack, time_text, unpack, without_none
from sync.adapters.azure.tables.table import Table
from sync.model import Cursor, Stored
from sync.model.timestamps import timestamp_from
from sync.ports import Cursors

_PARTITION = "cursors"


def cursor_row(cursor: Cursor) -> Entity:
    """Row of table ``cursors``, all in one partition: there are few."""
    row = {
        "PartitionKey": _PARTITION,
        "RowKey": key_of(cursor.name),
        "name": cursor.name,
        "holder": cursor.holder,
        "held_until": time_text(cursor.held_until),
        "advanced_at": time_text(cursor.advanced_at),
        **pack("position", cursor.position),
    }
    return check_size(without_none(row))


def cursor_from(row: Mapping[str, Any]) -> Cursor:
    """Inverse of `cursor_row`."""
    return Cursor(
        name=row["name"],
        position=unpack(row, "position"),
        holder=row["holder"],
        held_until=timestamp_from(row.get("held_until")),
        advanced_at=timestamp_from(row.get("advanced_at")),
    )


class TableCursors(Cursors):
    """Table ``cursors``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def read(self, name: str) -> Stored[Cursor] | None:
        """Return the row; None only when there is none."""
        return await self._table.read(_PARTITION, key_of(name), cursor_from)

    async def write(self, cursor: Cursor, etag: str | None) -> str:
        """Insert or replace; `StoreConflict` when another writer changed it."""
        return await self._table.write(cursor_row(cursor), etag)

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        await self._table.delete(_PARTITION, key_of(name))

    async def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows."""
        async for row in self._table.every():
            yield cursor_from(row)
