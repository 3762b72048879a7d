"""
Starts all parts in the order in which they need each other, and stops them in the opposite order.

    Azurite ──access log──> Event Grid stand-in ──> queue `objects` ──> functions host ──> FHIR server

What reaches the world goes through one environment: the connection string, the FHIR base URL, the containers. The
functions host is supervised; any other part that dies ends the world, since its data died with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.azurite import azurite
from local.blobs import source_containers
from local.fhir_embedded import FhirServer, embedded_fhir_server
from local.processes import running
from local.storage_events import Disorder, Schema, StorageEvents
from local.supervision import Supervised
from sync.model.queues import QUEUES

T = TypeVar("T")

APP = Path(__file__).parents[1]
WRAP_SETTING = "LOCAL_STORAGE_WRAP"
HOST_SETTING = "LOCAL_HOST_ARGUMENTS"
"""Arguments of `local.host` in place of the folder of our app, for tests."""

FEEDS = (
    "DICOM_SYNC_DICOM_URL",
    "DICOM_SYNC_ORTHANC_URL",
    "DICOM_SYNC_ORTHANC_USER",
    "DICOM_SYNC_ORTHANC_PASSWORD",
)

_POLL_SECONDS = 0.5
"""Seconds between two looks whether the servers still live."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a world."""

    fhir: str = "embedded"
    """``embedded``, ``embedded-azure``, ``hapi``, or the base URL of a server that runs already."""

    port: int = 0
    """Of the functions host; 0 takes a free one."""

    schema: Schema = "cloudevents"
    """Envelope of the events."""

    disorder: Disorder = field(default_factory=Disorder)
    """The faults in the delivery of events."""

    host: Callable[[int], Sequence[str]] | None = None
    """Makes the command of another functions host for a port; None: `local.host` with our app."""

    host_seconds: float = 60.0
    """How long the functions host may take to start."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where everything is; as JSON, the line that ``python -m local up`` prints."""

    storage: str
    container: str
    fhir: str
    api: str
    env: Mapping[str, str]
    pids: Mapping[str, int]

    def line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class World:
    """A running world."""

    addresses: Addresses
    events: StorageEvents
    host: Supervised
    _parts: Mapping[str, Callable[[], bool]]

    async def until_a_part_ends(self) -> str:
        """Wait until a part that is not supervised is gone, which should not happen; return its name."""
        while True:
            for name, ended in self._parts.items():
                if ended():
                    return name
            await asyncio.sleep(_POLL_SECONDS)


@contextlib.asynccontextmanager
async def world(plan: Plan, log: Callable[[str], object]) -> AsyncIterator[World]:
    """
    Run a world for the length of the block.

    Parameters
    ----------
    plan
        What to make.
    log
        Gets the lines that the parts print, from several threads.

    Raises
    ------
    StartError
        A part did not start.
    """
    containers = source_containers()
    events = StorageEvents(containers, schema=plan.schema, disorder=plan.disorder)
    async with AsyncExitStack() as stack:
        storage, fhir = await _both(
            _enter(stack, azurite(on_line=events.feed)), _enter(stack, _fhir_server(plan.fhir, log))
        )
        connection = await _enter(stack, _wrapped(storage.connection_string))
        await _create(storage.connection_string, containers)
        await stack.enter_async_context(events.delivering(storage.connection_string, public=connection))
        env = _environment(connection, fhir.url, containers) | _feeds()
        command = plan.host or _our_host
        supervised = Supervised(command, port=plan.port, env=env | _findable(), log=log, seconds=plan.host_seconds)
        host = await _enter(stack, supervised)
        pids = {"host": host.pid, "azurite": storage.pid, **({"fhir": fhir.pid} if fhir.pid else {})}
        addresses = Addresses(
            storage=connection, container=containers[0], fhir=fhir.url, api=f"{host.url}/api", env=env, pids=pids
        )
        parts = {"the storage": storage.ended, "the FHIR server": fhir.ended, "the delivery of events": events.ended}
        yield World(addresses, events, host, parts)


def _environment(connection: str, fhir: str, containers: Sequence[str]) -> dict[str, str]:
    return {
        "AzureWebJobsStorage": connection,
        "DICOM_SYNC_FHIR_URL": fhir,
        "DICOM_SYNC_CONTAINERS": ",".join(containers),
        # its host asks for no key and listens on this machine only, so anyone who reaches it may act
        "DICOM_SYNC_OPERATORS": os.environ.get("DICOM_SYNC_OPERATORS", "key"),
    }


def _feeds() -> dict[str, str]:
    """Return the settings of DICOM services that the world is to read, if any; they run already."""
    return {name: os.environ[name] for name in FEEDS if os.environ.get(name)}


def _findable() -> dict[str, str]:
    """Return the setting by which child processes find our packages, wherever we were started."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(APP), os.environ.get("PYTHONPATH"))))}


def _our_host(port: int) -> list[str]:
    arguments = shlex.split(os.environ.get(HOST_SETTING, "")) or [str(APP)]
    return [sys.executable, "-m", "local.leash", "-m", "local.host", *arguments, "--port", str(port)]


def _fhir_server(which: str, log: Callable[[str], object]) -> AbstractContextManager[FhirServer]:
    if which in ("embedded", "embedded-azure"):
        return embedded_fhir_server(azure=which == "embedded-azure", on_line=log)
    if which == "hapi":
        from local.hapi import hapi_server  # noqa: PLC0415  # only who wants HAPI needs Java to be looked for

        return hapi_server(on_line=log)
    return contextlib.nullcontext(FhirServer(which.rstrip("/"), 0, lambda: False))


def _wrapped(connection: str) -> AbstractContextManager[str]:
    """Run the command that LOCAL_STORAGE_WRAP names, so that a proxy of it may stand before the storage."""
    command = shlex.split(os.environ.get(WRAP_SETTING, ""))
    if not command:
        return contextlib.nullcontext(connection)
    leashed = [sys.executable, "-m", "local.leash", *command, "--storage", connection]
    return _published(running(leashed, name=WRAP_SETTING, ready=_storage_of, env=_findable(), errors_too=False))


@contextlib.contextmanager
def _published(child: Any) -> Any:
    with child as started:
        yield started.announced


def _storage_of(line: str) -> str | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return str(said["storage"]) if isinstance(said, dict) and "storage" in said else None


async def _create(connection: str, containers: Sequence[str]) -> None:
    async with (
        BlobServiceClient.from_connection_string(connection) as blobs,
        QueueServiceClient.from_connection_string(connection) as queues,
    ):
        for name in containers:
            with contextlib.suppress(ResourceExistsError):
                await blobs.create_container(name)
        for name in QUEUES:
            with contextlib.suppress(ResourceExistsError):
                await queues.create_queue(name)


async def _enter(stack: AsyncExitStack, part: AbstractContextManager[T]) -> T:
    """Start a part in a thread, and have it stopped in one at the end of the stack."""
    value = await asyncio.to_thread(part.__enter__)

    async def leave(*problem: Any) -> None:
        await asyncio.to_thread(part.__exit__, *problem)

    stack.push_async_exit(leave)
    return value


async def _both(first: Any, second: Any) -> Any:
    """Start two parts at once; if one fails, the other is up before the failure is raised, and so is stopped."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
