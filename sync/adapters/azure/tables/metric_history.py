"""
Table ``series``: measurements over time.

Minutes of an hour share a partition, tenths of a day another, hours of a month a third, and both keys begin with the
time: any stretch of time is one range query, and the oldest rows come first. A worker overwrites its row of the current
minute, so a repeated write counts nothing twice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, check_size, pack, packed, unpacked
from sync.adapters.azure.tables.table import Table
from sync.model.batches import batched
from sync.model.timestamps import utc_of
from sync.ports import MetricHistory
from sync.telemetry.measurements import HOUR, MINUTE, TENTH, Measurement, MeasurementKey, Measurements, MetricRow

_PARTITIONS = {MINUTE: "m-%Y%m%d%H", TENTH: "t-%Y%m%d", HOUR: "h-%Y%m"}
"""Length of a row's time -> form of its partition key."""

_AT_ONCE = 20

_READ_LATELY = 512
"""Rows whose measurements the process caches: a week of hours, a day of tenths, an hour of a few workers' minutes."""

_BETWEEN = "PartitionKey ge @first and PartitionKey le @last and RowKey ge @start and RowKey lt @end"
_BEFORE = "PartitionKey ge @first and PartitionKey le @last and RowKey lt @end"
_BEGINNING = datetime(1970, 1, 1)  # noqa: DTZ001 -- only its digits are used


def _keys(seconds: int, start: datetime) -> tuple[str, str]:
    """Return partition key and row key prefix of a row of table ``series``; both sort by time."""
    return start.strftime(_PARTITIONS[seconds]), start.strftime("%Y%m%d%H%M")


def _row_keys(row: MetricRow) -> tuple[str, str]:
    partition, begins = _keys(row.seconds, row.start)
    return partition, f"{begins}-{row.worker}"


def metric_row(row: MetricRow) -> Entity:
    """Return the row of table ``metrics``."""
    partition, key = _row_keys(row)
    samples = [
        [key.name, key.attributes, measurement.count, measurement.total, measurement.highest, measurement.buckets]
        for key, measurement in sorted(row.samples.items())
    ]
    return check_size(
        {
            "PartitionKey": partition,
            "RowKey": key,
            "seconds": row.seconds,
            "start": row.start.isoformat(),
            "worker": row.worker,
            **pack("samples", samples),
        }
    )


def metric_row_from(row: Mapping[str, Any]) -> MetricRow:
    """Read a row back: the inverse of `metric_row`."""
    return MetricRow(
        seconds=row["seconds"],
        start=utc_of(row["start"]),
        worker=row["worker"],
        samples=_measurements_from(packed(row, "samples")),
    )


@lru_cache(maxsize=_READ_LATELY)
def _measurements_from(data: bytes) -> Measurements:
    """Decode a row's measurements. Cached: this dominates the cost of a chart, and few rows change between charts."""
    samples = {
        MeasurementKey(name, tuple((k, v) for k, v in attributes)): Measurement(count, total, highest, tuple(buckets))
        for name, attributes, count, total, highest, buckets in unpacked(data)
    }
    return MappingProxyType(samples)


class TableMetricHistory(MetricHistory):
    """Table ``series``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def write(self, row: MetricRow) -> None:
        """Insert or replace."""
        await self._table.upsert(metric_row(row))

    async def between(self, seconds: int, start: datetime, end: datetime) -> AsyncIterator[MetricRow]:
        """Iterate over the rows of ``seconds`` length with ``start <= row.start < end``, oldest first."""
        (first, since), (last, until) = _keys(seconds, start), _keys(seconds, end)
        async for row in self._table.query(_BETWEEN, first=first, last=last, start=since, end=until):
            yield metric_row_from(row)

    async def discard(self, seconds: int, before: datetime, most: int) -> int:
        """Delete at most ``most`` rows of ``seconds`` length that start before ``before``; a missing row is fine."""
        (first, _), (last, until) = _keys(seconds, _BEGINNING), _keys(seconds, before)
        keys = ["PartitionKey", "RowKey"]
        old = await self._table.first(most, _BEFORE, columns=keys, first=first, last=last, end=until)
        await self._delete([(row["PartitionKey"], row["RowKey"]) for row in old])
        return len(old)

    async def drop(self, rows: Sequence[MetricRow]) -> None:
        """Delete these rows; a missing row is fine."""
        await self._delete([_row_keys(row) for row in rows])

    async def _delete(self, keys: Sequence[tuple[str, str]]) -> None:
        for some in batched(keys, _AT_ONCE):
            await asyncio.gather(*itertools.starmap(self._table.delete, some))
