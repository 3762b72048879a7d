"""
Entity-group transactions: turns rows into a request, and its answer into ETags.

The library builds each part as an e-mail and reads the answer as one, header by header: a third of the processor time
of a burst. Here each part is one string. The request still goes through the library's pipeline, with its
authentication, retries and connections; every failure raises the library's own exceptions.

Source: Azure "Performing entity group transactions" (form of request and answer, ``Prefer: return-no-content``, index
of the failed row before the colon of the message); "Payload format for Table service operations" (types of columns).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from azure.core.exceptions import DecodeError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.data.tables import TableTransactionError
from azure.data.tables.aio import TableClient

from sync.adapters.azure.tables.single_rows import SingleRows
from sync.adapters.azure.tables.wire_form import columns_of, quoted

Operation = tuple[Any, ...]
"""``create``, ``update``, ``upsert`` or ``delete``, the row, and for ``update`` the library's options with its ETag."""

_ACCEPTED = 202
_GOOD = range(200, 300)
_HEADERS = {
    "x-ms-version": "2019-02-02",
    "DataServiceVersion": "3.0",
    "MaxDataServiceVersion": "3.0;NetFx",
    "Accept": "application/json",
}
_OF_PART = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
_OF_ROW = (
    "Content-Type: application/json\r\nAccept: application/json;odata=minimalmetadata\r\n"
    "Prefer: return-no-content\r\nDataServiceVersion: 3.0\r\n"
)
_OF_DELETION = "Accept: application/json;odata=minimalmetadata\r\nIf-Match: *\r\nDataServiceVersion: 3.0\r\n"
_BOUNDARY = re.compile(r'multipart/mixed\s*;.*?boundary="?([^\s";]{1,200})"?\s*(?:;|$)', re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The answer to one row, with the response attributes that the library's exceptions read."""

    status_code: int
    headers: Mapping[str, str]
    """Header names in lower case."""

    body: bytes = b""
    reason: str = ""

    def text(self, encoding: str | None = None) -> str:
        """Return the body as text."""
        return self.body.decode(encoding or "utf-8", "replace")


class TransactionClient:
    """A table's client whose transactions are built and read here; single rows are those of `SingleRows`."""

    def __init__(self, client: TableClient) -> None:
        self._client = client
        rows = SingleRows(client)
        self.create_entity, self.update_entity, self.upsert_entity = (
            rows.create_entity,
            rows.update_entity,
            rows.upsert_entity,
        )

    async def submit_transaction(self, operations: Sequence[Operation]) -> Sequence[Mapping[str, Any]]:
        """
        Write rows of one partition, all or none; return the ``etag`` of each row from the answer.

        Raises
        ------
        azure.data.tables.TableTransactionError
            One row was refused, so no row is written; ``index`` is its position.
        azure.core.exceptions.HttpResponseError
            The whole request was refused.
        azure.core.exceptions.DecodeError
            The answer is truncated or not the service's; whether the rows were written is unknown.
        """
        account = urlsplit(self._client.url)._replace(query="").geturl()
        batch, changeset = f"batch_{uuid4()}", f"changeset_{uuid4()}"
        request = HttpRequest(
            "POST",
            f"{account}/$batch",
            headers={**_HEADERS, "Content-Type": f"multipart/mixed; boundary={batch}"},
            content=body_of(f"{account}/{self._client.table_name}", operations, batch=batch, changeset=changeset),
        )
        # Only the generated client below the library's own sends a request that other code built.
        response = await self._client._client.send_request(request, stream=True)  # noqa: SLF001
        await response.read()
        if response.status_code != _ACCEPTED:
            raise HttpResponseError(response=response)
        parts = parts_of(response.headers.get("Content-Type") or "", response.content)
        for part in parts:
            if part.status_code not in _GOOD:
                raise _refusal(part)
        return [{"etag": part.headers.get("etag")} for part in parts]


def body_of(table: str, operations: Sequence[Operation], *, batch: str, changeset: str) -> bytes:
    """
    Return the body of the request.

    Parameters
    ----------
    table
        Address of the table.
    batch, changeset
        Boundaries, which must not occur in the rows.
    """
    pieces = [f"--{batch}\r\nContent-Type: multipart/mixed; boundary={changeset}\r\n"]
    pieces += (f"\r\n--{changeset}\r\n{_OF_PART}{_request_of(table, operation)}" for operation in operations)
    pieces.append(f"\r\n--{changeset}--\r\n--{batch}--\r\n")
    return "".join(pieces).encode("ascii")


def _request_of(table: str, operation: Operation) -> str:
    """Return the request for one row: an insert is posted to the table, all others go to the row's own address."""
    kind, entity = operation[0], operation[1]
    address = f"{table}(PartitionKey='{quoted(entity['PartitionKey'])}',RowKey='{quoted(entity['RowKey'])}')"
    if kind == "delete":
        return f"DELETE {address} HTTP/1.1\r\n{_OF_DELETION}\r\n"
    content = json.dumps(columns_of(entity))
    head, condition = f"POST {table}", ""
    if kind != "create":
        head = f"PUT {address}"
    if kind == "update":
        condition = f"If-Match: {operation[2]['etag']}\r\n"
    return f"{head} HTTP/1.1\r\n{_OF_ROW}{condition}Content-Length: {len(content)}\r\n\r\n{content}"


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """
    Return the answers to the rows: one each, or a single one if a row was refused.

    Raises
    ------
    azure.core.exceptions.DecodeError
        The answer does not have the service's form, or its end is missing.
    """
    changesets = _between(content_type, body)
    if len(changesets) != 1:
        raise DecodeError("more than one transaction in an answer to one")
    head, _, inner = changesets[0].partition(b"\r\n\r\n")
    return [_part(piece) for piece in _between(_content_type(head), inner)]


def _between(content_type: str, body: bytes) -> list[bytes]:
    """Return the parts between the boundaries, 1..n; raise if the closing boundary is missing."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise DecodeError("no multipart answer")
    line = b"\r\n--" + boundary[1].encode("latin-1", "replace")
    first, *pieces = (b"\r\n" + body).split(line)
    if first.strip() or len(pieces) < 2 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 -- one and the end
        raise DecodeError("a multipart answer without its end")
    if not all(piece.startswith(b"\r\n") for piece in pieces[:-1]):
        raise DecodeError("an invalid boundary")
    return [piece[2:] for piece in pieces[:-1]]


def _content_type(head: bytes) -> str:
    return _headers(head.split(b"\r\n")).get("content-type", "")


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    pairs = (line.decode("latin-1").partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _part(piece: bytes) -> Part:
    _, _, message = piece.partition(b"\r\n\r\n")
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise DecodeError("a part without a status")
    return Part(status_code=int(status[1]), headers=_headers(lines), body=body.rstrip(b"\r\n"))


def _refusal(part: Part) -> TableTransactionError:
    """Make the library's exception for a refused row; it reads the row's position from the message."""
    try:
        message = str(json.loads(part.body)["odata.error"]["message"]["value"])
    except (ValueError, TypeError, KeyError, RecursionError):
        message = "a row was refused"
    return TableTransactionError(message=message, response=part)
