"""Table ``projections``: the content that the sync last wrote to FHIR for each study."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import (
    Entity,
    check_size,
    findings_from,
    findings_list,
    pack,
    study_columns,
    study_from,
    unpack,
    without_none,
)
from sync.adapters.azure.tables.table import Table
from sync.model import Projection, Stored, StudyRef
from sync.ports import Projections

_ROW = "projection"
_TEXTS = ("version", "content_hash", "patient_id", "patient_key", "patient_hash", "error")
_PLAIN = ("fhir_id", "adopted", "taken_over", "foreign", "begun", "series", "instances", "finished")
_NEW = {"published_state": "", "published_count": 0}
"""Columns that rows lack if they were written before result events existed."""


def projection_row(projection: Projection) -> Entity:
    """Return the row of table ``projections``."""
    lists = {
        "elements": sorted(projection.elements),
        "patient_keys": sorted(projection.patient_keys),
        "derived": dict(sorted(projection.derived.items())),
        "shared_hashes": sorted(projection.shared_hashes),
        "findings": findings_list(projection.findings),
        "patient_findings": findings_list(projection.patient_findings),
    }
    names = (*_TEXTS, *_PLAIN, *_NEW)
    row = {
        "PartitionKey": projection.study.key,
        "RowKey": _ROW,
        **study_columns(projection.study),
        **{name: getattr(projection, name) for name in names},
        **pack("lists", lists),
    }
    return check_size(without_none(row))


def projection_from(row: Mapping[str, Any]) -> Projection:
    """Read a row back: the inverse of `projection_row`."""
    lists = unpack(row, "lists")
    return Projection(
        study=study_from(row),
        elements=frozenset(lists["elements"]),
        patient_keys=frozenset(lists["patient_keys"]),
        derived=lists.get("derived", {}),
        shared_hashes=frozenset(lists.get("shared_hashes", ())),
        findings=findings_from(lists["findings"]),
        patient_findings=findings_from(lists.get("patient_findings", [])),
        **dict[str, Any]({name: row.get(name) for name in _TEXTS}),
        **dict[str, Any]({name: row[name] for name in _PLAIN}),
        **dict[str, Any]({name: row.get(name, default) for name, default in _NEW.items()}),
    )


class TableProjections(Projections):
    """Table ``projections``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        return await self._table.read(study.key, _ROW, projection_from)

    async def write(self, projection: Projection, etag: str | None) -> str:
        """Insert or replace; `StoreConflict` when another writer changed it."""
        return await self._table.write(projection_row(projection), etag)

    async def all(self) -> AsyncIterator[Projection]:
        """Iterate over all rows."""
        async for row in self._table.every():
            yield projection_from(row)

    async def after(self, key: str, limit: int) -> Sequence[Projection]:
        """Return the next rows after a study key, which is the partition key, by which rows are sorted."""
        rows = await self._table.first(limit, "PartitionKey gt @partition", partition=key)
        return [projection_from(row) for row in rows]

    async def find(self, key: str) -> Projection | None:
        """Return the row by study key alone."""
        stored = await self._table.read(key, _ROW, projection_from)
        return stored.value if stored is not None else None
