"""
The servers that tests may ask for, each started once per run, on first use, and stopped at its end.

They are plain synchronous fixtures, so that any test can take them. Tests share them: take a container, table or queue
name of your own, or a study UID of your own.
"""

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from local.azurite import azurite as run_azurite
from local.fhir_embedded import embedded_fhir_server
from local.hapi import hapi_server, missing_tools
from local.processes import StartError
from sync.telemetry.telemetry import Telemetry
from tests import asked, emitted

# How fast a machine is says nothing of what is tested: neither how long making examples takes, nor one of them.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# What is loaded and collected stays until the end: to look through it for garbage, again and again, finds none.
gc.disable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--fhir-check``."""
    parser.addoption("--fhir-check", action="store_true", help="check what is written to FHIR as Azure's server would")


def pytest_configure(config: pytest.Config) -> None:
    """Check what is asked; collect what is written, if it is to be checked."""
    asked.register(config)
    if config.getoption("--fhir-check"):
        emitted.register(config)


def pytest_collection_finish() -> None:
    """Look for garbage from now on, but not among what was loaded and collected."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the actions that are logged or measured from now on, by name."""
    counted: Counter[str] = Counter()
    measure = Telemetry._count

    def count(self, name, fields):
        counted[name] += 1
        measure(self, name, fields)

    monkeypatch.setattr(Telemetry, "_count", count)
    return counted


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """Give the connection string of a private Azurite: blobs, queues, tables, all in memory."""
    with run_azurite() as storage:
        yield storage.connection_string


@pytest.fixture(scope="session")
def fhir_embedded() -> Iterator[str]:
    """Give the base URL of an embedded FHIR R4 server."""
    with embedded_fhir_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def fhir_embedded_azure() -> Iterator[str]:
    """Give the base URL of an embedded FHIR R4 server that answers as Azure's does."""
    with embedded_fhir_server(azure=True) as server:
        yield server.url


@pytest.fixture(scope="session")
def hapi() -> Iterator[str]:
    """Give the base URL of a HAPI FHIR R4 server."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(hapi_server())
        except StartError as problem:
            if missing_tools():  # not ours to install here; anything else that goes wrong is a failure
                pytest.skip(str(problem))
            raise
        yield server.url
