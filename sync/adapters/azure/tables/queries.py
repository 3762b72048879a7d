"""
Queries a table: makes the request and reads answers of up to a thousand rows.

    condition, columns  ->  the library's pipeline (sign-in, retries, logging, our transport)  ->  rows, page by page

The library reads each answer twice: into a model of every value, and into its own rows, with a timestamp that we do not
use. That was half of the processor time of a query (ADR 0057). Every failure raises the library's own exceptions.

Source: Azure "Query Entities", "Query timeout and pagination" (continuation headers; an answer may hold no row though
others follow), "Payload format for Table service operations" (types of columns).
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.exceptions import DecodeError, HttpResponseError
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.core.rest import HttpRequest
from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.rows import Entity
from sync.model.circles import Passed

_GOOD = 200
HEADERS = {
    "x-ms-version": "2019-02-02",
    "DataServiceVersion": "3.0",
    "Accept": "application/json;odata=minimalmetadata",
}
_NEXT = {
    "NextPartitionKey": "x-ms-continuation-NextPartitionKey",
    "NextRowKey": "x-ms-continuation-NextRowKey",
}
"""Parameter in the address of the next page -> header of this page that holds its value."""

_TYPE = "@odata.type"
_OF_ANSWER = "odata."
_TIMESTAMP = "Timestamp"
ETAG = "odata.etag"
"""Column of a row's ETag, if requested."""

_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "Edm.Binary": a2b_base64,
    "Edm.Double": float,
    "Edm.Int64": int,
}
"""Converters for types that JSON lacks; other values stay unchanged."""


async def pages_of(
    client: TableClient,
    condition: str = "",
    parameters: Mapping[str, str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    size: int | None = None,
    etags: bool = False,
) -> AsyncIterator[list[Entity]]:
    """
    Iterate over the answers to a query; one may hold no rows. Only reads.

    Parameters
    ----------
    condition, parameters
        In the library's form: a word ``@name`` stands for the parameter of that name. Empty for all rows.
    columns
        The columns to fetch; all by default.
    size
        Maximum rows of an answer; by default a thousand.
    etags
        Whether each row holds its ETag, in column `ETAG`.

    Raises
    ------
    azure.core.exceptions.HttpResponseError
        The service refused.
    azure.core.exceptions.AzureError
        The service did not answer, or the answer is not that of a query.
    """
    asked = {
        "$top": str(size) if size is not None else "",
        "$select": ",".join(columns or ()),
        "$filter": filled_in(condition, parameters or {}),
    }
    following: Mapping[str, str] | None = {}
    passed = Passed()
    while following is not None:
        rows, following = await _page(client, {**asked, **following}, etags=etags)
        marker = "\n".join(following.values()) if following is not None else None
        if passed.has(marker):
            raise DecodeError("the pages of a query lead in a circle")
        passed = passed.then(marker)
        yield rows


async def _page(
    client: TableClient, asked: Mapping[str, str], *, etags: bool
) -> tuple[list[Entity], Mapping[str, str] | None]:
    request = HttpRequest("GET", _address(client, asked), headers=HEADERS)
    pipeline: Any = client._client._client._pipeline  # noqa: SLF001 -- see ADR 0057
    answer = await pipeline.run(request, stream=False)
    response = answer.http_response
    if response.status_code != _GOOD:
        raise HttpResponseError(response=response)
    following = {name: response.headers.get(header) or "" for name, header in _NEXT.items()}
    rows = rows_in(answer.context.get(ContentDecodePolicy.CONTEXT_NAME), etags=etags)
    return rows, following if any(following.values()) else None


def _address(client: TableClient, asked: Mapping[str, str]) -> str:
    parts = urlsplit(client.url)
    query = [f"{name}={quote(value, safe='')}" for name, value in asked.items() if value]
    path = f"{parts.path.rstrip('/')}/{client.table_name}()"
    return parts._replace(path=path, query="&".join([*filter(None, [parts.query]), *query])).geturl()


def filled_in(condition: str, parameters: Mapping[str, str]) -> str:
    """Return a condition with its parameters inserted, apostrophes doubled (OData)."""
    words = condition.split(" ")
    return " ".join(_literal(parameters[word[1:]]) if word.startswith("@") else word for word in words)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def rows_in(answer: Any, *, etags: bool = False) -> list[Entity]:
    """
    Return the rows of an answer, each with the values of its columns; the time of its last change is left out.

    Parameters
    ----------
    etags
        As for `pages_of`.

    Raises
    ------
    azure.core.exceptions.DecodeError
        The answer is not that of a query.
    """
    try:
        return [_row(columns) | ({ETAG: _etag(columns)} if etags else {}) for columns in answer["value"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DecodeError("no answer to a query") from None


def row_in(answer: Any) -> Entity:
    """
    Return the row of an answer that holds a single one, with its ETag in column `ETAG`.

    Raises
    ------
    azure.core.exceptions.DecodeError
        The answer is not a row.
    """
    return rows_in({"value": [answer]}, etags=True)[0]


def _etag(columns: Mapping[str, Any]) -> str:
    """Return a row's ETag as the library does: if the answer lacks it, it is derived from the timestamp."""
    return str(columns.get(ETAG) or f"W/\"datetime'{quote(columns[_TIMESTAMP])}'\"")


def _row(columns: Mapping[str, Any]) -> Entity:
    row: Entity = {}
    kinds: list[tuple[str, Any]] = []
    for name, value in columns.items():
        if name.endswith(_TYPE):
            kinds.append((name.removesuffix(_TYPE), value))
        elif name != _TIMESTAMP and not name.startswith(_OF_ANSWER):
            row[name] = value
    for name, kind in kinds:
        if kind in _VALUES and name in row:
            row[name] = _VALUES[kind](row[name])
    return row
