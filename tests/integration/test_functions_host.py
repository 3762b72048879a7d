"""The functions host over Microsoft's worker library and a real Azurite: deliver, retry, poison, renew, crash, stop."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueServiceClient

from local.processes import Child, running
from tests.waiting import until

ROOT = Path(__file__).parents[2]
LEASE = 2

APP = """
import asyncio, json, os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
STORAGE = "AzureWebJobsStorage"

def note(**fields):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps(fields) + "\\n")

@app.queue_trigger(arg_name="message", queue_name="WORK", connection=STORAGE)
async def work(message: func.QueueMessage) -> None:
    order = json.loads(message.get_body())
    note(n=order["n"], delivery=message.dequeue_count, what="begun")
    await asyncio.sleep(order.get("seconds", 0))
    if message.dequeue_count <= order.get("failures", 0):
        raise RuntimeError("as ordered")
    note(n=order["n"], delivery=message.dequeue_count, what="done")

@app.queue_trigger(arg_name="message", queue_name="WORK-last-poison", connection=STORAGE)
async def last(message: func.QueueMessage) -> None:
    note(n="last", delivery=message.dequeue_count, what="begun")
    raise RuntimeError("no queue is left for it")

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def tick(timer: func.TimerRequest) -> None:
    note(n="tick", what="begun")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def yearly(timer: func.TimerRequest) -> None:
    note(n="yearly", what="begun", late=timer.past_due)

@app.route(route="items/{kind}/{id?}", methods=["GET", "PUT"])
async def items(req: func.HttpRequest) -> func.HttpResponse:
    said = {"method": req.method, "params": dict(req.route_params), "query": dict(req.params),
            "body": req.get_body().decode(), "header": req.headers.get("X-Asked")}
    return func.HttpResponse(json.dumps(said), status_code=201, mimetype="application/json", headers={"X-Told": "yes"})

@app.route(route="items/fixed")
async def fixed(req: func.HttpRequest) -> str:
    return "fixed"

@app.route(route="broken", methods=["GET"])
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("as ordered")

@app.route(route="slow", methods=["GET"])
async def slow(req: func.HttpRequest) -> str:
    note(n="slow", what="begun")
    await asyncio.sleep(1)
    return "done"
"""


class Host:
    """A running host with an app, queues and notes of its own."""

    def __init__(self, child: Child[str], connection: str, work: str, notes: Path) -> None:
        self.process, self.url = child.process, child.announced
        self.notes_file = notes
        self.service = QueueServiceClient.from_connection_string(connection)
        self.work = work

    def send(self, text: str, *, queue: str = "") -> None:
        self.service.get_queue_client(queue or self.work).send_message(text)

    def order(self, **order: Any) -> None:
        self.send(base64.b64encode(json.dumps(order).encode()).decode())

    def notes(self, n: Any = None, what: str | None = None) -> list[dict[str, Any]]:
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        found = [json.loads(line) for line in lines]
        return [note for note in found if n in (None, note["n"]) and what in (None, note["what"])]

    def left(self, queue: str = "") -> int:
        """How many messages the queue holds, leased ones included; 0 when there is no such queue."""
        try:
            count = self.service.get_queue_client(queue or self.work).get_queue_properties().approximate_message_count
        except ResourceNotFoundError:
            return 0
        return int(count or 0)

    def poison(self) -> list[str]:
        try:
            return [
                message.content for message in self.service.get_queue_client(f"{self.work}-poison").peek_messages(32)
            ]
        except ResourceNotFoundError:
            return []


def answers_at(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.TransportError:
        return False
    return True


def write_app(folder: Path, source: str, **queues: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "function_app.py").write_text(source)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", "extensions": {"queues": queues}}))


@contextmanager
def host(folder: Path, connection: str, work: str, arguments: Sequence[str] = ()) -> Iterator[Host]:
    notes = folder / "notes"
    env = {"AzureWebJobsStorage": connection, "NOTES": str(notes), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local.host", str(folder), "--port", "0", "--lease", str(LEASE), *arguments]
    with running(command, name="the host", ready=_address, env=env) as child:
        yield Host(child, connection, work, notes)


def _address(line: str) -> str | None:
    return line.rsplit(maxsplit=1)[-1] if line.startswith("listening on ") else None


@contextmanager
def sample(folder: Path, connection: str, arguments: Sequence[str] = (), **queues: Any) -> Iterator[Host]:
    """The sample app with new queues."""
    work = f"work-{uuid.uuid4().hex[:8]}"
    service = QueueServiceClient.from_connection_string(connection)
    service.create_queue(work)
    service.create_queue(f"{work}-last-poison")
    write_app(folder, APP.replace("WORK", work), **{"maxDequeueCount": 3, **queues})
    with host(folder, connection, work, arguments) as started:
        yield started


@pytest.fixture(scope="module")
def shared(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with sample(tmp_path_factory.mktemp("app"), azurite) as started:
        yield started


def test_a_message_is_delivered_once_and_deleted(shared: Host) -> None:
    shared.order(n="once")
    until(lambda: shared.notes("once", "done"))
    until(lambda: shared.left() == 0)
    assert [note["delivery"] for note in shared.notes("once", "begun")] == [1]


def test_a_failed_message_is_delivered_again_and_counted(shared: Host) -> None:
    shared.order(n="again", failures=2)
    until(lambda: shared.notes("again", "done"))
    assert [note["delivery"] for note in shared.notes("again", "begun")] == [1, 2, 3]


def test_a_message_that_failed_too_often_is_moved_to_the_poison_queue_as_it_was(shared: Host) -> None:
    shared.order(n="never", failures=99)
    sent = base64.b64encode(b'{"n": "never", "failures": 99}').decode()
    until(lambda: sent in shared.poison())
    until(lambda: shared.left() == 0)
    assert [note["delivery"] for note in shared.notes("never", "begun")] == [1, 2, 3]


@pytest.mark.parametrize("text", ["not base64 {", base64.b64encode(b"\xff\xfe\xfd").decode()])
def test_a_message_that_cannot_be_decoded_is_poison_without_a_run(shared: Host, text: str) -> None:
    shared.send(text)
    until(lambda: text in shared.poison())
    until(lambda: shared.left() == 0)


def test_a_failing_message_of_a_poison_queue_waits_for_its_lease_instead_of_spinning(shared: Host) -> None:
    queue = f"{shared.work}-last-poison"
    shared.send(base64.b64encode(b"{}").decode(), queue=queue)
    began = time.monotonic()
    until(lambda: len(shared.notes("last")) == 2)
    assert time.monotonic() - began > LEASE - 1
    assert shared.left(f"{queue}-poison") == 0


def test_a_function_longer_than_its_lease_runs_once(shared: Host) -> None:
    shared.order(n="long", seconds=2.5 * LEASE)
    until(lambda: shared.notes("long", "done"))
    until(lambda: shared.left() == 0)
    assert len(shared.notes("long", "begun")) == 1


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
    listed = {each["name"]: each["config"]["bindings"] for each in httpx.get(f"{shared.url}/admin/functions").json()}
    assert listed.keys() == {"work", "last", "tick", "yearly", "items", "fixed", "broken", "slow"}
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


EXPECTED: list[dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "host-requests.json").read_text("utf-8"))
"""Requests and answers as observed on Azure's host, for the app above."""


