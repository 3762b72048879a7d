"""The world comes up as one, keeps its host alive on one port, and leaves nothing behind, however it ends."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local.processes import StartError
from local.supervision import Supervised
from tests.integration.stand_ins.up import host
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # one that is not reaped yet is dead all the same
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return True


@contextlib.contextmanager
def up(**environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.stand_ins.up"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def running():
    with up(DICOM_SYNC_QUIET_PERIOD="1.5") as (_, addresses):
        yield addresses


def test_the_line_holds_all_addresses_and_processes(running):
    assert running.keys() == {"storage", "container", "fhir", "api", "env", "pids"}
    assert running["container"] == "dicom"
    assert running["env"] == {
        "AzureWebJobsStorage": running["storage"],
        "DICOM_SYNC_FHIR_URL": running["fhir"],
        "DICOM_SYNC_CONTAINERS": "dicom",
        "DICOM_SYNC_OPERATORS": "key",
    }
    assert running["pids"].keys() == {"host", "azurite", "fhir"}
    assert all(alive(pid) for pid in running["pids"].values())
    assert httpx.get(running["fhir"] + "/metadata").json()["fhirVersion"] == "4.0.1"


def test_the_host_has_the_settings_of_the_world_and_those_of_the_caller(running):
    said = httpx.get(running["api"]).json()
    assert said["pid"] == running["pids"]["host"]
    assert said["environment"].items() >= (running["env"] | {"DICOM_SYNC_QUIET_PERIOD": "1.5"}).items()


def test_queues_and_container_are_there_and_an_upload_becomes_a_message(running):
    service = QueueServiceClient.from_connection_string(running["storage"])
    assert {queue.name for queue in service.list_queues()} == {
        "objects",
        "objects-poison",
        "slices",
        "studies",
        "studies-poison",
    }
    blobs = BlobServiceClient.from_connection_string(running["storage"])
    blobs.get_blob_client("dicom", "a.dcm").upload_blob(b"x")
    (message,) = until(lambda: list(service.get_queue_client("objects").receive_messages()))
    event = json.loads(base64.b64decode(message.content))
    assert event["subject"] == "/blobServices/default/containers/dicom/blobs/a.dcm"


def test_a_killed_host_comes_back_on_its_port(running):
    before = httpx.get(running["api"]).json()["pid"]
    os.kill(before, signal.SIGKILL)

    def back():
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(running["api"]).json()["pid"]
        return None

    until(lambda: back() not in (None, before))


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_is_left_behind(sent, status):
    with up() as (process, addresses):
        process.send_signal(sent)
        assert process.wait(60) == status
        until(lambda: not any(alive(pid) for pid in addresses["pids"].values()))


def test_a_lost_storage_ends_the_world_and_is_named():
    with up() as (process, addresses):
        os.kill(addresses["pids"]["azurite"], signal.SIGKILL)
        assert process.wait(60) == 1


def test_a_proxy_before_the_storage_is_what_everything_is_told_of():
    wrap = f"{sys.executable} -m tests.integration.stand_ins.storage_wrap"
    with up(LOCAL_STORAGE_WRAP=wrap) as (process, addresses):
        assert "http://localhost:" in addresses["storage"]
        told = httpx.get(addresses["api"]).json()["environment"]["AzureWebJobsStorage"]
        assert told == addresses["storage"]
        process.terminate()
        assert process.wait(60) == 0
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if addresses["env"]["AzureWebJobsStorage"][-60:] in line]


def test_a_host_that_cannot_start_is_told_with_what_it_said():
    def refusing(port):
        return [sys.executable, "-c", "import sys; sys.exit('no function_app.py')"]

    with (
        pytest.raises(StartError, match=r"(?s)functions host ended.*no function_app"),
        Supervised(refusing, port=0, env={}, log=print),
    ):
        pass


def test_a_host_is_stopped_by_sigterm_not_killed():
    with Supervised(host, port=0, env={"PYTHONPATH": str(ROOT)}, log=print) as supervised:
        assert httpx.get(supervised.url).status_code == 200
        process = supervised._child.process
    assert process.returncode == 0
