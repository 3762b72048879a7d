"""Two processes share one backfill on Azurite: each does a part, and nothing is lost when one is killed."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from local.azurite import azurite as private_azurite
from sync.bootstrap import start
from sync.config import Settings
from sync.operators.walks import begin_walk
from sync.protocol.walk_rows import WalkState, read_board
from sync.walks.backfill import new_backfill
from tests.e2e.files import made
from tests.integration.walker import EARLY
from tests.waiting import until
from tests.walking import EVERYTHING

ROOT = Path(__file__).parents[2]
OBJECTS, STUDIES = 90, 8


class Walker:
    """A process that shares the walk, and the names of the objects that it has read."""

    def __init__(self, environment):
        command = [sys.executable, "-m", "tests.integration.walker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)
        self.lines = []
        self.reading = threading.Thread(target=self.listen)
        self.reading.start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def read(self):
        return {line.strip() for line in self.lines[1:]}

    def go_on(self):
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reading.join()


@pytest.fixture
def environment():
    with private_azurite() as server:  # ours alone: its rows of walks are ours
        container = BlobServiceClient.from_connection_string(server.connection_string).get_container_client("dicom")
        container.create_container()
        for number in range(OBJECTS):
            study = f"2.25.{1 + number % STUDIES}"
            container.upload_blob(
                f"{number % 3}/{number:03}.dcm", made(study, f"{study}.1", f"{study}.1.{number}", patient="P1")
            )
        yield {"AzureWebJobsStorage": server.connection_string, "DICOM_SYNC_FHIR_URL": "http://127.0.0.1:1/fhir"}


@pytest.fixture
def walkers(environment):
    started = [Walker(environment) for _ in range(2)]
    yield started
    for walker in started:
        walker.end()


async def begin(settings):
    running = await start(settings)
    try:
        assert await begin_walk(new_backfill(EVERYTHING), running.services, who="ada")
    finally:
        await running.close()


async def ended(settings):
    """Return the row of the walk, the slices that are left, and the names of the objects that are settled."""
    running = await start(settings)
    try:
        board = await read_board(running.services)
        refs = [f"{number % 3}/{number:03}.dcm" for number in range(OBJECTS)]
        page = await running.listing.page("dicom", size=OBJECTS)
        rows = [await running.services.locators.read(listed.object) for listed in page.objects]
        settled = {row.value.object.name for row in rows if row is not None and row.value.settled}
        return board.walks[EVERYTHING.cursor], board.slices, settled == set(refs)
    finally:
        await running.close()


def test_each_of_two_processes_does_a_part_and_the_other_goes_on_when_one_is_killed(environment, walkers):
    settings = Settings(
        fhir_url=environment["DICOM_SYNC_FHIR_URL"], AzureWebJobsStorage=environment["AzureWebJobsStorage"]
    )
    asyncio.run(begin(settings))
    until(lambda: all(walker.lines for walker in walkers), "both are ready")
    for walker in walkers:
        walker.go_on()
    killed, survivor = walkers
    until(lambda: all(len(walker.read) >= EARLY for walker in walkers), "each has read some objects")
    killed.end()
    assert not killed.read & survivor.read, "each has slices of its own"
    survivor.go_on()
    until(lambda: survivor.process.poll() is not None, "the other ends the walk", seconds=30)
    survivor.reading.join()
    assert survivor.process.returncode == 0
    row, slices, all_settled = asyncio.run(ended(settings))
    assert (row.state, slices) == (WalkState.DONE, {})
    # What the killed one had in hand may be known to the one that reads it again; each counts once all the same.
    assert set(row.counts) <= {"synced", "unchanged"}
    assert sum(row.counts.values()) == OBJECTS
    assert all_settled
    assert len(killed.read) < OBJECTS
    assert killed.read | survivor.read == {f"{number % 3}/{number:03}.dcm" for number in range(OBJECTS)}
