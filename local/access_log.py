"""
Changes of blobs, read from Azurite's access log: one line per request, written when the answer is complete.

A line goes in; a `BlobChange`, a `BatchDone` or nothing comes out. Pure. Reads, refusals, staged blocks, metadata,
tags, tiers, leases, snapshots and requests to queues and tables change no blob and give nothing. Two lines say less
than the real service knows: a batch names no blob in its line, and a request whose client hung up has no status.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from local.azurite import ACCOUNT

_LINE = re.compile(r'"(PUT|DELETE|POST) (\S+) HTTP/1\.[01]" (\d{3}|-) ')
_DONE = {"PUT": ("201", "202"), "DELETE": ("202",), "POST": ("202",)}
_UNKNOWN = "-"


class Happened(enum.Enum):
    """The effect of a request on a blob; the value is the event's type without its prefix."""

    CREATED = "BlobCreated"
    DELETED = "BlobDeleted"
    UNKNOWN = "unknown"
    """The client hung up before the answer: only inspecting the blob tells."""


@dataclass(frozen=True, slots=True)
class BlobChange:
    """One blob was created, overwritten or deleted."""

    container: str
    name: str
    happened: Happened
    api: str
    """The operation as events call it: PutBlob, PutBlockList, CopyBlob or DeleteBlob."""


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A batch request succeeded in a container, or in the whole account: ``container`` is empty then."""

    container: str


def parse_line(line: str) -> BlobChange | BatchDone | None:
    """Return the change to blobs that one line of the log reports; None if it reports none."""
    match = _LINE.search(line)
    if match is None or match[3] not in (*_DONE[match[1]], _UNKNOWN):
        return None
    method, status = match[1], match[3]
    parts = urlsplit(match[2])
    account, container, name = (*parts.path.lstrip("/").split("/", 2), "", "")[:3]
    query = parse_qs(parts.query)
    operation = query.get("comp", [""])[0]
    if account != ACCOUNT:
        return None
    if method == "POST":
        return BatchDone(unquote(container)) if operation == "batch" else None
    api = _api(method, status, operation)
    if not name or api is None or "snapshot" in query or "versionid" in query:
        return None
    # As on Azure, a backslash separates like a slash.
    return BlobChange(unquote(container), unquote(name).replace("\\", "/"), _happened(method, status), api)


def _api(method: str, status: str, operation: str) -> str | None:
    if method == "DELETE":
        return None if operation else "DeleteBlob"
    if operation == "blocklist":
        return "PutBlockList"
    if operation:
        return None
    return "CopyBlob" if status == "202" else "PutBlob"


def _happened(method: str, status: str) -> Happened:
    if status == _UNKNOWN:
        return Happened.UNKNOWN
    return Happened.CREATED if method == "PUT" else Happened.DELETED
