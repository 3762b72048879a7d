"""
Option ``--fhir-check``: at the end of a run, everything that the sync wrote to a FHIR service during it is checked.

    pytest tests/unit tests/simulation --fhir-check

Resources are collected where both adapters take them, each body once, and checked in one run of ``fhir-check``. Worlds
of other processes are asked for what they hold before they are stopped. Without that program the option says so,
loudly, and changes nothing.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.mapping.resource import content_hash, unstamped
from sync.testing.fhir import MemoryFhirServer
from tests.fhir_check import ABSENT, Problem, problems_of, program

_OURS = re.compile(r"(?:df|dr|dv|ep|is|ob|pt)-[0-9a-f]{40}(?:-.*)?")
_STAMPED = ("versionId", "lastUpdated", "source")
_MOST = 50_000
"""Bodies that are kept: two minutes of checking."""


class Emitted:
    """The resources written in this run."""

    def __init__(self) -> None:
        self._bodies: dict[str, dict[str, Any]] = {}
        self._problems: list[Problem] = []

    def watch(self, adapter: type) -> None:
        """Keep what an adapter is given; what it answers stays as it is."""
        plain = adapter.transact

        @functools.wraps(plain)
        async def watched(server: Any, writes: Any) -> Any:
            for write in writes:
                if write.resource is not None:  # a test that plays another client may send the stamps that it read
                    self.keep(unstamped(write.resource))
            return await plain(server, writes)

        adapter.transact = watched

    def keep(self, resource: dict[str, Any]) -> None:
        """Keep a resource of ours."""
        if _OURS.fullmatch(str(resource.get("id"))) and len(self._bodies) < _MOST:
            self._bodies.setdefault(content_hash(resource), resource)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Check all of it; a problem fails the run."""
        tool = program()
        if tool is None or not self._bodies:
            return
        self._problems = [problem for problem in problems_of(self._bodies.values(), tool) if problem.matters_to_azure]
        if self._problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was checked, and each kind of problem."""
        if program() is None:
            terminalreporter.write_line(ABSENT, yellow=True)
            return
        kinds = Counter((problem.check, problem.path, problem.message[:100]) for problem in self._problems)
        terminalreporter.write_line(f"fhir-check: {len(self._bodies)} resources, {len(kinds)} kinds of problems")
        for (check, path, message), count in kinds.most_common():
            terminalreporter.write_line(f"  {count} {check} {path}: {message}", red=True)


RUNNING: list[Emitted] = []
"""The collector of this run, if the option was given."""


def keep_held(held: Iterable[dict[str, Any]]) -> None:
    """Keep what a server holds, without what it stamped."""
    for emitted in RUNNING:
        for resource in held:
            meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _STAMPED}
            rest = {name: value for name, value in resource.items() if name != "meta"}
            emitted.keep(rest | ({"meta": meta} if meta else {}))


def register(config: pytest.Config) -> None:
    """Watch the adapters of this run."""
    emitted = Emitted()
    RUNNING.append(emitted)
    for adapter in (MemoryFhirServer, HttpFhirServer):
        emitted.watch(adapter)
    config.pluginmanager.register(emitted, "emitted")
