"""Table ``ledger``: the header of each instance, in the partition of its study."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from sys import intern
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.batching import Batcher
from sync.adapters.azure.tables.rows import (
    Entity,
    check_size,
    findings_from,
    findings_list,
    pack,
    study_columns,
    study_from,
    unpack,
)
from sync.adapters.azure.tables.table import Table
from sync.adapters.azure.tables.transactions import TransactionClient
from sync.model import Attributes, InstanceRecord, LedgerEntry, LedgerRow, ObjectKey, ObjectRef, StudyRef
from sync.ports import Company, Ledger

_NOTHING: Attributes = {}
_SOURCE = ("account", "container", "name")


def ledger_row(row: LedgerRow) -> Entity:
    """Return the row of table ``ledger``."""
    record = row.record
    return check_size(
        {
            "PartitionKey": record.study.key,
            "RowKey": str(row.object_key),
            **study_columns(record.study),
            "series_uid": record.series_instance_uid,
            "sop_uid": record.sop_instance_uid,
            "order": row.order,
            **_source_columns(row.source),
            **pack("record", [record.attributes, findings_list(record.findings)]),
        }
    )


def ledger_from(row: Mapping[str, Any], like: Attributes | None = None) -> LedgerRow:
    """
    Read a row back: the inverse of `ledger_row`.

    Parameters
    ----------
    like
        Attributes of another row, whose equal values are shared: instances of a series have mostly the same values, and
        a study of 30,000 instances would hold 30,000 copies.
    """
    attributes, findings = unpack(row, "record")
    if like is not None:
        attributes = {intern(keyword): _shared(value, like.get(keyword)) for keyword, value in attributes.items()}
    record = InstanceRecord(
        study=study_from(row),
        series_instance_uid=row["series_uid"],
        sop_instance_uid=row["sop_uid"],
        attributes=attributes,
        findings=findings_from(findings),
    )
    return LedgerRow(
        object_key=ObjectKey.parse(row["RowKey"]), record=record, order=row["order"], source=_source_from(row)
    )


def _shared(value: Any, other: Any) -> Any:
    """Return the other value if it is identical, including its type: 1, 1.0 and True are equal but not identical."""
    if other != value:
        return value
    is_text = isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
    return other if is_text or repr(other) == repr(value) else value


def _source_columns(source: ObjectRef | None) -> Entity:
    return {} if source is None else {column: getattr(source, column) for column in _SOURCE}


def _source_from(row: Mapping[str, Any]) -> ObjectRef | None:
    return ObjectRef(**{column: row[column] for column in _SOURCE}) if "container" in row else None


_ENTRY = ["RowKey", "study_uid", "study_partition", "series_uid", "sop_uid"]
_HAS_UID = "( study_uid eq @uid or series_uid eq @uid or sop_uid eq @uid )"  # the library substitutes whole words only


class TableLedger(Ledger):
    """Table ``ledger``."""

    def __init__(self, table: TableClient, company: Company) -> None:
        self._table = Table(table)
        self._batcher = Batcher(TransactionClient(table), company)

    async def upsert(self, row: LedgerRow) -> None:
        """Insert or replace."""
        await self._batcher.write("upsert", ledger_row(row))

    async def delete(self, study: StudyRef, key: ObjectKey) -> None:
        """Delete; a missing row is fine. Not batched: in a transaction a missing row would fail all."""
        await self._table.delete(study.key, str(key))

    async def read(self, study: StudyRef) -> Sequence[LedgerRow]:
        """Return all rows of the study."""
        rows = []
        seen: dict[str, Attributes] = {}  # by series
        async for row in self._table.partition(study.key):
            rows.append(ledger_from(row, like=seen.get(row["series_uid"], _NOTHING)))
            seen[row["series_uid"]] = rows[-1].record.attributes
        return rows

    async def between(self, first: str, last: str) -> AsyncIterator[Sequence[LedgerRow]]:
        """Iterate over the studies from one key to another, which is the partition key, by which rows are sorted."""
        rows: list[LedgerRow] = []
        seen: dict[str, Attributes] = {}  # by series
        condition = "PartitionKey ge @first and PartitionKey le @last"
        async for row in self._table.query(condition, first=first, last=last):
            if rows and row["PartitionKey"] != rows[-1].record.study.key:
                yield rows
                rows, seen = [], {}
            rows.append(ledger_from(row, like=seen.get(row["series_uid"], _NOTHING)))
            seen[row["series_uid"]] = rows[-1].record.attributes
        if rows:
            yield rows

    async def orders(self, study: StudyRef, most: int) -> Sequence[str]:
        """Return ``order`` of at most ``most`` rows of the study; no other column is fetched."""
        rows = await self._table.first(most, "PartitionKey eq @partition", columns=["order"], partition=study.key)
        return [row["order"] for row in rows]

    async def entries(self, uid: str, study: StudyRef | None = None) -> AsyncIterator[LedgerEntry]:
        """Iterate over the rows whose study, series or instance has that UID; the service filters."""
        if study is None:
            rows = self._table.query(_HAS_UID, columns=_ENTRY, uid=uid)
        else:
            rows = self._table.query(f"PartitionKey eq @key and {_HAS_UID}", columns=_ENTRY, uid=uid, key=study.key)
        async for row in rows:
            yield LedgerEntry(
                study=study_from(row),
                series_instance_uid=row["series_uid"],
                sop_instance_uid=row["sop_uid"],
                object_key=ObjectKey.parse(row["RowKey"]),
            )
