"""
What came of studies lately, in Azure Table Storage: table ``history``.

Each event has two rows, one among those of its study and one among those of all, and both keys begin with the time,
newest first: the first page is what anybody wants to see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure_errors import state_errors
from sync.adapters.azure_rows import LATEST_PARTITION, history_from, history_keys, history_row, newest_first
from sync.model import StudyEvent, StudyRef
from sync.ports import StudyHistory

_AT_ONCE = 20
_OF = "PartitionKey eq @partition"
_OLDER = "PartitionKey eq @partition and RowKey gt @age"


class TableHistory(StudyHistory):
    """Table ``history``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def add(self, event: StudyEvent) -> None:
        """Keep an event; the same one again is one."""
        with state_errors():
            rows = [history_row(event, keys) for keys in history_keys(event)]
            await asyncio.gather(*(self._table.upsert_entity(row, mode=UpdateMode.REPLACE) for row in rows))

    async def of_study(self, study: StudyRef, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of a study."""
        return await self._first(_OF, most, partition=study.key)

    async def latest(self, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of all studies."""
        return await self._first(_OF, most, partition=LATEST_PARTITION)

    async def discard(self, before: datetime, most: int) -> int:
        """Delete at most so many events that are older, both rows of each."""
        old = await self._first(_OLDER, most, partition=LATEST_PARTITION, age=newest_first(before))
        for start in range(0, len(old), _AT_ONCE):
            await asyncio.gather(*(self._delete(event) for event in old[start : start + _AT_ONCE]))
        return len(old)

    async def _first(self, query: str, most: int, **parameters: str) -> Sequence[StudyEvent]:
        found: list[StudyEvent] = []
        with state_errors():
            pages = self._table.query_entities(query, parameters=parameters, results_per_page=most).by_page()
            async for page in pages:
                found += [history_from(row) async for row in page]
                if len(found) >= most:
                    break
        return found[:most]

    async def _delete(self, event: StudyEvent) -> None:
        """Delete the row by which the event is found last, so that a crash in between leaves it to be found."""
        with state_errors():
            for partition, row in history_keys(event):
                try:
                    await self._table.delete_entity(partition, row)
                except ResourceNotFoundError:
                    continue
