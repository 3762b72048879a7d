"""The functions host over Microsoft's worker library and a real Azurite: deliver, retry, poison, renew, crash, stop."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.queue import QueueServiceClient

from local.processes import Child, running
from scripts.host_table import APP, REQUESTS, STORIES, Stage, difference, in_peace
from tests.waiting import until

ROOT = Path(__file__).parents[2]
LEASE = 2


class Host(Stage):
    """A running host with an app, queues and notes of its own."""

    def __init__(self, child: Child[str], connection: str, work: str, notes: Path) -> None:
        super().__init__(QueueServiceClient.from_connection_string(connection), work, notes)
        self.process, self.url = child.process, child.announced

    def order(self, **order: Any) -> None:
        self.send(base64.b64encode(json.dumps(order).encode()).decode())


def answers_at(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.TransportError:
        return False
    return True


def write_app(folder: Path, source: str, *, longest_run: str = "00:30:00", **queues: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "function_app.py").write_text(source)
    document = {"version": "2.0", "functionTimeout": longest_run, "extensions": {"queues": queues}}
    (folder / "host.json").write_text(json.dumps(document))


@contextmanager
def host(folder: Path, connection: str, work: str, arguments: Sequence[str] = ()) -> Iterator[Host]:
    notes = folder / "notes"
    env = {"AzureWebJobsStorage": connection, "NOTES": str(notes), "WORK": work, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local.host", str(folder), "--port", "0", "--lease", str(LEASE), *arguments]
    with running(command, name="the host", ready=_address, env=env) as child:
        yield Host(child, connection, work, notes)


def _address(line: str) -> str | None:
    return line.rsplit(maxsplit=1)[-1] if line.startswith("listening on ") else None


@contextmanager
def sample(
    folder: Path, connection: str, arguments: Sequence[str] = (), longest_run: str = "00:30:00", **queues: Any
) -> Iterator[Host]:
    """The sample app with new queues."""
    work = f"work-{uuid.uuid4().hex[:8]}"
    service = QueueServiceClient.from_connection_string(connection)
    service.create_queue(work)
    service.create_queue(f"{work}-last-poison")
    write_app(folder, APP.read_text("utf-8"), longest_run=longest_run, **{"maxDequeueCount": 3, **queues})
    with host(folder, connection, work, arguments) as started:
        yield started


@pytest.fixture(scope="module")
def shared(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with sample(tmp_path_factory.mktemp("app"), azurite) as started:
        yield started


def ends(host: Host, story: Mapping[str, Any]) -> None:
    """Wait for the end of a story, and compare its deliveries."""
    until(lambda: host.is_over(story))
    assert host.deliveries(story) == story["deliveries"]


def named(stories: Sequence[Mapping[str, Any]]) -> list[str]:
    return [story["story"] for story in stories]


IN_PEACE = [story for story in STORIES if in_peace(story) and "worker" not in story]
REPLACED = [story for story in STORIES if in_peace(story) and "worker" in story]
ENDED = [story for story in STORIES if "host" in story]
SIGNALLED = [story for story in STORIES if "signal" in story]


@pytest.mark.parametrize("story", IN_PEACE, ids=named(IN_PEACE))
def test_a_message_is_delivered_as_by_azures_host(shared: Host, story: Mapping[str, Any]) -> None:
    shared.begin(story)
    ends(shared, story)


APART = ("--worker", "process", "--restart", "0.2")


@pytest.fixture(scope="module")
def apart(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The sample app in a process of its own, with little time for a run."""
    with sample(tmp_path_factory.mktemp("apart"), azurite, APART, longest_run="00:00:03") as started:
        yield started


@pytest.mark.parametrize("story", REPLACED, ids=named(REPLACED))
def test_a_message_whose_worker_ends_is_delivered_as_by_azures_host(apart: Host, story: Mapping[str, Any]) -> None:
    apart.begin(story)
    ends(apart, story)
    if "beside" in story:
        assert [note["delivery"] for note in apart.notes(story["beside"]["n"], "begun")] == [1, 2]
    assert apart.process.poll() is None, "the host lives on"
    assert httpx.get(f"{apart.url}/api/items/fixed").text == "fixed"


@pytest.mark.parametrize("story", ENDED, ids=named(ENDED))
def test_a_host_ends_with_the_third_exit_of_its_worker(azurite: str, tmp_path: Path, story: Mapping[str, Any]) -> None:
    with sample(tmp_path, azurite, APART) as started:
        started.begin(story)
        ends(started, story)
        assert started.process.wait(60) == 1


