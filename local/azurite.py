"""
A private Azurite: blob, queue and table storage in memory, on free ports; it stops with the process that started it.

Azurite takes port 0 for each service and prints the ports it got, so no port is guessed and any number may run at once.
Its access log, one line per request to blobs, goes to a callback: `local.storage_events` makes events of it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.node import SOURCES, ensure_packages, leashed
from local.processes import running

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The development key that Azurite's documentation publishes; it opens nothing else."""

_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listen\w* (?:on|at) (\S+)")
_SERVICES = ("Blob", "Queue", "Table")
REMOVING = SOURCES / "removing.cjs"
"""Removes from Azurite's collections without sorting all of their indices."""

LEAN = SOURCES / "lean.cjs"
"""Keeps requests to queues and tables out of the access log, and a library of telemetry out of the process."""

_IDLE_SECONDS = 120
"""How long an idle connection stays open. Azurite's own 5 s are less than the 15 for which clients keep theirs."""


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite."""

    connection_string: str
    pid: int
    ended: Callable[[], bool]


@contextlib.contextmanager
def azurite(
    *, folder: Path | None = None, on_line: Callable[[str], object] | None = None, as_shipped: bool = False
) -> Iterator[Azurite]:
    """
    Run an Azurite for the length of a ``with`` block.

    Parameters
    ----------
    folder
        Where it keeps its data; None: in memory.
    on_line
        Called with each line of the access log, from a thread of our own; without it the log is not even written.
    as_shipped
        Leave it as slow with many messages as it is (ADR 0058), with its log of all requests.

    Raises
    ------
    StartError
        The packages could not be installed, or Azurite did not start.
    """
    ports = [part for service in _SERVICES for part in (f"--{service.lower()}Port", "0")]
    # Closed while a request is on its way, a connection leaves it without an answer, which Azure's seldom do.
    ports += [part for name in _SERVICES for part in (f"--{name.lower()}KeepAliveTimeout", str(_IDLE_SECONDS))]
    where = ["--location", str(folder)] if folder else ["--inMemoryPersistence"]
    manners = ["--disableTelemetry", "--skipApiVersionCheck", *([] if on_line else ["--silent"])]
    script = ensure_packages() / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    command = leashed(script, *ports, *where, *manners, before=[] if as_shipped else [REMOVING, LEAN])
    with running(command, name="Azurite", ready=_Endpoints(), on_line=on_line) as child:
        yield Azurite(child.announced, child.pid, lambda: child.ended)


class _Endpoints:
    """Collects the addresses of the three services; complete, it gives the connection string."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}

    def __call__(self, line: str) -> str | None:
        if match := _LISTENING.search(line):
            self._addresses[match[1]] = match[2]
        return connection_string(self._addresses) if len(self._addresses) == len(_SERVICES) else None


def connection_string(addresses: dict[str, str]) -> str:
    """Return the connection string for the development account; ``addresses``: service name -> ``http://host:port``."""
    endpoints = [f"{service}Endpoint={address}/{ACCOUNT}" for service, address in sorted(addresses.items())]
    return ";".join(("DefaultEndpointsProtocol=http", f"AccountName={ACCOUNT}", f"AccountKey={KEY}", *endpoints))
