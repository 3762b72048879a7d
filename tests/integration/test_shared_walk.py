"""Two processes share a backfill, a comparison, an export: each does a part, and nothing is lost when one is killed."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from azure.storage.blob import BlobServiceClient

from local.azurite import azurite as private_azurite
from local.fhir_embedded import embedded_fhir_server
from sync.bootstrap import start
from sync.config import Settings
from sync.mapping.resource import study_id
from sync.model import StudyRef
from sync.operators.walks import begin_walk
from sync.protocol.walk_rows import WalkState, read_board
from sync.verify.full_scan import Plan
from sync.walks.backfill import new_backfill
from sync.walks.exporting import folder_of, new_export
from sync.walks.verification import new_verification
from tests.e2e.files import made
from tests.e2e.warm_python import python_of_this_run
from tests.integration.walker import EARLY, EARLY_STUDIES
from tests.waiting import until
from tests.walking import EVERYTHING

ROOT = Path(__file__).parents[2]
OBJECTS, STUDIES = 90, 8


class Walker:
    """A process that shares a walk, and the names of what it has dealt with."""

    def __init__(self, kind, environment):
        command = [sys.executable, "-m", "tests.integration.walker", kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)
        self.lines = []
        self.reading = threading.Thread(target=self.listen)
        self.reading.start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def names(self):
        return {line.strip() for line in self.lines[1:]}

    def go_on(self):
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reading.join()


@pytest.fixture(scope="module")
def fhir():
    with embedded_fhir_server() as server:
        yield server.url


@pytest.fixture(scope="module")
def environment(fhir):
    with private_azurite() as server:  # ours alone: its rows of walks are ours
        container = BlobServiceClient.from_connection_string(server.connection_string).get_container_client("dicom")
        container.create_container()
        for number in range(OBJECTS):
            study = f"2.25.{1 + number % STUDIES}"
            container.upload_blob(
                f"{number % 3}/{number:03}.dcm", made(study, f"{study}.1", f"{study}.1.{number}", patient="P1")
            )
        yield {"AzureWebJobsStorage": server.connection_string, "DICOM_SYNC_FHIR_URL": fhir}


@pytest.fixture
def settings(environment):
    return Settings(fhir_url=environment["DICOM_SYNC_FHIR_URL"], AzureWebJobsStorage=environment["AzureWebJobsStorage"])


@contextmanager
def walkers(kind, environment):
    """Two processes that wait for a line."""
    started = [Walker(kind, environment) for _ in range(2)]
    try:
        until(lambda: all(walker.lines for walker in started), "both are ready")
        yield started
    finally:
        for walker in started:
            walker.end()


async def begin(asked, settings):
    running = await start(settings)
    try:
        assert await begin_walk(asked, running.services, who="ada")
    finally:
        await running.close()


async def ended(settings, name=EVERYTHING.cursor):
    """Return the row of the walk, the slices that are left, and the names of the objects that are settled."""
    running = await start(settings)
    try:
        board = await read_board(running.services)
        refs = [f"{number % 3}/{number:03}.dcm" for number in range(OBJECTS)]
        page = await running.listing.page("dicom", size=OBJECTS)
        rows = [await running.services.locators.read(listed.object) for listed in page.objects]
        settled = {row.value.object.name for row in rows if row is not None and row.value.settled}
        return board.walks[name], board.slices, settled == set(refs)
    finally:
        await running.close()


def kill_one(started, early):
    """Kill one process once both have begun, and have the other end the walk."""
    killed, survivor = started
    for walker in started:
        walker.go_on()
    until(lambda: all(len(walker.names) >= early for walker in started), "each has done some", seconds=60)
    killed.end()
    survivor.go_on()
    until(lambda: survivor.process.poll() is not None, "the other ends the walk", seconds=120)
    survivor.reading.join()
    assert survivor.process.returncode == 0
    return killed, survivor


def test_each_of_two_processes_does_a_part_and_the_other_goes_on_when_one_is_killed(environment, settings):
    asyncio.run(begin(new_backfill(EVERYTHING), settings))
    with walkers("backfill", environment) as started:
        killed, survivor = kill_one(started, EARLY)
    row, slices, all_settled = asyncio.run(ended(settings))
    assert (row.state, slices) == (WalkState.DONE, {})
    # What the killed one had in hand may be known to the one that reads it again; each counts once all the same.
    assert set(row.counts) <= {"synced", "unchanged"}
    assert sum(row.counts.values()) == OBJECTS
    assert all_settled
    assert len(killed.names) < OBJECTS
    assert killed.names | survivor.names == {f"{number % 3}/{number:03}.dcm" for number in range(OBJECTS)}


def typed(environment, *words):
    command = [python_of_this_run(), "-m", "sync", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def projected(environment):
    told = typed(environment, "backfill", "--project")
    assert told.returncode == 0, told.stderr


@pytest.mark.usefixtures("projected")
def test_an_export_is_shared_likewise_and_holds_what_that_of_one_process_does(environment, settings, tmp_path):
    asked = new_export("exports", settings, max_bytes=10**6)
    blobs = BlobServiceClient.from_connection_string(environment["AzureWebJobsStorage"]).get_container_client("exports")
    blobs.create_container()
    asyncio.run(begin(asked, settings))
    with walkers("export", environment) as started:
        killed, survivor = kill_one(started, EARLY_STUDIES)
    assert killed.names | survivor.names == set(map(str, range(STUDIES)))
    row, slices, _ = asyncio.run(ended(settings, asked.name))
    assert (row.state, slices, row.counts["studies"]) == (WalkState.DONE, {}, STUDIES)
    manifest = json.loads(blobs.download_blob(f"{folder_of(row)}/manifest.json").readall())
    names = {f"{folder_of(row)}/{file['name']}" for file in manifest["files"]}
    assert {blob.name for blob in blobs.list_blobs()} == {*names, f"{folder_of(row)}/manifest.json"}
    lines = [line for name in names for line in blobs.download_blob(name).readall().splitlines()]
    assert typed(environment, "export", str(tmp_path / "alone")).returncode == 0
    alone = [line for path in (tmp_path / "alone").glob("*.ndjson") for line in path.read_bytes().splitlines()]
    assert sorted(lines) == sorted(alone)


@pytest.mark.usefixtures("projected")
def test_a_comparison_is_shared_likewise_and_tells_each_difference_once(environment, settings, fhir):
    studies = [StudyRef(study_instance_uid=f"2.25.{1 + number}") for number in range(STUDIES)]
    httpx.delete(f"{fhir}/ImagingStudy/{study_id(studies[3])}").raise_for_status()
    asked = new_verification(Plan(), settings)
    asyncio.run(begin(asked, settings))
    with walkers("verify", environment) as started:
        killed, survivor = kill_one(started, EARLY_STUDIES)
    assert killed.names | survivor.names == {study.key for study in studies}
    row, slices, _ = asyncio.run(ended(settings, asked.name))
    assert (row.state, slices) == (WalkState.DONE, {})
    assert {name: number for name, number in row.counts.items() if number} == {
        "missing": 1,
        "objects": OBJECTS,
        "resources": STUDIES,
        "studies": STUDIES,
    }
