"""
A world as a client sees it: the command ``python -m local up``, its one line of JSON, and plain clients.

Nothing here reaches behind the addresses of that line. What the world prints is kept, for the tests of privacy.
"""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient

from sync.model import ObjectRef
from tests import emitted, waiting
from tests.waiting import PATIENCE, deadline

ROOT = Path(__file__).parents[2]

STARTED_WITHIN = 480.0
"""Seconds; HAPI takes most of them, on machines where much else is going on."""

HOLD = 1.2
"""Seconds that ``idle`` must last to be believed: an upload's event is on its way for a moment, here as on Azure."""

LOOK = 0.15

LEAST, SHARE, MOST = 0.3, 0.15, 3.0
"""
Pause between two looks at a status that is not idle: seconds at least, share of the time waited, seconds at most.

A look costs the world a dozen storage requests, which are 70 ms of processor time: as much as three instances.
"""

WRITTEN = ("Device", "DiagnosticReport", "DocumentReference", "Endpoint", "ImagingStudy", "Observation", "Patient")
"""Types of what the sync writes."""

_BACK = re.compile(r"the functions host is back on port \d+, process (\d+)")
_FRESH = {"Cache-Control": "no-cache", "Accept": "application/fhir+json"}


class World:
    """The addresses of a running world, and what one does with them."""

    def __init__(self, process: subprocess.Popen[str], addresses: Mapping[str, Any], printed: Sequence[str]) -> None:
        self.process, self.addresses, self.printed = process, addresses, printed
        self.api = httpx.Client(base_url=f"{addresses['api']}/", timeout=180)
        self.fhir = httpx.Client(base_url=f"{addresses['fhir']}/", headers=_FRESH, timeout=180)
        self.container: ContainerClient = BlobServiceClient.from_connection_string(
            addresses["storage"], max_single_put_size=64 * 1024 * 1024
        ).get_container_client(addresses["container"])

    def close(self) -> None:
        for client in (self.api, self.fhir, self.container):
            client.close()

    # The storage account.

    def upload(self, name: str, content: bytes) -> None:
        self.container.upload_blob(name, content, overwrite=True)

    def delete(self, name: str) -> None:
        with contextlib.suppress(ResourceNotFoundError):
            self.container.delete_blob(name)

    def delete_all(self, prefix: str) -> None:
        for name in list(self.container.list_blob_names(name_starts_with=prefix)):
            self.delete(name)

    def send(self, queue_name: str, text: str) -> None:
        """Put a message into a queue as it is."""
        with QueueClient.from_connection_string(self.addresses["storage"], queue_name) as client:
            client.send_message(text, time_to_live=-1)

    def subject(self, name: str) -> str:
        """How dead letters call a blob."""
        account = str(self.container.account_name)
        return str(ObjectRef(account=account, container=self.addresses["container"], name=name).key)

    # The functions.

    def status(self) -> dict[str, Any]:
        return self.api.get("status").raise_for_status().json()

    def letters(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Return the dead letters: subject -> code and the letter itself."""
        groups = self.api.get("dead-letters").raise_for_status().json()["by_code"]
        return {one["subject"]: (code, one) for code in groups for one in self._dead_letters_of(code)}

    def alive_letters(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Return the dead letters; none while the host is being started again."""
        try:
            return self.letters()
        except httpx.HTTPError:
            return {}

    def _dead_letters_of(self, code: str) -> Iterator[dict[str, Any]]:
        asked: dict[str, str] = {"code": code, "limit": "100"}
        while True:
            page = self.api.get("dead-letters", params=asked).raise_for_status().json()
            yield from page["letters"]
            if page["token"] is None:
                return
            asked["token"] = page["token"]

    def postponed(self) -> int:
        """Return how often the log of this world says that a study was postponed."""
        return sum("study.postponed " in line for line in list(self.printed))

    def settle(self, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until the status has been idle for `HOLD` seconds without a break; return it."""
        began, end = time.monotonic(), deadline(seconds)
        idle_since, said = None, {}
        while idle_since is None or time.monotonic() - idle_since < HOLD:
            try:
                said = self.status()
            except httpx.HTTPError as problem:  # the host is being started again
                said = {"idle": False, "problem": type(problem).__name__}
            now = time.monotonic()
            idle_since = (idle_since or now) if said["idle"] else None
            assert now < end, f"not idle after {PATIENCE * seconds:.0f} s: {said}"
            time.sleep(HOLD / 2 if said["idle"] else min(max(LEAST, SHARE * (now - began)), MOST))
        return said

    def kill_host(self) -> None:
        """Kill the functions host, the present one."""
        os.kill(self.host_pid(), signal.SIGKILL)

    def host_pid(self) -> int:
        """Return the process id of the present host: that of the addresses, or the last one that was announced."""
        announced = [int(match[1]) for line in list(self.printed) if (match := _BACK.search(line))]
        return announced[-1] if announced else int(self.addresses["pids"]["host"])

    # FHIR.

    def all(self, resource_type: str) -> list[dict[str, Any]]:
        """Return every resource of a type, page by page."""
        return self.search(f"{resource_type}?_count=100")

    def search(self, search: str) -> list[dict[str, Any]]:
        """Return every resource that a search finds, page by page."""
        resources: list[dict[str, Any]] = []
        answer = self.fhir.get(search)
        while True:
            page = answer.raise_for_status().json()
            resources += [entry["resource"] for entry in page.get("entry", [])]
            following = next((link["url"] for link in page.get("link", []) if link["relation"] == "next"), None)
            if following is None:
                return resources
            answer = self.fhir.get(following)

    def study(self, uid: str) -> dict[str, Any] | None:
        """Return the one ImagingStudy of a Study Instance UID."""
        query = {"identifier": f"urn:dicom:uid|urn:oid:{uid}"}
        entries = self.fhir.get("ImagingStudy", params=query).raise_for_status().json().get("entry", [])
        assert len(entries) < 2, "a study is there twice"
        return entries[0]["resource"] if entries else None

    def read(self, reference: str) -> dict[str, Any] | None:
        """Return the resource that a reference such as ``Patient/1`` names; None when it is gone."""
        answer = self.fhir.get(reference)
        return None if answer.status_code in (404, 410) else answer.raise_for_status().json()

    def versions(self) -> dict[str, str]:
        """Return the version of everything that we may write."""
        return {
            f"{kind}/{one['id']}": one["meta"]["versionId"]
            for kind in ("ImagingStudy", "Patient", "Endpoint", "Device")
            for one in self.all(kind)
        }

    def requests(self) -> int:
        """Return how many requests the FHIR server had so far; the embedded one only."""
        return int(self.fhir.get("_requests").raise_for_status().json()["total"])


def until(true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait until something of a world is true; return it."""
    return waiting.until(true, what, seconds, LOOK)


@contextlib.contextmanager
def up(fhir: str, *options: str, **environment: str) -> Iterator[World]:
    """Run ``python -m local up``, with more options, for the length of the block."""
    process = subprocess.Popen(
        # On a leash: a world ends with the test run, even when that is killed.
        [sys.executable, "-m", "local.leash", "-m", "local", "up", "--fhir", fhir, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    printed: list[str] = []
    first: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, printed, first), daemon=True).start()
    threading.Thread(target=_read, args=(process.stderr, printed, None), daemon=True).start()
    try:
        line = first.get(timeout=STARTED_WITHIN)
        assert line, "the world did not start; it printed:\n" + "".join(printed[-40:])
        world = World(process, json.loads(line), printed)
        yield world
        if fhir != "hapi" and emitted.RUNNING:  # HAPI changes what it is given
            _keep_held(world)
        world.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _keep_held(world: World) -> None:
    """Let what the sync wrote in this world be checked at the end of the run; a server may be down by now."""
    for resource_type in WRITTEN:
        with contextlib.suppress(httpx.HTTPError):
            emitted.keep_held(world.all(resource_type))


def _read(stream: Any, printed: list[str], first: queue.Queue[str] | None) -> None:
    for line in stream:
        printed.append(line)
        if first is not None:
            first.put(line)
    if first is not None:
        first.put("")
