"""
Blob Storage in memory below the Azure library: its own pipeline, retries and parsing run, only the socket is replaced.

Source: Azure "Get Blob", "Get Blob Properties", "List Blobs", "Status and error codes".
"""

from __future__ import annotations

import inspect
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from sync.model import ObjectRef
from sync.testing.objects import MemoryObjects
from tests.simulation.gateway.lies import Answer, Asked, Reset, Send

URL = "https://memory.blob.core.windows.net"
_OF_AIOHTTP = set(inspect.signature(aiohttp.ClientSession._request).parameters)
_OWN = {"x-ms-request-id": "831e1650-001e-001b-66ab-eeb76e069631", "x-ms-version": "2025-01-05"}


class BlobService:
    """Serves a `MemoryObjects`."""

    def __init__(self, objects: MemoryObjects) -> None:
        self.objects = objects

    def serve(self, asked: Asked) -> Answer:
        """Answer a request."""
        container, _, name = unquote(asked.path).strip("/").partition("/")
        if asked.query.get("comp") == "list":
            return self._list(container, unquote(asked.query.get("prefix", "")))
        ref = ObjectRef(account="memory", container=container, name=name)
        blob = self.objects._blobs.get(ref)
        if blob is None:
            return _failure(404, "BlobNotFound", asked)
        if (wanted := asked.headers.get("If-Match")) and wanted.strip('"') != blob.etag:
            return _failure(412, "ConditionNotMet", asked)
        headers = {
            **_OWN,
            "ETag": f'"{blob.etag}"',
            "Last-Modified": format_datetime(blob.last_modified, usegmt=True),
            "Content-Type": "application/octet-stream",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-creation-time": format_datetime(blob.last_modified, usegmt=True),
        }
        if asked.method == "HEAD":
            return Answer(200, {**headers, "Content-Length": str(len(blob.data))})
        start, end = (int(part) for part in asked.headers["x-ms-range"].removeprefix("bytes=").split("-"))
        if start >= len(blob.data):
            return _failure(416, "InvalidRange", asked)
        data = blob.data[start : end + 1]
        span = f"bytes {start}-{start + len(data) - 1}/{len(blob.data)}"
        return Answer(206, {**headers, "Content-Range": span, "Content-Length": str(len(data))}, data)

    def _list(self, container: str, prefix: str) -> Answer:
        blobs = "".join(
            f"<Blob><Name>{escape(ref.name)}</Name><Properties><Etag>{blob.etag}</Etag>"
            f"<Last-Modified>{format_datetime(blob.last_modified, usegmt=True)}</Last-Modified>"
            f"<Content-Length>{len(blob.data)}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for ref, blob in sorted(self.objects._blobs.items(), key=lambda item: item[0].name)
            if ref.container == container and ref.name.startswith(prefix)
        )
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="{URL}/" '
            f'ContainerName="{container}"><Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>'
        )
        return Answer(200, {**_OWN, "Content-Type": "application/xml"}, text.encode())


def _failure(status: int, code: str, asked: Asked) -> Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>x</Message></Error>'
    headers = {**_OWN, "x-ms-error-code": code, "Content-Type": "application/xml"}
    return Answer(status, headers, b"" if asked.method == "HEAD" else body.encode())


def _bytes_of(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    return data if isinstance(data, bytes) else b""


class BlobSession:
    """What `AioHttpTransport` takes for a session of aiohttp."""

    auto_decompress = False

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        """Close nothing."""

    async def request(self, method: str, url: str, *, headers: Any, data: Any = None, **more: Any) -> Any:
        """Send a request; what aiohttp makes of a bad connection, or of a wrong call, is raised as it would be."""
        if unknown := set(more) - _OF_AIOHTTP:
            raise TypeError(f"aiohttp does not take {sorted(unknown)}")
        parts = urlsplit(url)
        query = dict(part.partition("=")[::2] for part in parts.query.split("&") if part)
        try:
            answer = await self._send(Asked(method, parts.path, query, dict(headers), _bytes_of(data)))
        except Reset:
            raise aiohttp.ServerDisconnectedError from None
        return _Received(method, answer)


class _Received:
    """An answer as aiohttp gives it: its body may prove to be cut while it is read."""

    def __init__(self, method: str, answer: Answer) -> None:
        self.status, self.reason = answer.status, "x"
        self.headers = CIMultiDictProxy(CIMultiDict(answer.headers))
        self._body = b"" if method == "HEAD" else answer.body
        told = answer.headers.get("Content-Length")
        self._cut = method != "HEAD" and told is not None and int(told) != len(self._body)
        self.content = self

    async def read(self, size: int = -1) -> bytes:
        """Return the next bytes; none at the end."""
        size = len(self._body) if size < 0 else size
        part, self._body = self._body[:size], self._body[size:]
        if not self._body and self._cut:
            raise aiohttp.ClientPayloadError("not enough data")
        return part

    def close(self) -> None:
        """Close nothing."""