@pytest.mark.parametrize("case", EXPECTED, ids=[f"{case['method']} {case['target']}" for case in EXPECTED])
def test_a_request_is_answered_as_by_azures_host(shared: Host, case: dict[str, Any]) -> None:
    address = urlsplit(shared.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    connection.putrequest(case["method"], case["target"], skip_host=True)  # as typed: clients would tidy it
    connection.putheader("Host", address.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == case["status"]
    assert answer.getheader("Allow") is None
    if "params" in case:
        said = json.loads(body)
        assert (said["params"], said["query"]) == (case["params"], case["query"])
    else:
        assert body.decode() == case.get("body", "")


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


def test_messages_of_a_killed_host_come_back_after_their_lease(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite) as first:
        first.order(n="killed", seconds=1)
        until(lambda: first.notes("killed", "begun"))
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with host(tmp_path, azurite, first.work) as second:
        until(lambda: second.notes("killed", "done"))
        until(lambda: second.left() == 0)
        assert [note["delivery"] for note in second.notes("killed", "begun")] == [1, 2]


def test_a_stop_finishes_what_is_in_flight_and_takes_nothing_new(azurite: str, tmp_path: Path) -> None:
    with sample(tmp_path, azurite) as stopped:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{stopped.url}/api/slow", timeout=80)))
        stopped.order(n="present", seconds=2)
        until(lambda: stopped.notes("present", "begun"))
        asking.start()
        until(lambda: stopped.notes("slow", "begun"))
        stopped.process.send_signal(signal.SIGTERM)
        until(lambda: not answers_at(stopped.url))
        stopped.order(n="late")
        assert stopped.process.wait(60) == 0
        asking.join()
        assert answers[0].text == "done"
        assert stopped.notes("present", "done")
        assert not stopped.notes("late")
        assert stopped.left() == 1


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


def refused(folder: Path, **environment: str) -> str:
    """What a host says that does not start."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AzureWebJobsStorage": "UseDevelopmentStorage=true", **environment}
    command = [sys.executable, "-m", "local.host", str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_an_app_that_cannot_be_served_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    source, reason = REFUSED[case]
    write_app(tmp_path, f"import azure.functions as func\napp = func.FunctionApp()\n{source}")
    assert reason in refused(tmp_path)


def test_a_host_without_storage_says_what_it_needs(tmp_path: Path) -> None:
    write_app(tmp_path, APP.replace("WORK", "work"))
    assert "AzureWebJobsStorage" in refused(tmp_path, AzureWebJobsStorage="")


def test_a_lease_too_short_to_be_renewed_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.host", str(tmp_path), "--lease", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--lease" in done.stderr
