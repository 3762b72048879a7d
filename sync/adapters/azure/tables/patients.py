"""Table ``patients``: the patient data of each study."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity, check_size, key_of, pack, study_columns, study_from, unpack
from sync.adapters.azure.tables.table import Table
from sync.model import PatientRow, StudyRef
from sync.ports import PatientRows


def patient_row(row: PatientRow) -> Entity:
    """Return the row of table ``patients``."""
    return check_size(
        {
            "PartitionKey": key_of(row.patient_key),
            "RowKey": row.study.key,
            "patient_key": row.patient_key,
            **study_columns(row.study),
            "study_date": row.study_date,
            **pack("attributes", row.attributes),
        }
    )


def patient_from(row: Mapping[str, Any]) -> PatientRow:
    """Read a row back: the inverse of `patient_row`."""
    return PatientRow(
        patient_key=row["patient_key"],
        study=study_from(row),
        study_date=row["study_date"],
        attributes=unpack(row, "attributes"),
    )


class TablePatientRows(PatientRows):
    """Table ``patients``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def upsert(self, row: PatientRow) -> None:
        """Insert or replace."""
        await self._table.upsert(patient_row(row))

    async def delete(self, patient_key: str, study: StudyRef) -> None:
        """Delete; a missing row is fine."""
        await self._table.delete(key_of(patient_key), study.key)

    async def read(self, patient_key: str) -> Sequence[PatientRow]:
        """Return all rows of the patient."""
        return [patient_from(row) async for row in self._table.partition(key_of(patient_key))]

    async def between(self, first: str, before: str) -> AsyncIterator[Sequence[PatientRow]]:
        """Iterate over the patients of a range of keys; it is the partition key, by which the service sorts rows."""
        rows: list[PatientRow] = []
        condition = "PartitionKey ge @first and PartitionKey lt @before"
        async for row in self._table.query(condition, first=first, before=before):
            if rows and row["patient_key"] != rows[-1].patient_key:
                yield rows
                rows = []
            rows.append(patient_from(row))
        if rows:
            yield rows
