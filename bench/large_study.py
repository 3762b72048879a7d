"""
One study of 30,000 instances: seconds and memory of a projection, with its instance list and without.

    ledger rows in Azurite  ->  python -m bench.large_study, a process for each step  ->  embedded FHIR server

A step is one `project_study` that trusts no record: *written* (FHIR has nothing), *compared* (FHIR has it: read,
compared, nothing written), *switched* (the same study, now without its list) and *compared* again. Each has a process
of its own, because memory that Python once had does not go back. The floor is a process that reads the same rows by the
bare library, and reads and writes the same resource by a bare client.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import httpx
from azure.data.tables.aio import TableServiceClient

from bench.goals import TIMES_VARY, Goal, Section
from bench.large_world import write_all
from bench.studies import study
from bench.worlds import BenchError
from local.azurite import azurite
from local.fhir_embedded import embedded_fhir_server
from sync import bootstrap
from sync.config import HeaderLimits, Settings
from sync.dicom.header import parse_header
from sync.mapping.resource import study_id
from sync.model import InstanceRecord, LedgerRow, ObjectKey, Projected, StudyRef, digest
from sync.pipeline import project_study

INSTANCES, QUICK = 30_000, 5000
SECONDS, MEMORY = 30.0, 512.0
"""Bounds of the whole study: 30 s of the ten minutes of a function, the smallest instance of Flex Consumption."""

HOW = (
    "one study, its rows written to Azurite by our adapter, projected into the embedded FHIR server by a process "
    "for each step that trusts no record; seconds of the wall clock without start, and the highest resident set size"
)
_AT_ONCE = 200


def measure(*, quick: bool) -> Section:
    """Fill the ledger, and let each step run."""
    size = QUICK if quick else INSTANCES
    with azurite() as storage, embedded_fhir_server() as fhir:
        env = {"AzureWebJobsStorage": storage.connection_string, "DICOM_SYNC_FHIR_URL": fhir.url}
        asyncio.run(_fill(env, size))
        written = _step(env, size, "all", Projected.WRITTEN)
        compared = _step(env, size, "all", Projected.UNCHANGED)
        floor = _child(env, size, "floor")
        switched = _step(env, size, "series", Projected.WRITTEN)
        without = _step(env, size, "series", Projected.UNCHANGED)
    figures = {
        "instances": size,
        "written": written,
        "compared": compared,
        "switched": switched,
        "compared_without_list": without,
        "floor": floor,
    }
    goals = [
        Goal(
            what=f"seconds, {size:,} instances {name}",
            measured=step["seconds"],
            bound=SECONDS,
            unit=" s",
            floor=floor["seconds"],
            tolerance=TIMES_VARY,
        )
        for name, step in (("written", written), ("compared", compared), ("switched to series", switched))
    ]
    goals += [
        Goal(
            what=f"memory at its peak, {size:,} instances {name}",
            measured=step["peak_mb"],
            bound=MEMORY,
            unit=" MB",
            floor=floor["peak_mb"],
        )
        for name, step in (("written", written), ("compared", compared), ("compared as series", without))
    ]
    return Section(name="large", how=HOW, goals=goals, figures=figures)


async def _fill(env: dict[str, str], size: int) -> None:
    """Write the ledger as ingest does, and mark nothing: each step inserts its own mark."""
    settings = Settings(fhir_url=env["DICOM_SYNC_FHIR_URL"], AzureWebJobsStorage=env["AzureWebJobsStorage"])
    running = await bootstrap.start(settings)
    try:
        ledger = running.services.ledger
        rows = (_row(name, content) for name, content in study("large", size).files())
        await write_all((partial(ledger.upsert, row) for row in rows), at_once=_AT_ONCE)
    finally:
        await running.close()


def _row(name: str, content: bytes) -> LedgerRow:
    record = parse_header(content, size=len(content), limits=HeaderLimits())
    if not isinstance(record, InstanceRecord):
        raise BenchError("a generated file is not readable")
    key = ObjectKey(digest("large", length=20), digest(name))
    return LedgerRow(object_key=key, record=record, order="2026-01-01T00:00:00.000000+00:00")


def _step(env: dict[str, str], size: int, instances: str, expected: Projected) -> dict[str, Any]:
    told = _child({**env, "DICOM_SYNC_INSTANCES": instances}, size, "project")
    if told["outcome"] != expected.value:
        raise BenchError(f"the study was {told['outcome']} instead of {expected.value}")
    held = httpx.get(f"{env['DICOM_SYNC_FHIR_URL']}/ImagingStudy/{told['id']}", timeout=60).raise_for_status().json()
    listed = sum(len(series.get("instance", [])) for series in held["series"])
    if (held["numberOfInstances"], listed) != (size, size if instances == "all" else 0):
        raise BenchError(f"FHIR holds {held['numberOfInstances']} instances and lists {listed}")
    return told


def _child(env: dict[str, str], size: int, what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.large_study", what, str(size)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"step {what} ended with {done.returncode}: {done.stderr[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _project() -> dict[str, Any]:
    settings = Settings.load()
    running = await bootstrap.start(settings)
    try:
        ref = StudyRef(study_instance_uid=study("large", 1).uid)
        before, began = time.process_time(), time.monotonic()
        outcome = await project_study(ref, running.services, redelivered=True)
        return {"outcome": outcome.value, "id": study_id(ref), **_cost(before, began)}
    finally:
        await running.close()


async def _floor(size: int) -> dict[str, Any]:
    """Read the rows and move the resource by bare clients."""
    settings = Settings.load()
    ref = StudyRef(study_instance_uid=study("large", 1).uid)
    address = f"{settings.fhir_url}/ImagingStudy/{study_id(ref)}"
    before, began = time.process_time(), time.monotonic()
    async with TableServiceClient.from_connection_string(settings.storage) as tables:
        query = tables.get_table_client("ledger").query_entities("PartitionKey eq @key", parameters={"key": ref.key})
        rows = [row async for row in query]
    async with httpx.AsyncClient(timeout=60) as client:
        held = (await client.get(address)).raise_for_status().json()
        (await client.put(address, content=json.dumps(held))).raise_for_status()
    if len(rows) != size:
        raise BenchError(f"the ledger has {len(rows)} rows")
    return _cost(before, began)


def _cost(processor: float, began: float) -> dict[str, Any]:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": round(time.monotonic() - began, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "peak_mb": round(kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1), 1),
    }


def main(arguments: Sequence[str]) -> None:
    """Run one step, and print its seconds and memory."""
    what, size = arguments
    print(json.dumps(asyncio.run(_floor(int(size)) if what == "floor" else _project())))


if __name__ == "__main__":
    main(sys.argv[1:])
