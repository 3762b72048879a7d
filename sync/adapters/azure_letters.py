"""
What needs somebody, and what somebody did: tables ``deadletters`` and ``audit``.

A dead letter's keys are its kind and its subject, so that a repeat finds it; a page of one code is a filter that the
service applies, and its continuation is the page's token. Keys of the audit trail begin with the time,
counted backwards, so that the newest entries come first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure_errors import state_errors
from sync.adapters.azure_rows import (
    AUDIT_PARTITION,
    audit_from,
    audit_row,
    dead_letter_from,
    dead_letter_row,
    key_of,
)
from sync.errors import StoreConflict
from sync.model import AuditEntry, DeadLetter, LetterEntry, LetterPage, Stored, SubjectKind
from sync.ports import AuditTrail, DeadLetters

_ENTRY_COLUMNS = ["PartitionKey", "subject", "code", "first_at", "last_at"]
_BAD_REQUEST = 400
_MOST = 1000
"""Rows that one answer of the service holds."""


class TableDeadLetters(DeadLetters):
    """Table ``deadletters``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def put(self, letter: DeadLetter) -> None:
        """Insert, or update keeping ``first_at`` and adding to ``attempts``."""
        if (found := await self.read(letter.kind, letter.subject)) is not None:
            known = found.value
            letter = replace(letter, first_at=known.first_at, attempts=known.attempts + letter.attempts)
        with state_errors():
            await self._table.upsert_entity(dead_letter_row(letter), mode=UpdateMode.REPLACE)

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        """Delete; a missing row is fine."""
        with state_errors():
            try:
                await self._table.delete_entity(kind.value, key_of(subject))
            except ResourceNotFoundError:
                return

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:
        """Return the row, or None."""
        with state_errors():
            try:
                row = await self._table.get_entity(kind.value, key_of(subject))
            except ResourceNotFoundError:
                return None
        return Stored(dead_letter_from(row), str(row.metadata["etag"]))

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        keys = {"PartitionKey": letter.kind.value, "RowKey": key_of(letter.subject)}
        with state_errors():
            # The library takes a missing row for success, and for us it is none.
            await self._table.delete_entity(
                keys, etag=etag, match_condition=MatchConditions.IfNotModified, raw_response_hook=_refuse_missing
            )

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Iterate over all dead letters."""
        with state_errors():
            async for row in self._table.list_entities():
                yield dead_letter_from(row)

    async def page(self, *, code: str | None = None, limit: int = 100, token: str | None = None) -> LetterPage:
        """Return some dead letters, of one code or of all; a token that is none gives the first page."""
        limit = max(1, min(limit, _MOST))
        of_code, given = ("code eq @code", {"code": code}) if code is not None else ("", {})
        found = self._table.query_entities(of_code, parameters=given, results_per_page=limit)
        with state_errors():
            pages: Any = found.by_page(continuation_token=_continuation(token))  # typed as text, which it is not
            try:
                letters = [dead_letter_from(row) async for row in await anext(pages)]
            except StopAsyncIteration:
                return LetterPage()
            except HttpResponseError as problem:
                if token is None or problem.status_code != _BAD_REQUEST:
                    raise
                return await self.page(code=code, limit=limit)
        return LetterPage(letters=letters, token=_token(pages.continuation_token))

    async def entries(self) -> Sequence[LetterEntry]:
        """Return little of each; only what is needed travels."""
        with state_errors():
            return [_entry(row) async for row in self._table.list_entities(select=_ENTRY_COLUMNS)]


class TableAuditTrail(AuditTrail):
    """Table ``audit``."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def add(self, entry: AuditEntry) -> None:
        """Keep the entry."""
        with state_errors():
            await self._table.upsert_entity(audit_row(entry), mode=UpdateMode.REPLACE)

    async def newest(self, limit: int) -> Sequence[AuditEntry]:
        """Return at most so many, the newest first: rows come by their keys, and these run backwards."""
        rows = self._table.query_entities(
            "PartitionKey eq @partition",
            parameters={"partition": AUDIT_PARTITION},
            results_per_page=max(1, min(limit, _MOST)),
        )
        found: list[AuditEntry] = []
        with state_errors():
            async for row in rows:
                if len(found) >= limit:
                    break
                found.append(audit_from(row))
        return found


def _refuse_missing(response: Any) -> None:
    if response.http_response.status_code == 404:  # noqa: PLR2004 -- HTTP's own
        raise StoreConflict("the row is gone")


def _entry(row: Any) -> LetterEntry:
    return LetterEntry(
        kind=SubjectKind(row["PartitionKey"]),
        subject=row["subject"],
        code=row["code"],
        first_at=datetime.fromisoformat(row["first_at"]),
        last_at=datetime.fromisoformat(row["last_at"]),
    )


def _token(continuation: dict[str, str] | None) -> str | None:
    """One word for an address: the keys of the next row, which are hashes."""
    return base64.urlsafe_b64encode(json.dumps(continuation).encode()).decode() if continuation else None


def _continuation(token: str | None) -> Any:
    """Inverse of `_token`; None when somebody made the token up."""
    try:
        found = json.loads(base64.urlsafe_b64decode(token or ""))
    except ValueError:
        return None
    names = ("PartitionKey", "RowKey")
    sound = isinstance(found, dict) and all(isinstance(found.get(name), str) and found[name] for name in names)
    return {name: found[name] for name in names} if sound else None
