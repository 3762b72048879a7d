"""
Every search that a test makes the sync or `insights` ask is one that Azure's FHIR service takes as it is meant.

Requests are looked at where both of them send theirs. A search that Azure would refuse or answer unsorted fails the run
at its end, with the test that asked it first; parameters that it lacks are the matter of the server that is asked.
"""

from __future__ import annotations

import functools
import json
import os
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest

from sync.adapters.http.fhir.remote import FhirRemote
from tests.azure_searches import LINKED, misleading


class Asked:
    """The wrong requests of this run."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}
        self.looked_at = 0

    def watch(self) -> None:
        """Check each request; requests and answers stay unchanged."""
        plain = FhirRemote.ask

        @functools.wraps(plain)
        async def watched(remote: FhirRemote, method: str, path: str, **more: Any) -> Any:
            for search in searches_in(method, path, more):
                self.look_at(search)
            return await plain(remote, method, path, **more)

        FhirRemote.ask = watched  # type: ignore[method-assign]  # for the whole run, to see every request

    def look_at(self, search: str) -> None:
        """Check one search; links that a server made are its own matter."""
        if any(f"{name}=" in search for name in LINKED):
            return
        self.looked_at += 1
        with suppress(ValueError):  # a search that tests spoil on purpose
            faults = misleading(search)
            self.note(search, faults)

    def note(self, search: str, faults: list[str]) -> None:
        """Note what is wrong with a search, and the test that asked it."""
        for fault in faults:
            self.wrong.setdefault(f"{search.partition('=')[0]}: {fault}", os.environ.get("PYTEST_CURRENT_TEST", ""))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run when something was asked that Azure does not take."""
        if self.wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what is wrong."""
        for what, test in self.wrong.items():
            terminalreporter.write_line(f"Azure does not take this search as it is meant: {what} ({test})", red=True)


def searches_in(method: str, path: str, more: dict[str, Any]) -> list[str]:
    """Return the searches that a request makes: its own, that of its form, or those of its batch."""
    if method == "POST" and path.endswith("/_search"):
        return [f"{path.strip('/').removesuffix('/_search')}?{urlencode(more.get('data') or {}, doseq=True)}"]
    if method == "POST" and not path:
        entries = json.loads(more.get("content") or b"{}").get("entry", [])
        asked = [entry["request"]["url"] for entry in entries if entry.get("request", {}).get("method") == "GET"]
        return [url for url in asked if "?" in url]
    is_search = method == "GET" and "?" in path and "/" not in path.strip("/").partition("?")[0]
    return [path.strip("/")] if is_search and path.strip("/")[0].isupper() else []


def register(config: pytest.Config) -> None:
    """Watch the requests of this run."""
    asked = Asked()
    asked.watch()
    config.pluginmanager.register(asked, "asked")
