"""Table ``cursors``: the position of each walk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from azure.data.tables import TableTransactionError
from azure.data.tables.aio import TableClient

from sync.adapters.azure.errors import GARBLED, concerns_all, etag_of, state_errors
from sync.adapters.azure.tables.batching import MAX_ROWS
from sync.adapters.azure.tables.rows import Entity, check_size, key_of, pack, time_from, time_text, unpack, without_none
from sync.adapters.azure.tables.table import Table
from sync.adapters.azure.tables.transactions import TransactionClient
from sync.errors import StoreUnavailable
from sync.model import Cursor, Stored
from sync.model.batches import batched
from sync.ports import Cursors

_PARTITION = "cursors"

_DELETED_AT_ONCE = 16


def cursor_row(cursor: Cursor) -> Entity:
    """Return the row of table ``cursors``, all in one partition: there are few."""
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
    """Read a row back: the inverse of `cursor_row`."""
    return Cursor(
        name=row["name"],
        position=unpack(row, "position"),
        holder=row["holder"],
        held_until=time_from(row.get("held_until")),
        advanced_at=time_from(row.get("advanced_at")),
    )


class TableCursors(Cursors):
    """Table ``cursors``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)
        self._together = TransactionClient(table)

    async def read(self, name: str) -> Stored[Cursor] | None:
        """Return the row; None only when there is none."""
        return await self._table.read(_PARTITION, key_of(name), cursor_from)

    async def write(self, cursor: Cursor, etag: str | None) -> str:
        """Insert or replace; `StoreConflict` when another writer changed it."""
        return await self._table.write(cursor_row(cursor), etag)

    async def replace_beside(self, cursor: Cursor, etag: str, new: Sequence[Cursor]) -> str:
        """Replace a row and insert others, all or none: all rows are in one partition."""
        replaced = ("update", cursor_row(cursor), {"etag": etag})
        with state_errors():
            answers = await self._together.submit_transaction(
                [replaced, *(("create", cursor_row(other)) for other in new)]
            )
        if len(answers) != 1 + len(new):
            raise StoreUnavailable("fewer answers than rows", code="store.garbled", hint=GARBLED)
        return etag_of(answers[0])

    async def delete(self, name: str) -> None:
        """Delete; a missing row is fine."""
        await self._table.delete(_PARTITION, key_of(name))

    async def delete_all(self, names: Sequence[str]) -> None:
        """Delete rows, a hundred per request; if one of a hundred is missing, they are deleted one by one."""
        for some in batched(list(dict.fromkeys(names)), MAX_ROWS):
            rows = ({"PartitionKey": _PARTITION, "RowKey": key_of(name)} for name in some)
            with state_errors():
                try:
                    await self._together.submit_transaction([("delete", row) for row in rows])
                except TableTransactionError as problem:
                    if concerns_all(problem):
                        raise
                else:
                    continue
            for few in batched(some, _DELETED_AT_ONCE):
                await asyncio.gather(*map(self.delete, few))

    async def all(self) -> AsyncIterator[Cursor]:
        """Iterate over all rows."""
        async for row in self._table.every():
            yield cursor_from(row)
