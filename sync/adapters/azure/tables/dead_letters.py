"""
Table ``deadletters``: failures that need a person.

A dead letter's keys are its kind and subject, so that a repeated failure finds its row. A page of one code is a filter
that the service applies, and the page's token is the service's continuation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableClient

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.tables.rows import Entity, check_size, key_of, pack, unpack
from sync.adapters.azure.tables.table import MOST, Table
from sync.model import DeadLetter, DeadLetterPage, Stored, SubjectKind
from sync.model.timestamps import utc_of
from sync.ports import DeadLetters

_BAD_REQUEST = 400
_CONDITIONS = {"code": "code eq @code", "kind": "PartitionKey eq @kind"}
_EMPTY_AT_MOST = 10
"""Number of consecutive answers without a dead letter after which an empty page is returned."""


def dead_letter_row(letter: DeadLetter) -> Entity:
    """Return the row of table ``deadletters``; keeps the data that a retry needs, which logs and lists never show."""
    return check_size(
        {
            "PartitionKey": letter.kind.value,
            "RowKey": key_of(letter.subject),
            "subject": letter.subject,
            "code": letter.code,
            "detail": letter.detail,
            "hint": letter.hint,
            "first_at": letter.first_at.isoformat(),
            "last_at": letter.last_at.isoformat(),
            "attempts": letter.attempts,
            "queue": letter.queue,
            **(pack("message", letter.message) if letter.message is not None else {}),
        }
    )


def dead_letter_from(row: Mapping[str, Any]) -> DeadLetter:
    """Read a row back: the inverse of `dead_letter_row`."""
    return DeadLetter(
        kind=SubjectKind(row["PartitionKey"]),
        subject=row["subject"],
        code=row["code"],
        detail=row["detail"],
        hint=row["hint"],
        first_at=utc_of(row["first_at"]),
        last_at=utc_of(row["last_at"]),
        attempts=row["attempts"],
        message=unpack(row, "message") if "message0" in row else None,
        queue=row.get("queue", ""),
    )


class TableDeadLetters(DeadLetters):
    """Table ``deadletters``."""

    def __init__(self, table: TableClient) -> None:
        self._table = Table(table)

    async def put(self, letter: DeadLetter) -> bool:
        """Insert, or update keeping ``first_at`` and adding to ``attempts``; return whether it is a new failure."""
        if (stored := await self.read(letter.kind, letter.subject)) is not None:
            before = stored.value
            # Without the ETag: two concurrent failures may count as one attempt, but neither dead letter is lost.
            letter = replace(letter, first_at=before.first_at, attempts=before.attempts + letter.attempts)
        await self._table.upsert(dead_letter_row(letter))
        return stored is None or stored.value.code != letter.code

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        """Delete; a missing row is fine."""
        await self._table.delete(kind.value, key_of(subject))

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:
        """Return the row, or None."""
        return await self._table.read(kind.value, key_of(subject), dead_letter_from)

    async def subjects(self, kind: SubjectKind, most: int) -> frozenset[str] | None:
        """Return the subjects of a kind's dead letters, a thousand per request; None when there are too many."""
        where = "PartitionKey eq @partition"
        rows = await self._table.first(most + 1, where, columns=["subject"], partition=kind.value)
        return frozenset(row["subject"] for row in rows) if len(rows) <= most else None

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        await self._table.delete_unchanged(letter.kind.value, key_of(letter.subject), etag)

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Iterate over all dead letters."""
        async for row in self._table.every():
            yield dead_letter_from(row)

    async def page(
        self, *, code: str | None = None, kind: SubjectKind | None = None, limit: int = 100, token: str | None = None
    ) -> DeadLetterPage:
        """Return a page of dead letters, of one code, one kind or all; an invalid token gives the first page."""
        limit = max(1, min(limit, MOST))
        asked = {"code": code, "kind": kind.value if kind is not None else None}
        parameters = {name: value for name, value in asked.items() if value is not None}
        wanted = " and ".join(_CONDITIONS[name] for name in parameters)
        entities = self._table.client.query_entities(wanted, parameters=parameters, results_per_page=limit)
        with state_errors():
            pages: Any = entities.by_page(continuation_token=_continuation(token))  # typed as text, which it is not
            try:
                letters = await _first_dead_letters(pages)
            except HttpResponseError as problem:
                if token is None or problem.status_code != _BAD_REQUEST:
                    raise
                return await self.page(code=code, kind=kind, limit=limit)
        return DeadLetterPage(letters=letters, token=_token(pages.continuation_token))


async def _first_dead_letters(pages: AsyncIterator[AsyncIterator[Any]]) -> list[DeadLetter]:
    """Return the dead letters of the first page that has any: the service may send empty pages between partitions."""
    for _ in range(_EMPTY_AT_MOST):
        try:
            page = await anext(pages)
        except StopAsyncIteration:
            break
        if letters := [dead_letter_from(row) async for row in page]:
            return letters
    return []


def _token(continuation: dict[str, str] | None) -> str | None:
    """Return the token for an address: the keys of the next row, which are hashes."""
    return base64.urlsafe_b64encode(json.dumps(continuation).encode()).decode() if continuation else None


def _continuation(token: str | None) -> Any:
    """Read a token back: the inverse of `_token`; None if we did not make the token."""
    try:
        fields = json.loads(base64.urlsafe_b64decode(token or ""))
    except ValueError:
        return None
    names = ("PartitionKey", "RowKey")
    sound = isinstance(fields, dict) and all(isinstance(fields.get(name), str) and fields[name] for name in names)
    return {name: fields[name] for name in names} if sound else None
