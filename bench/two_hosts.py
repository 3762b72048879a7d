"""
One walk by one process and by two, with 15 ms more for every storage call: how much sooner do two end.

    backfill   every object is new: read, and written as rows
    verify     everything is compared: objects, studies, FHIR's lists
    export     everything, and more studies of which there are only rows, is written into a container
    replay     every object is known, and read again because it was asked for; last, for it leaves studies marked

Azurite and the embedded FHIR server hold a small store that is cut as a large one is: slices are small, so that two
processes have something to share. Both workers are processes of their own with a relay of their own before the storage,
are ready before the time begins, and do what a function or a typed command does with a walk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from azure.storage.blob.aio import BlobServiceClient

from bench.backfill import fill
from bench.goals import TIMES_VARY, Goal, Section
from bench.large_world import object_of, record_of, study_of, write_all
from bench.studies import study
from bench.worlds import BenchError, relayed_storage
from local.azurite import azurite
from local.fhir_embedded import embedded_fhir_server
from sync.bootstrap import start
from sync.cli.reporting import console
from sync.cli.walks import share_walk
from sync.config import Settings
from sync.mapping.patient import claim_patient
from sync.mapping.resource import patient_id
from sync.model import LedgerRow, PatientRow, StudyRef
from sync.operators.walks import NewWalk, begin_walk
from sync.protocol.walk_rows import WalkState, read_walk
from sync.replay.jobs import new_replay
from sync.replay.requests import ReplayRequest
from sync.verify.full_scan import Plan
from sync.walks.backfill import Scope, new_backfill
from sync.walks.exporting import new_export
from sync.walks.verification import new_verification

KINDS = ("backfill", "verify", "export", "replay")
IN_BENCH = ("backfill", "verify")
STUDIES, STUDIES_QUICK, INSTANCES = 40, 20, 30
LATENCY = 15.0
"""Milliseconds."""

TIMES = 0.6
PARALLEL = 24
HOSTS = {"one": 1, "two": 2}
"""Name -> processes; of a container too: all are filled alike, and each backfill walks its own."""

EXPORTED, EXPORTED_QUICK, ROWS = 1200, 100, 4
"""
Studies for an export, and instances of each: rows only, for an export reads nothing else.

Twice as many as would do for one process: cutting, merges and the close take about a second in any export.
"""

_SLICE = 60
_STUDIES_A_SLICE, _STUDIES_A_PART = 2, 40
_ROOT = Path(__file__).parents[1]

HOW = (
    f"{STUDIES} studies of {INSTANCES} instances a container in Azurite and the embedded FHIR server; {LATENCY:g} ms "
    f"more for every request to the storage; slices of {_SLICE} objects and {_STUDIES_A_SLICE} studies, "
    f"an export of {EXPORTED} studies more, which are only rows, in parts of {_STUDIES_A_PART}; from the "
    "moment at which all processes may begin until the last of them says that the walk is over"
)


def measure(*, quick: bool, full: bool) -> Section:
    """Let one process and then two do each walk; ``full``: all kinds of walks."""
    kinds = KINDS if full else IN_BENCH
    studies = STUDIES_QUICK if quick else STUDIES
    with azurite() as storage, embedded_fhir_server() as fhir:
        environment = {
            "AzureWebJobsStorage": storage.connection_string,
            "DICOM_SYNC_FHIR_URL": fhir.url,
            "DICOM_SYNC_CONTAINERS": ",".join(f"walk-{name}" for name in HOSTS),
        }
        asyncio.run(_fill(storage.connection_string, studies))
        measured = {}
        for kind in kinds:
            if kind == "export":
                asyncio.run(_fill_rows(environment, EXPORTED_QUICK if quick else EXPORTED))
            measured[kind] = {name: _shared((kind, name), hosts, environment) for name, hosts in HOSTS.items()}
            if kind == "backfill":
                _project(environment)
    goals = [
        Goal(
            what=f"{kind} by two, times the time of one",
            measured=measured[kind]["two"]["seconds"] / measured[kind]["one"]["seconds"],
            bound=TIMES,
            unit="x",
            floor=0.5,
            tolerance=TIMES_VARY,
        )
        for kind in kinds
    ]
    return Section(name="two-hosts", how=HOW, goals=goals, figures=measured)


async def _fill(connection: str, studies: int) -> None:
    """Upload the same number of studies into each container, and make those of exports."""
    async with BlobServiceClient.from_connection_string(connection) as service:
        for name in HOSTS:
            await service.create_container(f"exports-{name}")
    for place in (f"walk-{name}" for name in HOSTS):
        waiting = (file for number in range(studies) for file in study(f"{place}-{number}", INSTANCES).files())
        await fill(connection, waiting, place)


async def _fill_rows(environment: Mapping[str, str], studies: int) -> None:
    """Write rows of studies as they are once these are in FHIR."""
    running = await start(_settings(environment))
    try:
        s, now = running.services, datetime.now(UTC)
        refs = [study_of(number) for number in range(studies)]
        rows = [
            [_of_patient(number // 2, object_of(ref, place, now)) for place in range(ROWS)]
            for number, ref in enumerate(refs)
        ]
        await write_all(partial(s.ledger.upsert, row) for some in rows for row in some)
        patients = [_patient_row(ref, some, s.settings) for ref, some in zip(refs, rows, strict=True)]
        await write_all(partial(s.patients.upsert, row) for row in patients)
        # Of patients that no other system has: their Patients are part of the export.
        records = [
            replace(
                record_of(row.study, instances=ROWS),
                patient_id=patient_id(row.patient_key),
                patient_key=row.patient_key,
                patient_keys=frozenset({row.patient_key}),
            )
            for row in patients
        ]
        await write_all(partial(s.projections.write, record, None) for record in records)
    finally:
        await running.close()


def _of_patient(number: int, row: LedgerRow) -> LedgerRow:
    attributes = {**row.record.attributes, "PatientID": [f"P{number}"]}
    return replace(row, record=replace(row.record, attributes=attributes))


def _patient_row(study: StudyRef, rows: Sequence[LedgerRow], settings: Settings) -> PatientRow:
    claim = claim_patient(study, rows, settings)
    return PatientRow(patient_key=claim.key, study=study, study_date=claim.study_date, attributes=claim.attributes)


def _project(environment: Mapping[str, str]) -> None:
    """Write the studies that the backfills read to FHIR."""
    command = [sys.executable, "-m", "sync", "backfill", "--project", "--json"]
    done = subprocess.run(command, cwd=_ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"backfill --project ended with {done.returncode}: {done.stderr[-500:]}")


def _walk(kind: str, name: str, settings: Settings) -> NewWalk:
    match kind:
        case "backfill":
            return new_backfill(Scope(container=f"walk-{name}"))
        case "replay":
            return new_replay(ReplayRequest(source="blob", reread=True))
        case "verify":
            return new_verification(Plan(), settings)
        case _:
            return new_export(f"exports-{name}", settings, max_bytes=10**6)


def _shared(asked: tuple[str, str], hosts: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run one walk by that many processes; return its seconds, and the storage requests of each process."""
    asyncio.run(_begin(asked, environment))
    with contextlib.ExitStack() as stack:
        relays = [
            stack.enter_context(relayed_storage(environment["AzureWebJobsStorage"], delay=LATENCY))
            for _ in range(hosts)
        ]
        workers = [
            stack.enter_context(_worker(asked, {**environment, "AzureWebJobsStorage": relayed}))
            for relayed, _ in relays
        ]
        for worker in workers:
            _line(worker, "ready")
        before = [journal.length() for _, journal in relays]
        began = time.monotonic()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("begin\n")
            worker.stdin.flush()
        for worker in workers:
            _line(worker, "over")
        seconds = time.monotonic() - began
        print(f"{asked[0]} by {hosts}: {seconds:.1f} s", file=sys.stderr)
        requests = [journal.length() - so_far for (_, journal), so_far in zip(relays, before, strict=True)]
    return {
        "seconds": round(seconds, 2),
        "requests_of_each": requests,
        "counts": asyncio.run(_counts(asked, environment)),
    }


