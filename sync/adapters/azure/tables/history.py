"""
Table ``history``: the recent processing history of studies.

Each event has two rows, one in the partition of its study and one in the partition of all studies. Both keys begin with
the time, newest first, so the first page is the one that is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, newest_first, study_columns, study_from
from sync.adapters.azure.tables.table import Table
from sync.model import StudyEvent, StudyRef
from sync.model.batches import batched
from sync.model.timestamps import utc_of
from sync.ports import StudyHistory

_LATEST = "latest"
"""Partition of the events of all studies."""

_AT_ONCE = 20
_OF = "PartitionKey eq @partition"
_OLDER = "PartitionKey eq @partition and RowKey gt @age"


def history_keys(event: StudyEvent) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return partition and row key of an event's two rows: for its study, and for all studies."""
    age = newest_first(event.at)
    return (event.study.key, age), (_LATEST, f"{age}-{event.study.key}")


def history_row(event: StudyEvent, keys: tuple[str, str]) -> Entity:
    """Return the row of table ``history``."""
    partition, row = keys
    return {
        "PartitionKey": partition,
        "RowKey": row,
        **study_columns(event.study),
        "at": event.at.isoformat(),
        "outcome": event.outcome,
        "series": event.series,
        "instances": event.instances,
    }


def history_from(row: Mapping[str, Any]) -> StudyEvent:
    """Read a row back: the inverse of `history_row`."""
    return StudyEvent(
        study=study_from(row),
        at=utc_of(row["at"]),
        outcome=row["outcome"],
        series=row["series"],
        instances=row["instances"],
    )


class TableHistory(StudyHistory):
    """Table ``history``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def add(self, event: StudyEvent) -> None:
        """Keep an event; adding it again has no effect."""
        await asyncio.gather(*(self._table.upsert(history_row(event, keys)) for keys in history_keys(event)))

    async def of_study(self, study: StudyRef, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of a study."""
        return [history_from(row) for row in await self._table.first(most, _OF, partition=study.key)]

    async def latest(self, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of all studies."""
        return [history_from(row) for row in await self._table.first(most, _OF, partition=_LATEST)]

    async def discard(self, before: datetime, most: int) -> int:
        """Delete at most ``most`` events that are older than ``before``, both rows of each."""
        rows = await self._table.first(most, _OLDER, partition=_LATEST, age=newest_first(before))
        old = [history_from(row) for row in rows]
        for some in batched(old, _AT_ONCE):
            await asyncio.gather(*map(self._delete, some))
        return len(old)

    async def _delete(self, event: StudyEvent) -> None:
        """Delete last the row by which the event is found, so that it can still be found after a crash in between."""
        for partition, row in history_keys(event):
            await self._table.delete(partition, row)
