"""
The embedded FHIR R4 server: Medplum's router on Node, everything in memory, ready in a few seconds, no Java.

It checks resources against the R4 structure definitions. What it does differently from real servers, and why our client
must not mind: transactions are not atomic (each entry's status counts), an identical PUT makes a new version, deleted
resources answer 404 instead of 410.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from local.node import SOURCES, ensure_packages, leashed
from local.processes import running


@dataclass(frozen=True, slots=True)
class FhirServer:
    """A running FHIR server of ours; ``url`` is the base URL."""

    url: str
    pid: int
    ended: Callable[[], bool]


@contextlib.contextmanager
def embedded_fhir_server(
    *, azure: bool = False, on_line: Callable[[str], object] | None = None
) -> Iterator[FhirServer]:
    """
    Run an embedded FHIR server, empty, for the length of a ``with`` block.

    ``GET /_requests`` beside the base URL counts the requests so far:
    ``{"total": n, "by_method": {"GET": n, …}}``, itself not counted.

    Parameters
    ----------
    azure
        Whether it answers as Azure's FHIR service does (``local/node/azure-ways.mjs`` says where that differs).
    on_line
        Called with what it prints after its start: defects of the server, never requests.

    Raises
    ------
    StartError
        The packages could not be installed, or the server did not start.
    """
    command = leashed(SOURCES / "fhir-server.mjs", str(ensure_packages()), *(["azure"] if azure else []))
    with running(command, name="the embedded FHIR server", ready=_base_url, on_line=on_line) as child:
        yield FhirServer(child.announced, child.pid, lambda: child.ended)


def _base_url(line: str) -> str | None:
    return str(json.loads(line)["url"]) if line.startswith('{"url"') else None
