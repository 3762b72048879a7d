"""
A gateway that lies on command: an asyncio proxy between the sync and a real server.

It passes bytes on, both ways, until it is told otherwise; then it answers requests itself, cuts the server's answers
short, spoils their encoding, or resets the connection after the server has acted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

HTML = b"<html><body><h1>The page you requested cannot be found</h1></body></html>"


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What the gateway does to a request: answers it itself, or passes it on and spoils what comes back."""

    status: int = 0
    body: bytes = HTML
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html"),)
    spoil: Literal["", "cut", "short", "encoding", "reset", "strip"] = ""
    """``cut``: half the body; ``short``: the same, and its length fits; ``encoding``: a false gzip; ``reset``: no
    answer; ``strip``: no header of Azure's."""


Choose = Callable[[str, str], Lie | None]
"""Method and target of a request -> what to do to it; None passes it on."""


class Gateway:
    """One proxy before ``host:port``; ``lie`` may be changed at any time."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self.port = 0
        self.lie: Choose = lambda method, target: None
        self.told = 0
        """Requests that were lied about."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await _head(reader):
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                body = await _body(head, reader)
                if (lie := self.lie(method, target)) is None:
                    writer.write(await self._ask(head, body, method))
                else:
                    self.told += 1
                    if not await self._lie(lie, head, body, method, writer):
                        break
                await writer.drain()
        writer.close()

    async def _lie(self, lie: Lie, head: bytes, body: bytes, method: str, writer: asyncio.StreamWriter) -> bool:
        """Answer with the lie; False when the connection has to end."""
        if lie.status:
            lines = [f"HTTP/1.1 {lie.status} Lie", *(f"{name}: {value}" for name, value in lie.headers)]
            content = b"" if method == "HEAD" else lie.body
            lines += [f"Content-Length: {len(lie.body)}", "", ""]
            writer.write("\r\n".join(lines).encode() + content)
            return True
        answer = await self._ask(head, body, method)
        if lie.spoil == "reset":
            return False
        top, _, rest = answer.partition(b"\r\n\r\n")
        lines = top.split(b"\r\n")
        if lie.spoil == "cut":
            writer.write(top + b"\r\n\r\n" + rest[: len(rest) // 2])
            return False
        if lie.spoil == "short":
            rest = rest[: len(rest) // 2]
            lines = [line for line in lines if not line.lower().startswith((b"content-length", b"transfer-encoding"))]
            lines.append(b"Content-Length: %d" % len(rest))
        if lie.spoil == "encoding":
            lines.append(b"Content-Encoding: gzip")
        if lie.spoil == "strip":
            lines = [line for line in lines if not line.lower().startswith(b"x-ms-")]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
        return True

    async def _ask(self, head: bytes, body: bytes, method: str) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(head + body)
            await writer.drain()
            answer = await _head(reader)
            bodiless = method == "HEAD" or answer[9:12] in (b"204", b"304")
            return answer + (b"" if bodiless else await _body(answer, reader))
        finally:
            writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b""
        while True:
            size = await reader.readuntil(b"\r\n")
            body += size + await reader.readexactly(int(size, 16) + 2)
            if int(size, 16) == 0:
                return body
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


@contextlib.asynccontextmanager
async def gateway(host: str, port: int) -> AsyncIterator[Gateway]:
    """Run a gateway on a free port for the length of a ``with`` block."""
    made = Gateway(host, port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
