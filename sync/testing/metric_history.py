"""Measurements over time, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from sync.ports import MetricHistory
from sync.telemetry.measurements import MetricRow
from sync.testing.table import MemoryTable


class MemoryMetricHistory(MetricHistory):
    """Measurements over time."""

    def __init__(self) -> None:
        self.table: MemoryTable[tuple[int, datetime, str], MetricRow] = MemoryTable()

    async def write(self, row: MetricRow) -> None:
        """Insert or replace."""
        self.table.upsert((row.seconds, row.start, row.worker), row)

    async def between(self, seconds: int, start: datetime, end: datetime) -> AsyncIterator[MetricRow]:
        """Iterate over the rows of ``seconds`` length with ``start <= row.start < end``, oldest first."""
        for row in self._oldest_first(seconds):
            if start <= row.start < end:
                yield row

    async def discard(self, seconds: int, before: datetime, most: int) -> int:
        """Delete at most ``most`` rows of ``seconds`` length that start before ``before``."""
        old = [row for row in self._oldest_first(seconds) if row.start < before][:most]
        await self.drop(old)
        return len(old)

    async def drop(self, rows: Sequence[MetricRow]) -> None:
        """Delete these rows; a missing row is fine."""
        for row in rows:
            self.table.discard((row.seconds, row.start, row.worker))

    def _oldest_first(self, seconds: int) -> list[MetricRow]:
        rows = [row for row in self.table.values() if row.seconds == seconds]
        return sorted(rows, key=lambda row: (row.start, row.worker))
