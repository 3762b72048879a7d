"""
Play the tables of requests and of stories against a Functions host: Azure's in its image, Core Tools, or ours.

    python -m scripts.host_table image IMAGE | func | ours

serves the sample app of tests/data on Azurite. Each request of host-requests.json has to be answered as the table says,
and each message of host-stories.json delivered so often, also when its worker exits or is killed. Stories in which the
host ends are left to the tests of `local.host`, which start a second one.

The last line is JSON. Exit codes: 0 all was as expected; 1 something was not, or did not start.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueServiceClient

from local.azurite import azurite
from local.processes import free_port, running
from scripts.real_host import START_SECONDS, announced, container_command, tried, write_keys

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
APP = DATA / "host-app" / "function_app.py"

REQUESTS: Sequence[Mapping[str, Any]] = json.loads((DATA / "host-requests.json").read_text("utf-8"))
"""Requests and answers as observed on Azure's host, for the sample app."""

STORIES: Sequence[Mapping[str, Any]] = json.loads((DATA / "host-stories.json").read_text("utf-8"))
"""Messages and their deliveries as observed there, with a ``maxDequeueCount`` of three."""

PATIENCE = 240.0
"""Seconds for a story; the real host polls a quiet queue every minute at worst."""

EVERY = 0.5

LONGEST_RUN = "00:00:20"
"""functionTimeout, longer than any run of the stories that ends."""


class Stage:
    """Where stories are played: a queue of the sample app, and the file in which the app notes what it does."""

    def __init__(self, service: QueueServiceClient, work: str, notes_file: Path) -> None:
        self.service, self.work, self.notes_file = service, work, notes_file

    def send(self, text: str, *, queue: str = "") -> None:
        """Send a message as it stands."""
        self.service.get_queue_client(queue or self.work).send_message(text)

    def notes(self, n: object = None, what: str | None = None) -> list[dict[str, Any]]:
        """Return what the app noted, of one order and of one kind."""
        lines = self.notes_file.read_text("utf-8").splitlines() if self.notes_file.exists() else []
        told = [json.loads(line) for line in lines]
        return [note for note in told if n in (None, note["n"]) and what in (None, note["what"])]

    def left(self, queue: str = "") -> int:
        """Return how many messages the queue holds, leased ones included; 0 when there is no such queue."""
        try:
            count = self.service.get_queue_client(queue or self.work).get_queue_properties().approximate_message_count
        except ResourceNotFoundError:
            return 0
        return int(count or 0)

    def poison(self) -> list[str]:
        """Return the messages of the poison queue, as they were sent."""
        try:
            messages = self.service.get_queue_client(f"{self.work}-poison").peek_messages(32)
        except ResourceNotFoundError:
            return []
        return [str(message.content) for message in messages]

    def begin(self, story: Mapping[str, Any]) -> None:
        """Send the message of a story, and that of another which it is about."""
        self.send(_message(story))
        if "beside" in story:
            self.send(_encoded(story["beside"]))

    def is_over(self, story: Mapping[str, Any]) -> bool:
        """Return whether the message has come to its end, and left the queue."""
        poisoned = story["end"] == "poison"
        ended = _message(story) in self.poison() if poisoned else bool(self.notes(story["story"], "done"))
        return ended and self.left() == 0

    def deliveries(self, story: Mapping[str, Any]) -> list[int]:
        """Return the numbers of the deliveries that began."""
        return [int(note["delivery"]) for note in self.notes(story["story"], "begun")]


def _message(story: Mapping[str, Any]) -> str:
    return str(story.get("text") or _encoded({"n": story["story"], **story.get("order", {})}))


def _encoded(order: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(order).encode()).decode()


def in_peace(story: Mapping[str, Any]) -> bool:
    """Return whether the host lives through a story."""
    return "signal" not in story and "host" not in story


