"""
One table: reads and writes its rows, and translates the library's errors into errors of the sync.

Source: Azure "Query timeout and pagination" (an answer holds a thousand rows at most, and may hold fewer, or none,
though others follow).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure.errors import GARBLED, etag_of, state_errors
from sync.adapters.azure.tables.queries import ETAG, pages_of
from sync.adapters.azure.tables.rows import Entity
from sync.adapters.azure.tables.single_rows import SingleRows
from sync.errors import StoreUnavailable
from sync.model import Stored

T = TypeVar("T")

MOST = 1000
"""Rows that one answer of the service holds at most."""


class Table:
    """One table, accessed by the library's client."""

    def __init__(self, client: TableClient) -> None:
        self.client = client
        self.rows = SingleRows(client)

    async def read(self, partition: str, row: str, value_from: Callable[[Any], T]) -> Stored[T] | None:
        """
        Return the value of a row, and its ETag; None only when there is no such row.

        Raises
        ------
        StoreUnavailable
            The table did not answer, or the answer is not the requested row.
        """
        with state_errors():
            try:
                entity = await self.rows.get_entity(partition, row)
            except ResourceNotFoundError:
                return None
        if (entity.get("PartitionKey"), entity.get("RowKey")) != (partition, row):
            raise StoreUnavailable("the answer is not the row that was asked for", code="store.garbled", hint=GARBLED)
        return Stored(value_from(entity), entity[ETAG])

    async def upsert(self, row: Entity) -> None:
        """Insert or replace."""
        with state_errors():
            await self.rows.upsert_entity(row)

    async def write(self, row: Entity, etag: str | None) -> str:
        """Insert (``etag`` None) or replace; return the new ETag. `StoreConflict` when another writer changed it."""
        with state_errors():
            if etag is None:
                metadata = await self.rows.create_entity(row)
            else:
                metadata = await self.rows.update_entity(
                    row, mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
                )
            return etag_of(metadata)

    async def delete(self, partition: str, row: str) -> None:
        """Delete; a missing row is fine."""
        with state_errors(), suppress(ResourceNotFoundError):
            await self.rows.delete_entity(partition, row)

    async def delete_unchanged(self, partition: str, row: str, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        with state_errors():
            await self.rows.delete_entity(partition, row, etag=etag)

    def every(self) -> AsyncIterator[Entity]:
        """Iterate over all rows in the order of their keys."""
        return self.query("")

    def partition(self, key: str) -> AsyncIterator[Entity]:
        """Iterate over the rows of a partition in the order of their keys."""
        return self.query("PartitionKey eq @partition", partition=key)

    async def query(
        self, condition: str, *, columns: list[str] | None = None, **parameters: str
    ) -> AsyncIterator[Entity]:
        """Iterate over the rows that meet a condition, in the order of their keys."""
        with state_errors():
            async for page in pages_of(self.client, condition, parameters, columns=columns):
                for row in page:
                    yield row

    async def first(
        self,
        most: int,
        condition: str = "",
        *,
        columns: list[str] | None = None,
        etags: bool = False,
        **parameters: str,
    ) -> list[Entity]:
        """Return the first ``most`` rows, of those that meet ``condition`` if given; ``etags`` as in `pages_of`."""
        entities: list[Entity] = []
        size = max(1, min(most, MOST))
        with state_errors():
            async for page in pages_of(self.client, condition, parameters, columns=columns, size=size, etags=etags):
                entities += page
                if len(entities) >= most:
                    break
        return entities[:most]
