"""
One backfill, shared by one host and by two, with latency on every storage call: how much sooner do two end.

    python -m bench.walks [--objects 3000] [--delay 15] [--kill]

Starts an Azurite and a relay before it, fills a container with header-only objects, begins one backfill by HTTP and
waits until it is done; then the same for two hosts, each behind a relay of its own, whose journals tell how many
objects each host read. With ``--kill`` one of the two is killed half-way. Projection is paused, so that no FHIR
service takes part. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.backfill import files, fill
from bench.traffic import Journal
from bench.worlds import leashed, relayed_storage
from local.azurite import azurite
from local.processes import running
from sync.bootstrap import start
from sync.config import Settings
from sync.operators.pause import pause_projection

ROOT = Path(__file__).parents[1]
_PATIENCE = 600.0


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host and the relay between it and the storage."""

    url: str
    pid: int
    journal: Journal

    def read(self) -> int:
        """Return how many objects it has read."""
        return sum(
            request.service == "blob" and request.method == "GET" and "restype=container" not in request.target
            for request in self.journal.since()
        )


@contextlib.contextmanager
def host(connection: str, *, delay: float) -> Iterator[Host]:
    """Run a host behind a relay for the length of the block."""
    with relayed_storage(connection, delay=delay) as (relayed, journal):
        environment = settings(relayed) | {"PYTHONPATH": str(ROOT), "DICOM_SYNC_OPERATORS": "key"}
        command = [*leashed("local.host"), str(ROOT), "--port", "0"]
        with running(command, name="a host", ready=_address, env=environment) as child:
            yield Host(url=child.announced, pid=child.pid, journal=journal)


def settings(connection: str) -> dict[str, str]:
    """Return the settings that an app needs."""
    return {"AzureWebJobsStorage": connection, "DICOM_SYNC_FHIR_URL": "http://127.0.0.1:1/fhir"}


def _address(line: str) -> str | None:
    return next((word for word in line.split() if word.startswith("http://127.0.0.1:")), None)


async def _prepare(connection: str, objects: int) -> None:
    await fill(connection, files(objects))
    app = await start(Settings(fhir_url="http://127.0.0.1:1/fhir", AzureWebJobsStorage=connection))
    try:
        await pause_projection(app.services, who="bench", why="only the walk is measured")
    finally:
        await app.close()


def shared(hosts: int, *, objects: int, delay: float, kill: bool) -> dict[str, Any]:
    """Walk one container with that many hosts; kill the last of them half-way if told to."""
    with azurite() as storage, contextlib.ExitStack() as stack:
        connection = storage.connection_string
        asyncio.run(_prepare(connection, objects))
        running_hosts = [stack.enter_context(host(connection, delay=delay)) for _ in range(hosts)]
        began = time.monotonic()
        api = f"{running_hosts[0].url}/api/walks"
        httpx.post(api, json={"who": "bench"}, timeout=60).raise_for_status()
        killed = False
        while True:
            [walk] = httpx.get(api, timeout=60).raise_for_status().json()["walks"]
            if walk["state"] != "running":
                break
            if kill and not killed and sum(walk["counts"].values()) >= objects // 3:
                read_by_killed = running_hosts[-1].read()
                os.killpg(running_hosts[-1].pid, signal.SIGKILL)
                killed = True
            if time.monotonic() - began > _PATIENCE:
                raise SystemExit(f"the walk does not end: {walk}")
            time.sleep(0.25)
        seconds = time.monotonic() - began
        read = [worker.read() for worker in running_hosts]
        return {
            "hosts": hosts,
            "seconds": round(seconds, 1),
            "counts": walk["counts"],
            "read_by_each": read,
            **({"killed_after_reading": read_by_killed} if killed else {}),
        }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.walks", description="Seconds of a backfill by one host and by two."
    )
    parser.add_argument("--objects", type=int, default=3000, help="objects to walk over (default 3,000)")
    parser.add_argument("--delay", type=float, default=15.0, help="milliseconds added to every storage call")
    parser.add_argument("--kill", action="store_true", help="only two hosts, of which one is killed half-way")
    asked = parser.parse_args()
    runs = [
        shared(hosts, objects=asked.objects, delay=asked.delay, kill=asked.kill)
        for hosts in ((2,) if asked.kill else (1, 2))
    ]
    share = {} if asked.kill else {"two_of_one": round(runs[1]["seconds"] / runs[0]["seconds"], 2)}
    print(json.dumps({"objects": asked.objects, "delay_ms": asked.delay, "runs": runs, **share}, indent=1))


if __name__ == "__main__":
    main()
