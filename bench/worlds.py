"""
The local world, started as by ``python -m local up``, with relays before its servers, and bursts of files through it.

    files ──> storage (relay) ──> functions host ──> (relay) FHIR

A burst is one study, uploaded by a plain storage client, sixteen files at a time. It is in FHIR when the last write
after which the server holds every instance was answered: the relay's journal says when that was, so that the moment
does not depend on how often we look.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from azure.storage.blob.aio import BlobServiceClient

from bench.processor import children_of
from bench.relay import Request
from bench.some_at_once import act_on_each
from bench.studies import Study
from bench.traffic import Journal
from local.node import CACHE
from local.processes import running
from local.world import APP, HOST_SETTING, WRAP_SETTING
from sync.config import Settings

AT_ONCE = 16
QUIET_PERIOD = float(Settings.model_fields["shortest_quiet_period_seconds"].default)
"""Seconds that a burst waits at least, because its objects arrive quickly."""

_POLL_SECONDS = 0.1
_LOG = CACHE / "bench.log"
_PATIENCE = 300.0
_SYSTEM = "urn:dicom:uid"


Span = tuple[float, float]
"""Begin and end; seconds of the monotonic clock."""


class BenchError(RuntimeError):
    """Something did not arrive: there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Fhir:
    """A FHIR server and the relay before it."""

    url: str
    relayed: str
    journal: Journal

    def study(self, uid: str) -> dict[str, Any] | None:
        """Return a study, read past the relay; None when the server has none."""
        query = {"identifier": f"{_SYSTEM}|urn:oid:{uid}"}
        answer = httpx.get(f"{self.url}/ImagingStudy", params=query, headers={"Cache-Control": "no-cache"}, timeout=60)
        entries = answer.raise_for_status().json().get("entry", [])
        return entries[0]["resource"] if entries else None

    def holds(self, study: Study) -> bool:
        """Return whether every instance of the study is there."""
        held = self.study(study.uid)
        return held is not None and instances_of(held) == len(study.instances)

    def versions(self, uid: str) -> int:
        """Return the number of versions of the study's ImagingStudy and Patient together; HAPI counts them from 1."""
        study = self.study(uid)
        if study is None:
            raise BenchError("the study is not in FHIR")
        patient = httpx.get(f"{self.url}/{study['subject']['reference']}", timeout=60).raise_for_status().json()
        return int(study["meta"]["versionId"]) + int(patient["meta"]["versionId"])


@dataclass(frozen=True, slots=True)
class BenchWorld:
    """A running world."""

    storage: str
    container: str
    api: str
    host: int
    """Process id of the functions host."""

    workers: Sequence[int]
    """Process of our code, where it is not that of the host; else empty."""

    fhir: Fhir
    traffic: Journal | None
    """Of the storage's relay, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """The times of one burst; seconds of the monotonic clock."""

    instances: int
    first_upload: float
    last_upload: float
    in_fhir: float
    fhir: list[Request]
    storage: list[Request]
    """Without what was read to answer us whether the world is idle; empty without a relay before the storage."""

    @property
    def after_upload(self) -> float:
        """Seconds from the end of the last upload until all was in FHIR, without the quiet period."""
        return self.in_fhir - self.last_upload - QUIET_PERIOD

    @property
    def whole(self) -> float:
        """Seconds from the start of the first upload until all was in FHIR, without the quiet period."""
        return self.in_fhir - self.first_upload - QUIET_PERIOD


def instances_of(study: dict[str, Any]) -> int:
    """Count the instances that an ImagingStudy lists."""
    return sum(len(series.get("instance", [])) for series in study.get("series", []))


def writes_of(burst: Burst) -> int:
    """Count the requests that wrote to FHIR."""
    return sum(request.method in ("POST", "PUT") and "_search" not in request.target for request in burst.fhir)


@contextlib.contextmanager
def relayed_fhir(url: str, *, delay: float = 0.0) -> Iterator[Fhir]:
    """Put a relay before a FHIR server; ``delay`` in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        journal = Journal(Path(folder) / "relay")
        command = [*leashed("bench.relay"), "--control", journal.control, "--delay", delay, "--fhir", url]
        with running(list(map(str, command)), name="the relay", ready=_published("fhir")) as relay:
            yield Fhir(url, relay.announced["fhir"], journal)


@contextlib.contextmanager
def relayed_storage(connection: str, *, delay: float = 0.0) -> Iterator[tuple[str, Journal]]:
    """Put a relay before a storage account; ``delay`` in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        journal = Journal(Path(folder) / "relay")
        command = [*leashed("bench.relay"), "--control", journal.control, "--delay", delay, "--storage", connection]
        with running(list(map(str, command)), name="the relay", ready=_published("storage")) as relay:
            yield relay.announced["storage"], journal


@contextlib.contextmanager
def bench_world(fhir: Fhir, *, delay: float = 0.0, counted: bool = False, apart: bool = False) -> Iterator[BenchWorld]:
    """
    Run ``python -m local up`` for the length of the block.

    Parameters
    ----------
    delay
        Milliseconds of latency to add to every request to the storage.
    counted
        Whether a relay counts them even without a delay.
    apart
        Whether our code runs in a process of its own, as on Azure, and not in that of the host.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _log() as log:
        journal = Journal(Path(folder) / "relay") if delay or counted else None
        wrap = (
            [sys.executable, "-m", "bench.relay", "--control", str(journal.control), "--delay", str(delay)]
            if journal
            else []
        )
        command = [*leashed("local"), "up", "--fhir", fhir.relayed]
        env = {WRAP_SETTING: shlex.join(wrap), "DICOM_SYNC_RECONCILE_STUDIES_PER_MINUTE": "0"}
        if apart:
            env[HOST_SETTING] = shlex.join([str(APP), "--worker", "process"])
        with running(command, name="the world", ready=_published("api"), on_line=log, env=env) as child:
            said = child.announced
            host = said["pids"]["host"]
            workers = children_of(host) if apart else []
            yield BenchWorld(said["storage"], said["container"], said["api"], host, workers, fhir, journal)


