"""
Try the app on another Functions host: Microsoft's image of it, or Azure Functions Core Tools.

    python -m scripts.real_host image IMAGE | func | ours

starts Azurite, the embedded FHIR server and events as ``python -m local up`` does, with that host in the middle. It
asks for health and for what has no answer, uploads the sample studies, waits until FHIR holds what their files say, and
drains. ``ours`` tries `local.host` in the same way, so that the steps are known to be right where there is no Docker.

The last line is JSON. Exit codes: 0 all was as expected; 1 something was not, or did not start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from azure.storage.blob.aio import BlobServiceClient

from local.processes import StartError, free_port
from local.readback import differences, read_back
from local.samples import expectation, samples
from local.world import Plan, World, world

ROOT = Path(__file__).parents[1]
START_SECONDS = 300.0
"""How long a start may take: Core Tools download the extension bundle first."""
ARRIVAL_SECONDS = 240.0
"""How long the sample studies may take to be in FHIR."""
DRAIN_SECONDS = 60.0
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.5

PASSED_ON = ("AzureWebJobsStorage", "DICOM_SYNC_FHIR_URL", "DICOM_SYNC_CONTAINERS", "DICOM_SYNC_OPERATORS")
"""Settings of the world that a container is given."""

NO_MOUNTS: Mapping[Path, str] = {}

UNANSWERED = (("HEAD", "api/health"), ("DELETE", "api/status"), ("GET", "api/no-such-route"))
"""Requests that the host answers with 404: a wrong method has no other answer there."""


def main() -> int:
    """Try the named host, and print the result."""
    return tried("Try the app on another Functions host.", lambda kind, image: asyncio.run(_try(kind, image)))


def tried(description: str, attempt: Callable[[str, str], Sequence[str]]) -> int:
    """
    Read from the command line which host to try, try it, and print the result.

    Parameters
    ----------
    description
        What the command does, for its help.
    attempt
        Given the host and the name of its image, returns what was wrong.

    Returns
    -------
    int
        Exit code: 1 if anything was wrong, or the host did not start.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("host", choices=("image", "func", "ours"))
    parser.add_argument("image", nargs="?", default="", help="name of the image to run")
    given = parser.parse_args()
    if (given.host == "image") != bool(given.image):
        parser.error("expected: image IMAGE, or func, or ours")
    try:
        problems = list(attempt(given.host, given.image))
    except StartError as problem:
        problems = [str(problem)]
    print(json.dumps({"host": given.host, "problems": problems}))
    return 1 if problems else 0


def container_command(
    image: str, port: int, keys: Path, *, passed: Sequence[str] = PASSED_ON, mounts: Mapping[Path, str] = NO_MOUNTS
) -> list[str]:
    """
    Return the command that runs an image on a port of this machine, with the keys of a folder.

    Parameters
    ----------
    passed
        Names of the variables that the container is given, as they are here.
    mounts
        Folders besides the keys, each with its place in the container.
    """
    settings = {
        "ASPNETCORE_URLS": f"http://+:{port}",
        "AzureFunctionsWebHost__hostid": "dicom-fhir-sync-tried",
        "AzureWebJobsSecretStorageType": "ContainerApps",
        "AzureWebJobs_read_feeds_Disabled": "true",
    }
    given = [part for name in passed for part in ("--env", name)]
    own = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    places = {keys: "/run/secrets/functions-keys:ro", **mounts}
    mounted = [part for folder, place in places.items() for part in ("--volume", f"{folder}:{place}")]
    return ["docker", "run", "--rm", "--network", "host", *given, *own, *mounted, image]


def tools_command(port: int) -> list[str]:
    """Return the command that runs Core Tools on a port, with the Python that runs this."""
    return ["func", "start", "--port", str(port)]


def announced(command: Sequence[str], port: int) -> list[str]:
    """Return the command that runs another one, and says when the host is ready as `local.supervision` wants it."""
    return [sys.executable, "-m", "scripts.announced", str(port), *command]


