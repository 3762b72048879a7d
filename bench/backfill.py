"""
Fifty thousand header-only objects, walked through by a command that is killed on the way: does it miss any, is it flat.

    python -m bench.backfill [--objects 50000] [--kills 2] [--project]

Starts an Azurite (and, with ``--project``, an embedded FHIR server), fills a container, runs the command
``python -m sync backfill`` as a process of its own, kills it several times at even distances, runs it to its end, and
compares the ledger with what was put there. Prints one JSON object: seconds, objects a second, resident memory of each
run as the kernel noted it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from azure.storage.blob.aio import BlobServiceClient

from bench.some_at_once import act_on_each
from bench.studies import study
from local.azurite import azurite
from local.fhir_embedded import embedded_fhir_server
from sync.bootstrap import start
from sync.config import Settings
from sync.model import StudyRef

ROOT = Path(__file__).parents[1]
STUDY = 100
UPLOADS = 48


def files(objects: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents; studies of a hundred instances."""
    for number in range(-(-objects // STUDY)):
        yield from study(f"backfill-{number}", min(STUDY, objects - number * STUDY)).files()


async def fill(connection: str, waiting: Iterable[tuple[str, bytes]], container: str = "dicom") -> None:
    """Make the container, and upload names and contents into it, several at once."""
    async with BlobServiceClient.from_connection_string(connection) as service:
        client = service.get_container_client(container)
        await client.create_container()
        await act_on_each(waiting, lambda file: client.upload_blob(*file), at_once=UPLOADS)


async def ledger(environment: dict[str, str], objects: int) -> tuple[int, int]:
    """Count the uploaded objects that the ledger holds, and the outstanding studies."""
    settings = Settings(
        fhir_url=environment["DICOM_SYNC_FHIR_URL"], AzureWebJobsStorage=environment["AzureWebJobsStorage"]
    )
    running = await start(settings)
    try:
        in_ledger = 0
        for number in range(-(-objects // STUDY)):
            wanted = study(f"backfill-{number}", min(STUDY, objects - number * STUDY))
            rows = await running.services.ledger.read(StudyRef(study_instance_uid=wanted.uid))
            in_ledger += len({row.record.sop_instance_uid for row in rows} & {one.sop for one in wanted.instances})
        return in_ledger, len([dirty async for dirty in running.services.dirty.all()])
    finally:
        await running.close()


def run(environment: dict[str, str], *, project: bool, kill_at: int | None) -> dict[str, Any]:
    """Run the command; kill it once it reports ``kill_at`` objects done."""
    command = [sys.executable, "-m", "sync", "backfill", "--json", *(["--project"] if project else [])]
    began, seen, memory = time.monotonic(), 0, 0
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    samples = []
    for line in process.stderr:
        said = json.loads(line) if line.startswith("{") else {}
        memory = max(memory, peak(process.pid))
        if said.get("event") == "progress":
            seen = said["done"]
            samples.append([seen, resident(process.pid)])
            if kill_at is not None and seen >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
    out, _ = process.communicate()
    result = [json.loads(line) for line in out.splitlines()]
    return {
        "seconds": round(time.monotonic() - began, 1),
        "done": seen,
        "status": process.returncode,
        "peak_mb": memory,
        "mb_by_done": samples[:: max(1, len(samples) // 8)],
        "result": result,
    }


def peak(pid: int) -> int:
    return _megabytes(pid, "VmHWM")


def resident(pid: int) -> int:
    return _megabytes(pid, "VmRSS")


def _megabytes(pid: int, what: str) -> int:
    try:
        match = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(match[1]) // 1024 if match else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.backfill", description="Memory and rate of a backfill that is killed and resumed."
    )
    parser.add_argument("--objects", type=int, default=50_000, help="objects to upload first (default 50,000)")
    parser.add_argument("--kills", type=int, default=2, help="times that the command is killed (default 2)")
    parser.add_argument("--project", action="store_true", help="also project the studies, to the embedded FHIR server")
    asked = parser.parse_args()
    with ExitStack() as stack:
        storage = stack.enter_context(azurite())
        fhir = stack.enter_context(embedded_fhir_server()).url if asked.project else "http://localhost:1/fhir"
        environment = {"AzureWebJobsStorage": storage.connection_string, "DICOM_SYNC_FHIR_URL": fhir}
        began = time.monotonic()
        asyncio.run(fill(storage.connection_string, files(asked.objects)))
        uploaded = time.monotonic() - began
        print(f"uploaded {asked.objects} in {uploaded:.0f} s", file=sys.stderr)
        kills = [asked.objects * (n + 1) // (asked.kills + 1) for n in range(asked.kills)]
        runs = [run(environment, project=asked.project, kill_at=at) for at in [*kills, None]]
        again = run(environment, project=False, kill_at=None)
        in_ledger, dirty = asyncio.run(ledger(environment, asked.objects))
    print(
        json.dumps(
            {"objects": asked.objects, "in_ledger": in_ledger, "dirty": dirty, "runs": runs, "again": again}, indent=1
        )
    )


if __name__ == "__main__":
    main()
