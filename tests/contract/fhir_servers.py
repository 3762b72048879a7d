"""Every FHIR service that the contract is tried on, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sync.adapters.http.fhir.server import HttpFhirServer
from sync.ports import FhirServer
from sync.telemetry.telemetry import Telemetry
from sync.testing.fhir import MemoryFhirServer

FHIR_SERVERS = ("memory", "memory-azure", "embedded", "embedded-azure", "hapi")

_FIXTURES = {"embedded": "fhir_embedded", "embedded-azure": "fhir_embedded_azure", "hapi": "hapi"}


@asynccontextmanager
async def fhir_server(request: pytest.FixtureRequest, page: int = 200) -> AsyncIterator[FhirServer]:
    """Give the service that the fixture's parameter names."""
    if request.param.startswith("memory"):
        yield MemoryFhirServer(page=page, azure=request.param == "memory-azure")
        return
    server = HttpFhirServer(request.getfixturevalue(_FIXTURES[request.param]), telemetry=Telemetry(), page=page)
    yield server
    await server.aclose()
