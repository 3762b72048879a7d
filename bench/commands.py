"""
How long the long commands take where all is right: backfill, replay and verify of 3,000 known objects in 50 studies.

Starts an Azurite and an embedded FHIR server, fills a container, brings it to FHIR by ``backfill --project``, and runs
each command as a process of its own, without functions. A replay reads listings there, for Azurite has no change feed.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.backfill import fill
from bench.goals import TIMES_VARY, Goal, Section
from bench.studies import study
from bench.worlds import BenchError
from local.azurite import azurite
from local.fhir_embedded import embedded_fhir_server

ROOT = Path(__file__).parents[1]
STUDIES, STUDIES_QUICK, INSTANCES = 50, 10, 60

PER_SECOND, VERIFY_SECONDS, REPLAY_TIMES = 1500.0, 5.0, 8.0

HOW = (
    f"{STUDIES} studies of {INSTANCES} objects in Azurite and the embedded FHIR server, brought there by backfill "
    "--project; then each command once as a process of its own, without functions; seconds with the start of Python"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a command."""

    seconds: float
    cpu: float
    """Seconds of the processor that the command's process took."""

    results: list[dict[str, Any]]

    def figures(self) -> dict[str, Any]:
        """Return it as the results file has it."""
        return {"seconds": round(self.seconds, 1), "cpu_seconds": round(self.cpu, 1), "results": self.results}


def measure(*, quick: bool) -> Section:
    """Fill, sync, and run the commands."""
    studies = STUDIES_QUICK if quick else STUDIES
    with azurite() as storage, embedded_fhir_server() as fhir:
        environment = {"AzureWebJobsStorage": storage.connection_string, "DICOM_SYNC_FHIR_URL": fhir.url}
        files = (file for number in range(studies) for file in study(f"commands-{number}", INSTANCES).files())
        asyncio.run(fill(storage.connection_string, files))
        idle = _run(environment, "status", "--json")
        first = _run(environment, "backfill", "--project", "--json")
        known = _run(environment, "backfill", "--json")
        verify = _run(environment, "verify", "--json")
        replay = _run(environment, "replay", "--from", "2020-01-01", "--project", "--json")
    objects = studies * INSTANCES
    goals = [
        Goal(
            what=f"backfill of {objects:,} known objects, a second of the command",
            measured=objects / known.seconds,
            bound=PER_SECOND,
            at_least=True,
            tolerance=TIMES_VARY,
        ),
        Goal(
            what=f"verify of {studies} studies, {objects:,} objects",
            measured=verify.seconds,
            bound=VERIFY_SECONDS,
            unit=" s",
            floor=idle.seconds,
            tolerance=TIMES_VARY,
        ),
        Goal(
            what=f"replay of {objects:,} unchanged, times faster than the first sync",
            measured=first.seconds / replay.seconds,
            bound=REPLAY_TIMES,
            at_least=True,
            tolerance=TIMES_VARY,
        ),
    ]
    runs = {"status": idle, "first": first, "known": known, "verify": verify, "replay": replay}
    return Section(name="commands", how=HOW, goals=goals, figures={name: run.figures() for name, run in runs.items()})


def _run(environment: dict[str, str], *words: str) -> Run:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sync", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1}:
        raise BenchError(f"{words[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Run(seconds=seconds, cpu=cpu, results=[result for result in told if words[0] != "status"][-3:])
