"""
A FHIR server that can be made to fail: a proxy before a real one.

It can be unplugged (as when the service is down) and configured to answer some requests itself.
"""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What the proxy says instead of the server."""

    status: int
    body: bytes
    content_type: str = "application/fhir+json"


Fault = Callable[[str, str, bytes], Answer | None]
"""Method, path with query, and body of a request -> the proxy's own answer, or None to let it pass."""


class FaultyFhir:
    """
    The proxy; ``url`` stays the same while it is unplugged.

    Parameters
    ----------
    upstream
        Base URL of the real server.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream, self._path = parts.netloc, parts.path
        self._port = 0
        self._server: _Server | None = None
        self.fault: Fault | None = None
        self.answered: list[int] = []
        """Status codes that it gave itself."""
        self.plug_in()
        self.url = f"http://127.0.0.1:{self._port}{self._path}"

    def plug_in(self) -> None:
        """Listen."""
        server = _Server(("127.0.0.1", self._port), _Handler)
        server.faulty, self._server, self._port = self, server, server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def unplug(self) -> None:
        """Listen no more, and cut what is connected."""
        if self._server is not None:
            server, self._server = self._server, None
            server.cut = True
            server.shutdown()
            server.server_close()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        """Ask the real server."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    cut = False
    faulty: FaultyFhir

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no matter here."""


_OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        faulty = self.server.faulty
        if self.server.cut:
            self.close_connection = True
            return
        own = faulty.fault(self.command, self.path, body) if faulty.fault else None
        if own is not None:
            faulty.answered.append(own.status)
            self._reply(own.status, [("Content-Type", own.content_type)], own.body)
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        self._reply(*faulty.forward(self.command, self.path, headers, body))

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  # the names are the library's

    def _reply(self, status: int, headers: list[Any], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the library's
        """Say nothing."""
