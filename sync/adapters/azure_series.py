"""
Measurements over time in Azure Table Storage: table ``series``.

Minutes of an hour share a partition, hours of a month another, and both keys begin with the time: any stretch of time
is one range query, and the oldest rows come first. A worker overwrites its row of the current minute, so a write that
is repeated counts nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure_errors import state_errors
from sync.adapters.azure_rows import series_from, series_keys, series_row
from sync.ports import Series
from sync.samples import SeriesRow

_AT_ONCE = 20

_BETWEEN = "PartitionKey ge @first and PartitionKey le @last and RowKey ge @start and RowKey lt @end"
_BEFORE = "PartitionKey ge @first and PartitionKey le @last and RowKey lt @end"
_BEGINNING = datetime(1970, 1, 1)  # noqa: DTZ001 -- only its digits are used


class TableSeries(Series):
    """Table ``series``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def write(self, row: SeriesRow) -> None:
        """Insert or replace."""
        with state_errors():
            await self._table.upsert_entity(series_row(row), mode=UpdateMode.REPLACE)

    async def between(self, seconds: int, start: datetime, end: datetime) -> AsyncIterator[SeriesRow]:
        """Iterate over the rows of that length with ``start <= row.start < end``, oldest first."""
        (first, since), (last, until) = series_keys(seconds, start), series_keys(seconds, end)
        keys = {"first": first, "last": last, "start": since, "end": until}
        with state_errors():
            async for row in self._table.query_entities(_BETWEEN, parameters=keys):
                yield series_from(row)

    async def discard(self, seconds: int, before: datetime, most: int) -> int:
        """Delete at most so many rows of that length that start earlier; a row that is gone already is fine."""
        (first, _), (last, until) = series_keys(seconds, _BEGINNING), series_keys(seconds, before)
        keys = {"first": first, "last": last, "end": until}
        with state_errors():
            pages = self._table.query_entities(
                _BEFORE, parameters=keys, select=["PartitionKey", "RowKey"], results_per_page=most
            ).by_page()
            old = [row async for page in _first(pages) async for row in page][:most]
            for start in range(0, len(old), _AT_ONCE):
                some = old[start : start + _AT_ONCE]
                await asyncio.gather(*(self._table.delete_entity(row["PartitionKey"], row["RowKey"]) for row in some))
        return len(old)


async def _first(pages: AsyncIterator[AsyncIterator[dict[str, str]]]) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """Yield one page that is not empty, if there is any: the service may send empty ones."""
    async for page in pages:
        yield page
        return
