"""
Worlds that are started once a run, and a place of its own in one of them for each test.

A world that is idle takes some percent of a core, HAPI a gigabyte: tests are ordered by the world that they use, and a
world is stopped when no test that follows uses it.
"""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

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


WORLDS = ("embedded_world", "embedded_azure_world", "hapi_world", "fragile_world")
"""Fixtures below, in the order in which their tests run; also what a parameter means that is one without ``_world``."""

_RUNNING: dict[str, ExitStack] = {}


def _shared(name: str, fhir: str, **environment: str) -> Iterator[World]:
    with ExitStack() as stack:
        _RUNNING[name] = stack
        yield stack.enter_context(up(fhir, **environment))


@pytest.fixture(scope="session")
def embedded_world() -> Iterator[World]:
    """A world with the embedded FHIR server."""
    yield from _shared("embedded_world", "embedded", **SOON)


@pytest.fixture(scope="session")
def embedded_azure_world() -> Iterator[World]:
    """A world with an embedded FHIR server that answers as Azure's does."""
    yield from _shared("embedded_azure_world", "embedded-azure", **SOON)


@pytest.fixture(scope="session")
def hapi_world() -> Iterator[World]:
    """A world with a HAPI server, and the pages of insights switched on."""
    yield from _shared("hapi_world", "hapi", **SOON, **PAGES)


@pytest.fixture(scope="session")
def faulty_fhir(fhir_embedded_azure: str) -> Iterator[FaultyFhir]:
    """A FHIR server with the ways of Azure's that can be made to fail."""
    server = FaultyFhir(fhir_embedded_azure)
    yield server
    server.unplug()


@pytest.fixture(scope="session")
def fragile_world(faulty_fhir: FaultyFhir) -> Iterator[World]:
    """A world whose FHIR server fails on demand, and whose host is killed now and then."""
    yield from _shared("fragile_world", faulty_fhir.url, **SOON)


def _worlds_of(item: pytest.Item) -> list[str]:
    """Return the shared worlds that a test uses, the one that a parameter names first."""
    parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
    named = [f"{value}_world" for value in parameters if isinstance(value, str)]
    return [name for name in (*named, *getattr(item, "fixturenames", ())) if name in WORLDS]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests by their world, which keeps the order of those of one world."""
    here = [number for number, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    first = {number: next(iter(_worlds_of(items[number])), None) for number in here}
    ordered = sorted(here, key=lambda number: -1 if (world := first[number]) is None else WORLDS.index(world))
    for number, item in zip(here, [items[number] for number in ordered], strict=True):
        items[number] = item


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """
    Stop the worlds that no test uses any more.

    Not before a module ends: its fixtures tidy up in their world when the next one of another parameter is made.
    """
    yield
    if nextitem is None or nextitem.path != item.path:
        items = item.session.items
        following = {name for later in items[items.index(item) + 1 :] for name in _worlds_of(later)}
        for name in _RUNNING.keys() - following:
            _RUNNING.pop(name).close()


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
