"""Table ``locators``: the state of each object, one row each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.batching import Batcher
from sync.adapters.azure.tables.queries import ETAG
from sync.adapters.azure.tables.rows import Entity, check_size, pack, study_columns, study_from, unpack, without_none
from sync.adapters.azure.tables.table import Table
from sync.adapters.azure.tables.transactions import TransactionClient
from sync.model import Locator, ObjectKey, ObjectRef, Stored, StudyRef, folder_partitions
from sync.ports import Company, Locators


def locator_row(locator: Locator) -> Entity:
    """Return the row of table ``locators``, with the object's name, because its dead letter has only the key."""
    key = locator.object.key
    history = sorted([study.study_instance_uid, study.partition] for study in locator.history)
    row = {
        "PartitionKey": key.partition,
        "RowKey": key.row,
        "account": locator.object.account,
        "container": locator.object.container,
        "name": locator.object.name,
        "etag": locator.etag,
        **(study_columns(locator.study) if locator.study is not None else {}),
        "sop_uid": locator.sop_instance_uid,
        **(pack("history", history) if history else {}),
        "settled": locator.settled,
        "has_dead_letter": locator.has_dead_letter,
        "sequence": str(locator.sequence) if locator.sequence is not None else None,
        "order": locator.order or None,
        "contested": locator.contested or None,
    }
    return check_size(without_none(row))


def locator_from(row: Mapping[str, Any]) -> Locator:
    """Read a row back: the inverse of `locator_row`."""
    history = unpack(row, "history") if "history0" in row else []
    return Locator(
        object=ObjectRef(account=row["account"], container=row["container"], name=row["name"]),
        etag=row.get("etag"),
        study=study_from(row) if "study_uid" in row else None,
        sop_instance_uid=row.get("sop_uid"),
        history=frozenset(StudyRef(study_instance_uid=uid, partition=partition) for uid, partition in history),
        settled=row["settled"],
        has_dead_letter=row["has_dead_letter"],
        sequence=int(row["sequence"]) if "sequence" in row else None,
        order=row.get("order", ""),
        contested=row.get("contested", False),
    )


class TableLocators(Locators):
    """Table ``locators``."""

    def __init__(self, table: TableClient, company: Company) -> None:
        self._table = Table(table)
        self._batcher = Batcher(TransactionClient(table), company)

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None."""
        return await self.find(ref.key)

    async def find(self, key: ObjectKey) -> Stored[Locator] | None:
        """Return the row by key alone."""
        return await self._table.read(key.partition, key.row, locator_from)

    async def folder(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of a folder's objects."""
        for key in folder_partitions(account, container, folder):
            async for row in self._table.partition(key):
                yield locator_from(row)

    async def etags(self, partition: str, most: int) -> Mapping[str, str | None] | None:
        """Return the objects of a partition by row key; a thousand per request, three columns each."""
        columns = ["RowKey", "etag", "settled"]
        rows = await self._table.first(most + 1, "PartitionKey eq @partition", columns=columns, partition=partition)
        return (
            {row["RowKey"]: row.get("etag") if row["settled"] else None for row in rows} if len(rows) <= most else None
        )

    async def rows(self, partition: str, most: int) -> Sequence[Stored[Locator]] | None:
        """Return the rows of a partition; a thousand per request."""
        rows = await self._table.first(most + 1, "PartitionKey eq @partition", etags=True, partition=partition)
        return [Stored(locator_from(row), row[ETAG]) for row in rows] if len(rows) <= most else None

    async def below(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of objects below a folder; the service filters, by the characters of the names."""
        first, beyond = f"{folder}/", f"{folder}0"  # the digit follows the slash
        where = "account eq @account and container eq @container and name ge @first and name lt @beyond"
        rows = self._table.query(where, account=account, container=container, first=first, beyond=beyond)
        async for row in rows:
            if str(row["name"]).startswith(first):
                yield locator_from(row)

    async def insert(self, locator: Locator) -> str:
        """Write a new row; `StoreConflict` when there is one."""
        return await self._batcher.write("create", locator_row(locator))

    async def replace(self, locator: Locator, etag: str) -> str:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        # Settling is the last step of a delivery, so only the delivery itself waits for it.
        return await self._batcher.write("replace", locator_row(locator), etag, patient=locator.settled)
