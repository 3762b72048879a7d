"""Worlds that are started once a run, and a place of its own in one of them for each test."""

import os
import signal
import uuid
from collections.abc import Iterator

import pytest

from tests.e2e.faulty_fhir import FaultyFhir
from tests.e2e.files import made, uid
from tests.e2e.running import World, up

SOON = {"DICOM_SYNC_QUIET_PERIOD": "1", "DICOM_SYNC_MAX_WAIT": "15"}
"""Tests wait for each quiet period."""

PAGES = {"DICOM_SYNC_TIMELINE": "true", "DICOM_SYNC_INBOX": "true", "WEBSITE_AUTH_ENABLED": "True"}

os.environ.setdefault("DICOM_SYNC_MAX_REMOVALS_PER_HOUR", "1000")
os.environ.setdefault("DICOM_SYNC_MAX_REMOVAL_SHARE_PERCENT", "100")
# Tests delete all that they upload, also by commands that are started apart; the ceiling has tests of its own.


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_arrives() -> None:
    """Undo what the background of a script does: there Ctrl-C is ignored, and by every program that is started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def embedded_world() -> Iterator[World]:
    """A world with the embedded FHIR server."""
    with up("embedded", **SOON) as world:
        yield world


@pytest.fixture(scope="session")
def embedded_azure_world() -> Iterator[World]:
    """A world with an embedded FHIR server that answers as Azure's does."""
    with up("embedded-azure", **SOON) as world:
        yield world


@pytest.fixture(scope="session")
def hapi_world() -> Iterator[World]:
    """A world with a HAPI server, and the pages of insights switched on."""
    with up("hapi", **SOON, **PAGES) as world:
        yield world


@pytest.fixture(scope="session")
def faulty_fhir(fhir_embedded_azure: str) -> Iterator[FaultyFhir]:
    """A FHIR server with the ways of Azure's that can be made to fail."""
    server = FaultyFhir(fhir_embedded_azure)
    yield server
    server.unplug()


@pytest.fixture(scope="session")
def fragile_world(faulty_fhir: FaultyFhir) -> Iterator[World]:
    """A world whose FHIR server fails on demand, and whose host is killed now and then."""
    with up(faulty_fhir.url, **SOON) as world:
        yield world


class Place:
    """Blob names, UIDs and a patient that no other test uses."""

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex[:12]
        self.patient = f"P-{self.token}"

    def name(self, name: str) -> str:
        return f"{self.token}/{name}"

    def study(self, study: int = 1) -> str:
        return uid(self.token, study)

    def sop(self, study: int, series: int, instance: int) -> str:
        return uid(self.token, study, series, instance)

    def file(self, study: int = 1, series: int = 1, instance: int = 1, **attributes: str) -> bytes:
        """Return an instance, of our patient unless attributes say otherwise."""
        patient = attributes.pop("patient", self.patient)
        uids = self.study(study), uid(self.token, study, series), self.sop(study, series, instance)
        return made(*uids, patient=patient, **attributes)


@pytest.fixture
def place() -> Place:
    return Place()