def difference(url: str, case: Mapping[str, Any], *, key: str = "") -> str:
    """Send one request of the table as it is typed; say how the answer differs, empty if it does not."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    target = case["target"] + "x" * case.get("longer_by", 0)
    connection.putrequest(case["method"], target, skip_host=True)  # as typed: clients would tidy it
    connection.putheader("Host", address.netloc)
    if key:
        connection.putheader("x-functions-key", key)
    for number in range(case.get("headers_of_1_kb", 0)):
        connection.putheader(f"X-{number}", "x" * 1024)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    got: dict[str, object] = {"status": answer.status, "allow": answer.getheader("Allow")}
    expected: dict[str, object] = {"status": case["status"], "allow": None}
    if "params" in case and answer.status == case["status"]:
        said = json.loads(body)
        got |= {name: said[name] for name in ("params", "query")}
        expected |= {name: case[name] for name in ("params", "query")}
    elif "body" in case:
        got["body"], expected["body"] = body.decode(errors="replace"), case["body"]
    name = f"{case['method']} {case['target']}"
    return "" if got == expected else f"{name}: {got} instead of {expected}"


def write_app(folder: Path) -> None:
    """Write the sample app, with the bundle of extensions that our own host.json names."""
    folder.mkdir(exist_ok=True)
    shutil.copy(APP, folder / "function_app.py")
    ours = json.loads((ROOT / "host.json").read_text("utf-8"))
    queues = {"maxDequeueCount": 3, "maxPollingInterval": "00:00:02"}
    settings = {
        "version": "2.0",
        "functionTimeout": LONGEST_RUN,
        "extensions": {"queues": queues},
        "extensionBundle": ours["extensionBundle"],
    }
    (folder / "host.json").write_text(json.dumps(settings), "utf-8")


@contextmanager
def stage(connection: str, folder: Path) -> Iterator[Stage]:
    """Make the queues of the sample app."""
    work = f"work-{uuid.uuid4().hex[:8]}"
    with QueueServiceClient.from_connection_string(connection) as service:
        for name in (work, f"{work}-last-poison"):
            service.create_queue(name)
        yield Stage(service, work, folder / "notes")


def main() -> int:
    """Try the named host, and print the result."""
    return tried("Play the tables against a Functions host.", _try)


def _try(kind: str, image: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, azurite() as storage:
        root = Path(folder)
        write_app(root / "app")
        (root / "keys").mkdir()
        (root / "notes").mkdir()
        for place in (root, root / "notes", root / "app"):
            place.chmod(0o777)  # the host in the container is another user
        key = write_keys(root / "keys") if kind == "image" else ""
        with stage(storage.connection_string, root / "notes") as made:
            port = free_port()
            env = {
                "AzureWebJobsStorage": storage.connection_string,
                "FUNCTIONS_WORKER_RUNTIME": "python",
                "NOTES": "/notes/notes" if kind == "image" else str(made.notes_file),
                "WORK": made.work,
                "PYTHONPATH": str(ROOT),
            }
            command, on_line = announced(_command(kind, image, root, port), port), sys.stderr.write
            with running(
                command, name="the host", ready=_address, on_line=on_line, env=env, seconds=START_SECONDS
            ) as child:
                return [*_requests(child.announced, key), *_stories(made)]


def _command(kind: str, image: str, root: Path, port: int) -> Sequence[str]:
    if kind == "image":
        mounts = {root / "app": "/home/site/wwwroot:ro", root / "notes": "/notes"}
        passed = ("AzureWebJobsStorage", "NOTES", "WORK")
        return container_command(image, port, root / "keys", passed=passed, mounts=mounts)
    if kind == "func":
        return ["bash", "-c", 'cd "$0" && exec func start --port "$1"', str(root / "app"), str(port)]
    return [*(sys.executable, "-m", "local.host"), str(root / "app"), "--port", str(port), "--worker", "process"]


def _address(line: str) -> str | None:
    return line.rsplit(maxsplit=1)[-1] if line.startswith("listening on ") else None


def _requests(url: str, key: str) -> list[str]:
    return [said for case in REQUESTS if (said := difference(url, case, key=key))]


def _stories(made: Stage) -> list[str]:
    problems = []
    for story in filter(in_peace, STORIES):
        made.begin(story)
        until = time.monotonic() + PATIENCE
        while not made.is_over(story) and time.monotonic() < until:
            time.sleep(EVERY)
        if not made.is_over(story) or made.deliveries(story) != story["deliveries"]:
            problems.append(f"a message that {story['story']}: deliveries {made.deliveries(story)}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