async def _try(kind: str, image: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        key = "" if kind == "func" else write_keys(Path(folder))  # Core Tools ask for none
        async with _running(kind, image, Path(folder), key) as running, _client(running.addresses.api, key) as host:
            problems = await requests_answered(host, key=key)
            problems += await samples_arrive(running, host)
            return problems + await drained(host)


def _client(api: str, key: str) -> httpx.AsyncClient:
    headers = {"x-functions-key": key} if key else {}
    return httpx.AsyncClient(base_url=api.removesuffix("api"), headers=headers, timeout=ANSWER_SECONDS)


@asynccontextmanager
async def _running(kind: str, image: str, keys: Path, key: str) -> AsyncIterator[World]:
    commands: Mapping[str, Callable[[int], Sequence[str]]] = {
        "image": lambda port: container_command(image, port, keys),
        "func": tools_command,
        "ours": lambda port: [sys.executable, "-m", "local.host", str(ROOT), "--port", str(port), "--keys", key],
    }
    os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
    command = commands[kind]
    plan = Plan(host=lambda port: announced(command(port), port), port=free_port(), host_seconds=START_SECONDS)
    async with world(plan, sys.stderr.write) as running:
        yield running


def write_keys(folder: Path) -> str:
    """Write the keys that the host reads from files, as the chart's secret has them; return the master key."""
    folder.chmod(0o755)  # the host in the container is another user
    key = secrets.token_hex(24)
    for name in ("host.master", "host.function.default"):
        (folder / name).write_text(key, "utf-8")
        (folder / name).chmod(0o644)
    return key


async def requests_answered(host: httpx.AsyncClient, *, key: str) -> list[str]:
    """Ask for health, for what has no answer, and without a key; say what was not as expected."""
    problems = []
    health = await host.get("api/health")
    if health.status_code != httpx.codes.OK:
        problems.append(f"GET api/health: {health.status_code}")
    for method, path in UNANSWERED:
        answer = await host.request(method, path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            problems.append(f"{method} {path}: {answer.status_code} instead of 404")
    if key:
        refused = await host.get("api/status", headers={"x-functions-key": "wrong"})
        if refused.status_code != httpx.codes.UNAUTHORIZED:
            problems.append(f"GET api/status with a wrong key: {refused.status_code} instead of 401")
    return problems


async def samples_arrive(running: World, host: httpx.AsyncClient) -> list[str]:
    """Upload the sample studies, wait until FHIR and the dead letters are as expected, and return the differences."""
    files = list(samples())
    expected = expectation(files)
    addresses = running.addresses
    async with BlobServiceClient.from_connection_string(addresses.storage) as service:
        container = service.get_container_client(addresses.container)
        for sample in files:
            await container.upload_blob(sample.name, sample.content, overwrite=True)
    until, said = time.monotonic() + ARRIVAL_SECONDS, ["nothing was asked"]
    while said and time.monotonic() < until:
        await asyncio.sleep(POLL_SECONDS)
        said = differences(expected, await read_back(addresses.fhir, expected), await _letters(host))
    return [*said, await _status(host)] if said else []


async def _status(host: httpx.AsyncClient) -> str:
    """Return the status of the app, for the log."""
    try:
        answer = await host.get("api/status")
    except httpx.HTTPError as problem:
        return f"GET api/status: {type(problem).__name__}"
    return f"GET api/status: {answer.status_code} {answer.text}"


async def _letters(host: httpx.AsyncClient) -> dict[str, int]:
    """Return how many dead letters there are, by code; none while the host does not answer."""
    try:
        answer = (await host.get("api/dead-letters")).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return {}
    return {code: group["count"] for code, group in answer["by_code"].items()}


async def drained(host: httpx.AsyncClient) -> list[str]:
    """Drain the host, and say so if something is in flight afterwards."""
    await host.post("admin/host/drain")
    until, state = time.monotonic() + DRAIN_SECONDS, ""
    while time.monotonic() < until:
        state = str((await host.get("admin/host/drain/status")).json().get("state"))
        if state == "Completed":
            return []
        await asyncio.sleep(POLL_SECONDS)
    return [f"drained for {DRAIN_SECONDS:g} s, the host says {state}"]


if __name__ == "__main__":
    sys.exit(main())