def test_a_killed_host_takes_its_worker_with_it(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite, APART) as killed:
        until(lambda: killed.notes("tick"))
        killed.process.kill()
        killed.process.wait(60)
    until(lambda: not _processes_naming(tmp_path), "the worker is gone")


def _processes_naming(folder: Path) -> list[str]:
    """Return the command lines that name a folder, on systems that tell them."""
    texts = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            texts.append(file.read_text("utf-8", errors="replace"))
    return [line for line in texts if str(folder) in line]


@pytest.mark.parametrize("story", SIGNALLED, ids=named(SIGNALLED))
def test_a_message_in_hand_when_its_host_ends_is_delivered_as_by_azures_host(
    azurite: str, tmp_path: Path, story: Mapping[str, Any]
) -> None:
    with sample(tmp_path, azurite) as first:
        first.begin(story)
        until(lambda: first.notes(story["story"], "begun"))
        first.process.send_signal(getattr(signal, story["signal"]))
        first.process.wait(60)
    with host(tmp_path, azurite, first.work) as second:
        ends(second, story)


def test_a_failing_message_of_a_poison_queue_waits_for_its_lease_instead_of_spinning(shared: Host) -> None:
    queue = f"{shared.work}-last-poison"
    shared.send(base64.b64encode(b"{}").decode(), queue=queue)
    began = time.monotonic()
    until(lambda: len(shared.notes("last")) == 2)
    assert time.monotonic() - began > LEASE - 1
    assert shared.left(f"{queue}-poison") == 0


def test_many_messages_run_side_by_side_and_each_once(shared: Host) -> None:
    for n in range(24):
        shared.order(n=f"many-{n}", seconds=1)
    began = time.monotonic()
    until(lambda: all(shared.notes(f"many-{n}", "done") for n in range(24)))
    assert time.monotonic() - began < 12
    assert all(len(shared.notes(f"many-{n}", "begun")) == 1 for n in range(24))


def test_a_timer_fires_when_due(shared: Host) -> None:
    before = len(shared.notes("tick"))
    until(lambda: len(shared.notes("tick")) >= before + 2, seconds=5)


def test_a_timer_fires_when_asked(shared: Host) -> None:
    assert httpx.post(f"{shared.url}/admin/functions/yearly").status_code == 202
    assert until(lambda: shared.notes("yearly")) == [{"n": "yearly", "what": "begun", "late": False}]


@pytest.mark.parametrize("name", ["nothing", "work"])
def test_only_timers_can_be_asked_to_fire(shared: Host, name: str) -> None:
    assert httpx.post(f"{shared.url}/admin/functions/{name}").status_code == 404


def test_the_functions_are_listed_with_their_bindings(shared: Host) -> None:
    listed = {entry["name"]: entry["config"]["bindings"] for entry in httpx.get(f"{shared.url}/admin/functions").json()}
    assert listed.keys() == {"work", "last", "tick", "yearly", "items", "fixed", "broken", "slow", "file"}
    assert listed["work"][0]["queueName"] == shared.work


def test_a_request_reaches_its_function_whole_and_the_answer_comes_back_whole(shared: Host) -> None:
    url = f"{shared.url}/api/items/a%20b/7?x=1&x=2&y=%C3%A9"
    answer = httpx.put(url, content="héllo".encode(), headers={"X-Asked": "please"})
    assert (answer.status_code, answer.headers["x-told"]) == (201, "yes")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "method": "PUT",
        "params": {"kind": "a b", "id": "7"},
        "query": {"x": "1,2", "y": "é"},
        "body": "héllo",
        "header": "please",
    }


def test_an_optional_segment_may_be_missing(shared: Host) -> None:
    assert httpx.get(f"{shared.url}/api/items/any").json()["params"] == {"kind": "any"}


def test_a_literal_route_wins_over_a_parameter(shared: Host) -> None:
    assert httpx.get(f"{shared.url}/api/items/fixed").text == "fixed"


def test_a_function_that_raises_is_a_500_that_tells_nothing(shared: Host) -> None:
    answer = httpx.get(f"{shared.url}/api/broken")
    assert (answer.status_code, answer.text) == (500, "")


def test_an_unknown_route_is_a_404(shared: Host) -> None:
    assert httpx.get(f"{shared.url}/api/nothing").status_code == 404


@pytest.mark.parametrize("case", REQUESTS, ids=[f"{number} {case['method']}" for number, case in enumerate(REQUESTS)])
def test_a_request_is_answered_as_by_azures_host(shared: Host, case: Mapping[str, Any]) -> None:
    assert difference(shared.url, case) == ""