@contextlib.contextmanager
def _worker(asked: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.two_hosts", *asked]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=_ROOT, env=os.environ | environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(worker: subprocess.Popen[str], wanted: str) -> None:
    assert worker.stdout is not None
    assert worker.stderr is not None
    if worker.stdout.readline().strip() != wanted:
        worker.kill()
        raise BenchError(f"a worker is not {wanted}: {worker.stderr.read()[-500:]}")


def _settings(environment: Mapping[str, str]) -> Settings:
    return Settings(
        fhir_url=environment["DICOM_SYNC_FHIR_URL"],
        AzureWebJobsStorage=environment["AzureWebJobsStorage"],
        containers=environment["DICOM_SYNC_CONTAINERS"],
    )


async def _begin(asked: tuple[str, str], environment: Mapping[str, str]) -> None:
    running = await start(_settings(environment))
    try:
        await begin_walk(_walk(*asked, running.services.settings), running.services, who="bench")
    finally:
        await running.close()


async def _counts(asked: tuple[str, str], environment: Mapping[str, str]) -> dict[str, int]:
    running = await start(_settings(environment))
    try:
        row = await read_walk(_walk(*asked, running.services.settings).name, running.services)
        if row is None or row.state is not WalkState.DONE:
            raise BenchError(f"{asked[0]} is not done")
        if row.counts.get("busy"):
            raise BenchError(f"{row.counts['busy']} studies were outstanding, so they were not compared")
        return dict(row.counts)
    finally:
        await running.close()


async def _take_part(kind: str, what: str) -> None:
    running = await start(Settings.load())
    name = _walk(kind, what, running.services.settings).name
    try:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        out = console()
        await share_walk(name, running.kinds, running.services, out, heading="Walk", parallel=PARALLEL, as_json=True)
        print("over", flush=True)
    finally:
        await running.close()


if __name__ == "__main__":
    with (
        patch("sync.walks.cutting.SMALLEST", _SLICE),
        patch("sync.walks.verification.NAMES", _SLICE),
        patch("sync.walks.verification.STUDIES_A_SLICE", _STUDIES_A_SLICE),
        patch("sync.walks.exporting.STUDIES_A_PART", _STUDIES_A_PART),
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        asyncio.run(_take_part(*sys.argv[1:]))
