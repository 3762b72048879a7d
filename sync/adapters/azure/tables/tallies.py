"""
Counts of rows in Azure Table Storage: one page per call, and only the columns that are counted.

Source: Azure "Query timeout and pagination" (a page holds a thousand rows at most, and may hold fewer though others
follow), "Query Entities" ($select).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from azure.data.tables.aio import TableServiceClient

from sync.adapters.azure import names
from sync.adapters.azure.errors import state_errors
from sync.model import DeadLetterEntry, SubjectKind
from sync.model.timestamps import utc_of
from sync.ports import Counted, Tallies, Tally

Rows = Sequence[Mapping[str, Any]]


def _dirty(rows: Rows) -> Tally:
    return Tally(counts={"studies": len(rows)} if rows else {}, oldest=_oldest(rows, "first_marked"))


def _projections(rows: Rows) -> Tally:
    held = [row["instances"] for row in rows if row["finished"] and row["instances"]]
    return Tally(counts={"studies": len(held), "instances": sum(held)})


def _dead_letters(rows: Rows) -> Tally:
    return Tally.of_letters(
        DeadLetterEntry(
            kind=SubjectKind(row["PartitionKey"]),
            subject=row["subject"],
            code=row["code"],
            first_at=utc_of(row["first_at"]),
            last_at=utc_of(row["last_at"]),
        )
        for row in rows
    )


def _drifts(rows: Rows) -> Tally:
    return Tally(counts=Counter(row["kind"] for row in rows if not row["kept"]))


def _oldest(rows: Rows, column: str) -> datetime | None:
    return min((utc_of(row[column]) for row in rows), default=None)


_WAYS: Mapping[Counted, tuple[str, list[str], Callable[[Rows], Tally]]] = {
    Counted.DIRTY: (names.DIRTY, ["first_marked"], _dirty),
    Counted.PROJECTIONS: (names.PROJECTIONS, ["finished", "instances"], _projections),
    Counted.DEAD_LETTERS: (
        names.DEAD_LETTERS,
        ["PartitionKey", "subject", "code", "first_at", "last_at"],
        _dead_letters,
    ),
    Counted.DRIFTS: (names.DRIFTS, ["kind", "kept"], _drifts),
}


class TableTallies(Tallies):
    """Counts of the tables of one account."""

    def __init__(self, service: TableServiceClient) -> None:
        self._tables = {table: service.get_table_client(name) for table, (name, _, _) in _WAYS.items()}

    async def page(self, table: Counted, token: str | None = None) -> Tally:
        """Count about a thousand rows; from the beginning without a token."""
        _, columns, tallied = _WAYS[table]
        listed = self._tables[table].list_entities(select=columns)
        # The library takes a mapping as the continuation, though its annotation says text.
        pages: Any = listed.by_page(continuation_token=json.loads(token) if token else None)
        with state_errors():
            try:
                rows = [row async for row in await anext(pages)]
            except StopAsyncIteration:
                rows = []
        following = pages.continuation_token
        return replace(tallied(rows), token=json.dumps(following) if following else None)
