"""
Single rows of a table: makes the request and reads the answer, as `queries` and `transactions` do for many rows.

    row, key, ETag  ->  the library's pipeline (sign-in, retries, logging, our transport)  ->  row, or its new ETag

The library validates and serialises each value by its name in a model, has a written row sent back and reads it: a
third of the processor time of a request (ADR 0060). Every failure raises the library's own exceptions; that a row is
missing, or exists, only if the service says so by its own code.

Source: Azure "Query Entities" (a single entity), "Insert Entity", "Update Entity", "Merge Entity", "Insert Or Replace
Entity", "Delete Entity" (``If-Match: *`` for a row in any version; without ``If-Match`` an update inserts, too).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.core.rest import HttpRequest
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from sync.adapters.azure.errors import error_code
from sync.adapters.azure.tables.queries import HEADERS, row_in
from sync.adapters.azure.tables.rows import Entity
from sync.adapters.azure.tables.wire_form import columns_of, quoted

_READ = 200
_WRITTEN = (201, 204)
_MISSING = ("ResourceNotFound", "EntityNotFound")
_EXISTS = "EntityAlreadyExists"
_ANY = "*"
_OF_WRITE = {**HEADERS, "Accept": "application/json", "Content-Type": "application/json"}
_OF_INSERT = {**HEADERS, "Content-Type": "application/json;odata=nometadata", "Prefer": "return-no-content"}


class SingleRows:
    """
    Rows of one table, one per request; the methods that write have the library's names and arguments.

    Each raises `ResourceNotFoundError` if the row does not exist, `ResourceExistsError` if a new one does, and another
    `AzureError` if the service refused or did not answer.
    """

    def __init__(self, client: TableClient) -> None:
        self._client = client

    async def get_entity(self, partition: str, row: str) -> Entity:
        """Return a row, with its ETag in column `queries.ETAG`."""
        answer = await self._answer("GET", self._row(partition, row), HEADERS, good=(_READ,))
        return row_in(answer.context.get(ContentDecodePolicy.CONTEXT_NAME))

    async def create_entity(self, entity: Entity) -> Mapping[str, Any]:
        """Insert a row; return its ETag as ``etag``."""
        return await self._write("POST", self._address(""), _OF_INSERT, entity)

    async def upsert_entity(self, entity: Entity, *, mode: UpdateMode = UpdateMode.REPLACE) -> Mapping[str, Any]:
        """Insert or replace a row; return its ETag as ``etag``."""
        return await self._write(_method(mode), self._row_of(entity), _OF_WRITE, entity)

    async def update_entity(
        self,
        entity: Entity,
        *,
        mode: UpdateMode,
        etag: str | None = None,
        match_condition: MatchConditions = MatchConditions.Unconditionally,
    ) -> Mapping[str, Any]:
        """Replace an existing row, or only the given columns (mode), on its ETag; return the new one as ``etag``."""
        headers = {**_OF_WRITE, "If-Match": _condition(etag, match_condition)}
        return await self._write(_method(mode), self._row_of(entity), headers, entity)

    async def delete_entity(self, partition: str, row: str, *, etag: str | None = None) -> None:
        """Delete a row; with an ETag, only that version."""
        condition = MatchConditions.Unconditionally if etag is None else MatchConditions.IfNotModified
        headers = {**HEADERS, "If-Match": _condition(etag, condition)}
        await self._answer("DELETE", self._row(partition, row), headers, good=_WRITTEN)

    async def _write(self, method: str, address: str, headers: Mapping[str, str], entity: Entity) -> Mapping[str, Any]:
        content = json.dumps(columns_of(entity)).encode("ascii")
        answer = await self._answer(method, address, headers, content, good=_WRITTEN)
        return {"etag": answer.http_response.headers.get("etag")}

    async def _answer(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        *,
        good: tuple[int, ...],
    ) -> Any:
        request = HttpRequest(method, address, headers=dict(headers), content=content)
        pipeline: Any = self._client._client._client._pipeline  # noqa: SLF001 -- see ADR 0057
        answer = await pipeline.run(request, stream=False)
        if answer.http_response.status_code not in good:
            raise _refusal(answer.http_response)
        return answer

    def _row_of(self, entity: Entity) -> str:
        return self._row(entity["PartitionKey"], entity["RowKey"])

    def _row(self, partition: str, row: str) -> str:
        return self._address(f"(PartitionKey='{quoted(partition)}',RowKey='{quoted(row)}')")

    def _address(self, key: str) -> str:
        """Return the address of the table or of a row, with the signature that the account's address may have."""
        parts = urlsplit(self._client.url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{self._client.table_name}{key}").geturl()


def _method(mode: UpdateMode) -> str:
    return "PATCH" if mode == UpdateMode.MERGE else "PUT"


def _condition(etag: str | None, condition: MatchConditions) -> str:
    """Return the value of ``If-Match``; without an ETag there is no condition that could be meant."""
    if condition == MatchConditions.Unconditionally:
        return _ANY
    if condition != MatchConditions.IfNotModified or not etag:
        raise ValueError("a condition without an ETag, or another one")
    return etag


def _refusal(response: Any) -> HttpResponseError:
    problem = HttpResponseError(response=response)
    code = error_code(problem)
    if code in _MISSING:
        return ResourceNotFoundError(response=response)
    return ResourceExistsError(response=response) if code == _EXISTS else problem
