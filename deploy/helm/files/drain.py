"""
Drain the Functions host of this pod before it is stopped: Kubernetes runs this as the preStop hook.

The host goes on taking messages for ten seconds after SIGTERM, and what it cannot finish stays leased for up to ten
minutes. Drained first, it takes none and keeps none. Source: https://github.com/Azure/azure-functions-host,
``admin/host/drain`` and ``admin/host/drain/status``.

Exit codes: 0: nothing is in flight; 1: it is not so, with the reason on standard error. The pod is stopped either way.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

KEY = Path("/run/secrets/functions-keys/host.master")
EVERY = 0.5
"""Seconds between two questions."""
PATIENT = 10.0
"""Seconds that one request may take."""


def main() -> int:
    """Drain, and wait until the host says that nothing is in flight."""
    parser = argparse.ArgumentParser(description="Drain the Functions host of this pod.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long it may take")
    parser.add_argument("--key", type=Path, default=KEY, help="file with the host's master key")
    given = parser.parse_args()
    host = f"http://127.0.0.1:{given.port}/admin/host/drain"
    ends = time.monotonic() + given.seconds
    try:
        key = given.key.read_text("utf-8").strip()
    except OSError:
        return _failed("the file of the master key cannot be read")
    refusal = _begin(host, key)
    while not refusal:
        state = _state(host, key)
        if state == "Completed":
            return 0
        if time.monotonic() > ends:
            return _failed(f"work is in flight after {given.seconds:g} seconds")
        if state == "Disabled":  # the first request was lost
            refusal = _begin(host, key)
        time.sleep(EVERY)
    return _failed(refusal)


def _begin(host: str, key: str) -> str:
    """Tell the host to drain, which is idempotent, and return why it will not; empty: it may have heard."""
    try:
        _ask("POST", host, key)
    except urllib.error.HTTPError as refused:
        return f"the host refuses to drain: HTTP status {refused.code}"
    except TimeoutError:  # a busy host: its state tells whether it has heard
        return ""
    except OSError as problem:
        return f"the host does not answer: {problem}"
    return ""


def _state(host: str, key: str) -> str:
    """Return what the host says; empty if it is too busy to say it."""
    try:
        return str(dict(json.loads(_ask("GET", f"{host}/status", key))).get("state"))
    except (OSError, ValueError, TypeError):
        return ""


def _ask(method: str, url: str, key: str) -> bytes:
    request = urllib.request.Request(url, method=method, headers={"x-functions-key": key})
    with urllib.request.urlopen(request, timeout=PATIENT) as answer:
        body: bytes = answer.read()
    return body


def _failed(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
