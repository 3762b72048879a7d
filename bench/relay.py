"""
A relay before a server: passes bytes on, keeps a journal of the requests, and may add a network's latency.

    python -m bench.relay --control SOCKET [--delay MS] --storage CONNECTION_STRING | --fhir URL

prints one JSON line with the address to use instead, ``{"storage": …}`` or ``{"fhir": …}``, and runs until it is
stopped. The delay is latency and nothing else: what a client sends arrives that much later, in order, and any number
of connections wait side by side. Who connects to SOCKET and sends a number N gets the journal from its N-th request on,
as one JSON line, and the connection is closed.

The journal is kept per request, from its first byte to the last byte of its answer; answers are not parsed. A server
that closes an idle connection is connected to again by the next request, as load balancers in a cloud do: their
connections live for minutes, the storage emulator's for seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from azure.storage.blob import BlobServiceClient

_CHUNK = 256 * 1024
_ENDPOINT = re.compile(r"(Blob|Queue|Table)Endpoint=http://([^/;]+)")
_BATCHED = b"application/http"


@dataclass(slots=True)
class Request:
    """One request: its service (``fhir``, ``blob``, ``queue`` or ``table``), and seconds of the monotonic clock."""

    service: str
    method: str
    target: str
    started: float
    ended: float = 0.0
    operations: int = 1
    """Operations in it: those of the batch, else 1."""


class RequestStream:
    """
    Separates the requests of one HTTP/1.1 connection in the client's bytes.

    Parameters
    ----------
    begin
        Makes the journal's entry from method and target.
    """

    def __init__(self, begin: Callable[[str, str], Request]) -> None:
        self.current: Request | None = None
        self._begin = begin
        self._head = bytearray()
        self._body: bytearray | None = None
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Read the client's bytes; ValueError for a body of unknown length."""
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._take_body(part)
                continue
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = bytes(self._head[:end]), bytes(self._head[end + 4 :])
            self._head.clear()
            self._start(head.decode("latin-1"))

    def _start(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "transfer-encoding" in headers:
            raise ValueError("a body of unknown length")
        method, target, _ = first.split(" ", 2)
        self.current = self._begin(method, target)
        self._left = int(headers.get("content-length", 0))
        self._body = bytearray() if target.partition("?")[0].endswith("/$batch") else None

    def _take_body(self, part: bytes) -> None:
        self._left -= len(part)
        if self._body is None or self.current is None:
            return
        self._body += part
        if not self._left:
            self.current.operations = self._body.count(_BATCHED)


class Relay:
    """Relays the connections to one server, on a port of its own."""

    def __init__(self, service: str, host: str, port: int, *, delay: float, journal: list[Request]) -> None:
        self.delay = delay
        self.address = (host, port)
        self._service, self._journal = service, journal

    async def start(self) -> int:
        """Listen; return the port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        return int(server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await _Connection(self, reader, writer, RequestStream(self._begin)).run()

    def _begin(self, method: str, target: str) -> Request:
        request = Request(self._service, method, target, time.monotonic())
        self._journal.append(request)
        return request


class _Connection:
    """One client's connection, and its connection to the server."""

    def __init__(
        self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: RequestStream
    ) -> None:
        self._relay, self._reader, self._writer, self._requests = relay, reader, writer, requests
        self._sent: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._server: asyncio.StreamWriter | None = None
        self._answering: asyncio.Task[None] | None = None
        self._waiting = False

    async def run(self) -> None:
        """Relay until the client is gone."""
        forwarding = asyncio.create_task(self._forward())
        try:
            while data := await self._reader.read(_CHUNK):
                self._requests.feed(data)
                self._sent.put_nowait((time.monotonic() + self._relay.delay, data))
        finally:
            forwarding.cancel()
            for writer in (self._server, self._writer):
                if writer is not None:
                    writer.close()

    async def _forward(self) -> None:
        """Forward the client's bytes, after the delay."""
        while True:
            due, data = await self._sent.get()
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            try:
                server = self._server or await self._connect()
                self._waiting = True
                server.write(data)
                await server.drain()
            except ConnectionError:
                self._writer.close()
                return

    async def _connect(self) -> asyncio.StreamWriter:
        reader, self._server = await asyncio.open_connection(*self._relay.address, limit=_CHUNK)
        self._answering = asyncio.create_task(self._answer(reader, self._server))
        return self._server

    async def _answer(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """Forward the server's bytes, until the server ends the connection."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                self._waiting = False
                self._writer.write(data)
                await self._writer.drain()
                if self._requests.current is not None:
                    self._requests.current.ended = time.monotonic()
        server.close()
        if self._waiting:
            self._writer.close()
        elif self._server is server:
            self._server = None


async def relays_before(addresses: dict[str, str], *, delay: float, journal: list[Request]) -> dict[str, str]:
    """Start a relay before each ``host:port``; return service -> ``host:port`` of its relay."""
    relayed = {}
    for service, address in addresses.items():
        host, _, port = address.partition(":")
        started = await Relay(service, host, int(port), delay=delay, journal=journal).start()
        relayed[service] = f"127.0.0.1:{started}"
    return relayed


async def _storage(connection: str, **how: Any) -> str:
    """Return the connection string by which the same account is reached through relays."""
    addresses = {name.lower(): address for name, address in _ENDPOINT.findall(connection)}
    through = await relays_before(addresses, **how)
    relayed = _ENDPOINT.sub(lambda endpoint: f"{endpoint[1]}Endpoint=http://{through[endpoint[1].lower()]}", connection)
    BlobServiceClient.from_connection_string(relayed)  # refuses what is not one
    return relayed


async def _fhir(url: str, **how: Any) -> str:
    parts = urlsplit(url)
    through = await relays_before({"fhir": parts.netloc}, **how)
    return parts._replace(netloc=through["fhir"]).geturl()


async def _serve(options: argparse.Namespace) -> None:
    journal: list[Request] = []

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = int(await reader.readline())
        writer.write(json.dumps([asdict(request) for request in journal[first:]]).encode() + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(tell, options.control)
    how = {"delay": options.delay / 1000, "journal": journal}
    if options.storage:
        said = {"storage": await _storage(options.storage, **how)}
    else:
        said = {"fhir": await _fhir(options.fhir, **how)}
    print(json.dumps(said), flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description="Counts requests and adds latency.")
    parser.add_argument("--control", required=True, help="path of the Unix socket that serves the journal")
    parser.add_argument("--delay", type=float, default=0.0, help="latency to add to every request, in ms (default 0)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--storage", help="connection string of the storage account to stand before")
    what.add_argument("--fhir", help="base URL of the FHIR server to stand before")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
