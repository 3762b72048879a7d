"""The hook that drains a pod, against a host that answers as the real one does."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.infra.chart import CHART

KEY = "the-master-key"


class Host(ThreadingHTTPServer):
    """Drains as the host does: 202 to a POST with the master key, then InProgress until nothing is in flight."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.asked: list[str] = []
        self.in_flight = 2
        self.draining = False
        self.loses_first = False
        self.broken_answers = 0


class Asked(BaseHTTPRequestHandler):
    server: Host

    def do_POST(self) -> None:
        if self._admitted():
            self.server.draining = not self.server.loses_first
            self.server.loses_first = False
            self._answer(202, {})

    def do_GET(self) -> None:
        if not self._admitted():
            return
        host = self.server
        if host.broken_answers:
            host.broken_answers -= 1
            self._answer(500, {})
            return
        if host.draining and host.in_flight:
            host.in_flight -= 1
            self._answer(200, {"state": "InProgress"})
            return
        self._answer(200, {"state": "Completed" if host.draining else "Disabled"})

    def _admitted(self) -> bool:
        self.server.asked.append(f"{self.command} {self.path}")
        if self.headers["x-functions-key"] != KEY:
            self._answer(401, {})
            return False
        return True

    def _answer(self, status: int, body: dict[str, str]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def drain(port, folder, *, key=KEY, seconds=20.0):
    file = folder / "host.master"
    if key:
        file.write_text(f"{key}\n")
    command = [sys.executable, str(CHART / "files" / "drain.py"), "--port", str(port)]
    command += ["--seconds", str(seconds), "--key", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_waits_until_nothing_is_in_flight(host, tmp_path):
    done = drain(host.server_port, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.asked == ["POST /admin/host/drain"] + ["GET /admin/host/drain/status"] * 3


def test_it_asks_again_if_the_host_did_not_hear_or_cannot_say(host, tmp_path):
    host.loses_first, host.broken_answers = True, 2
    assert drain(host.server_port, tmp_path).returncode == 0
    assert host.asked.count("POST /admin/host/drain") == 2


def test_it_ends_in_its_time_and_says_that_work_is_in_flight(host, tmp_path):
    host.in_flight = 1000
    done = drain(host.server_port, tmp_path, seconds=1)
    assert (done.returncode, done.stderr) == (1, "work is in flight after 1 seconds\n")


def test_a_wrong_key_is_told_at_once_and_not_repeated(host, tmp_path):
    done = drain(host.server_port, tmp_path, key="another-key")
    assert (done.returncode, done.stderr) == (1, "the host refuses to drain: HTTP status 401\n")
    assert "another-key" not in done.stderr
    assert len(host.asked) == 1


def test_without_a_key_or_a_host_it_ends_at_once(host, tmp_path):
    assert drain(host.server_port, tmp_path, key="").returncode == 1
    host.server_close()
    host.shutdown()
    done = drain(1, tmp_path)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