def send(world: BenchWorld, study: Study, *, seconds: float = 0.0) -> Burst:
    """
    Upload a study and wait until it is in FHIR and the world is idle again.

    Parameters
    ----------
    seconds
        Time over which the uploads are spread evenly; 0: as fast as they go.

    Raises
    ------
    BenchError
        It did not arrive.
    """
    fhir_before = world.fhir.journal.length()
    storage_before = world.traffic.length() if world.traffic else 0
    first, last = asyncio.run(_upload(world, study.files(), seconds / len(study.instances)))
    in_fhir = _wait_for(world.fhir, study, fhir_before)
    asked = _wait_until_idle(world)
    return Burst(
        instances=len(study.instances),
        first_upload=first,
        last_upload=last,
        in_fhir=in_fhir,
        fhir=world.fhir.journal.since(fhir_before),
        storage=without_reads(world.traffic.since(storage_before), asked) if world.traffic else [],
    )


def send_all(world: BenchWorld, studies: Sequence[Study]) -> None:
    """
    Upload studies, one behind the other, and wait until all are in FHIR and the world is idle again.

    Raises
    ------
    BenchError
        One did not arrive.
    """
    before = world.fhir.journal.length()
    asyncio.run(_upload(world, (file for study in studies for file in study.files()), 0.0))
    for study in studies:
        _wait_for(world.fhir, study, before)
    _wait_until_idle(world)


async def _upload(world: BenchWorld, files: Iterable[tuple[str, bytes]], step: float) -> tuple[float, float]:
    """Upload files, ``step`` seconds apart; return when the first began and the last was done."""
    async with BlobServiceClient.from_connection_string(world.storage) as service:
        container = service.get_container_client(world.container)

        async def upload(numbered: tuple[int, tuple[str, bytes]]) -> None:
            number, (name, content) = numbered
            await asyncio.sleep(max(first + number * step - time.monotonic(), 0.0))
            await container.upload_blob(name, content)

        first = time.monotonic()
        await act_on_each(enumerate(files), upload, at_once=AT_ONCE)
        return first, time.monotonic()


def _wait_for(fhir: Fhir, study: Study, first: int) -> float:
    """Wait until FHIR holds the study; return when the write of its last instance was answered."""
    seen = 0
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        answered = _writes_answered(fhir, first)
        if len(answered) > seen:
            seen = len(answered)
            if fhir.holds(study):
                return _writes_answered(fhir, first)[-1]  # one may have been answered since
        time.sleep(_POLL_SECONDS)
    raise BenchError(f"a burst of {len(study.instances)} instances did not arrive; see {os.path.relpath(_LOG)}")


def _writes_answered(fhir: Fhir, first: int) -> list[float]:
    return [request.ended for request in fhir.journal.since(first) if request.method == "POST" and request.ended]


def _wait_until_idle(world: BenchWorld) -> list[Span]:
    """Ask until the world is idle; return when each question was asked and answered."""
    deadline, asked = time.monotonic() + _PATIENCE, list[Span]()
    while (began := time.monotonic()) < deadline:
        is_idle = httpx.get(f"{world.api}/status", timeout=60).raise_for_status().json()["idle"]
        asked.append((began, time.monotonic()))
        if is_idle:
            return asked
        time.sleep(_POLL_SECONDS)
    raise BenchError(f"the world did not come to rest; see {os.path.relpath(_LOG)}")


def without_reads(requests: Sequence[Request], spans: Sequence[Span]) -> list[Request]:
    """Leave out reads of tables and queues that began in one of the spans; nothing else is at work then."""
    return [
        request
        for request in requests
        if request.method != "GET"
        or request.service == "blob"
        or not any(began <= request.started <= ended for began, ended in spans)
    ]


def leashed(module: str) -> list[str]:
    """Return the command that runs a module for as long as this process is there."""
    return [sys.executable, "-m", "local.leash", "-m", module]


def _published(key: str) -> Callable[[str], dict[str, Any] | None]:
    """Return what tells the JSON line that holds the key from all others."""

    def ready(line: str) -> dict[str, Any] | None:
        try:
            said = json.loads(line)
        except ValueError:
            return None
        return said if isinstance(said, dict) and key in said else None

    return ready


@contextlib.contextmanager
def _log() -> Iterator[Callable[[str], object]]:
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    with _LOG.open("a", buffering=1, encoding="utf-8") as log:
        yield log.write