def test_functions_ask_for_the_key_when_there_is_one(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite, arguments=["--keys", "k"]) as host:
        url = f"{host.url}/api/items/fixed"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, params={"code": "k"}).text == "fixed"
        assert httpx.get(url, headers={"x-functions-key": "k"}).text == "fixed"
        hidden = httpx.get(url, params={"code": "k"}, headers={"x-functions-key": ""})
        assert hidden.status_code == 401  # a header hides the query's
        assert httpx.post(f"{host.url}/admin/host/drain").status_code == 401


def test_a_drained_host_takes_no_message_and_finishes_what_it_has(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite) as host:
        assert httpx.get(f"{host.url}/admin/host/drain/status").json()["state"] == "Disabled"
        host.order(n=1, seconds=1)
        until(lambda: host.notes(1, "begun"))
        assert httpx.post(f"{host.url}/admin/host/drain").status_code == 202
        host.order(n=2)
        until(lambda: httpx.get(f"{host.url}/admin/host/drain/status").json()["state"] == "Completed")
        assert host.notes(1, "done")
        assert not host.notes(2)
        assert httpx.get(f"{host.url}/api/items/fixed").text == "fixed"


def test_a_stop_goes_on_taking_work_until_nothing_is_in_flight(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite) as stopped:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{stopped.url}/api/slow", timeout=80)))
        stopped.order(n="present", seconds=3)
        until(lambda: stopped.notes("present", "begun"))
        asking.start()
        until(lambda: stopped.notes("slow", "begun"))
        stopped.process.send_signal(signal.SIGTERM)
        stopped.order(n="late")
        assert stopped.process.wait(60) == 0
        asking.join()
        assert answers[0].text == "done"
        assert stopped.notes("present", "done")
        assert stopped.notes("late", "done")
        assert stopped.left() == 0
        assert not answers_at(stopped.url)


def test_a_message_without_encoding_reaches_its_function_as_it_was_sent(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite, messageEncoding="none") as plain:
        plain.send('{"n": "é <&> plain"}')
        until(lambda: plain.notes("é <&> plain", "done"))


def test_a_failed_message_stays_invisible_for_as_long_as_host_json_says(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite, visibilityTimeout="00:00:03") as patient:
        patient.order(n="waits", failures=1)
        until(lambda: patient.notes("waits", "begun"))
        began = time.monotonic()
        until(lambda: patient.notes("waits", "done"))
        assert time.monotonic() - began > 2


def test_a_missing_queue_is_waited_for(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite) as waiting:
        waiting.service.delete_queue(waiting.work)
        time.sleep(0.5)
        waiting.service.create_queue(waiting.work)
        waiting.order(n="at last")
        until(lambda: waiting.notes("at last", "done"))


REFUSED = {
    "no app": ("", "no function"),
    "import": ("import nothing_of_this_name", "nothing_of_this_name"),
    "binding": (
        """@app.blob_trigger(arg_name="blob", path="dicom/{name}", connection="AzureWebJobsStorage")
async def f(blob: func.InputStream) -> None: ...""",
        "f: binding 'blob' of type 'blobTrigger'",
    ),
    "output": (
        """@app.route(route="x")
@app.queue_output(arg_name="out", queue_name="other", connection="AzureWebJobsStorage")
async def f(req: func.HttpRequest, out: func.Out[str]) -> str: ...""",
        "f: binding 'out' of type 'queue'",
    ),
}


def refused(folder: Path, *options: str, **environment: str) -> str:
    """What a host says that does not start."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AzureWebJobsStorage": "UseDevelopmentStorage=true", **environment}
    command = [sys.executable, "-m", "local.host", str(folder), *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_an_app_that_cannot_be_served_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    source, reason = REFUSED[case]
    write_app(tmp_path, f"import azure.functions as func\napp = func.FunctionApp()\n{source}")
    assert reason in refused(tmp_path)


def test_a_host_without_storage_says_what_it_needs(tmp_path: Path) -> None:
    write_app(tmp_path, APP.read_text("utf-8"))
    assert "AzureWebJobsStorage" in refused(tmp_path, AzureWebJobsStorage="", WORK="work")


def test_a_taken_port_is_told_in_a_line(azurite: str, tmp_path: Path) -> None:
    write_app(tmp_path, APP.read_text("utf-8"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = refused(tmp_path, "--port", port, AzureWebJobsStorage=azurite, WORK="work")
    assert told.splitlines()[-1] == f"the port is taken: {port}"
    assert "Traceback" not in told


def test_a_lease_too_short_to_be_renewed_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.host", str(tmp_path), "--lease", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--lease" in done.stderr
