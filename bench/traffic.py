"""
The requests that a relay saw, and whose they were.

The functions host and our code share one storage account and one process. The host receives, renews and deletes queue
messages and moves those that failed too often to a poison queue; all other requests to tables and queues are ours.
Uploads go to the blob service with PUT; our code only reads there. The Event Grid stand-in works behind the
relay and is not seen at all. A batch (entity-group transaction) is one request.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.relay import Request

BLOB_READ, TABLE_READ, TABLE_WRITE, QUEUE_READ, QUEUE_WRITE = (
    "blob reads",
    "table reads",
    "table writes",
    "queue reads",
    "queue writes",
)
UPLOAD, HOST = "uploads", "the host's queue traffic"


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a running relay."""

    control: Path

    def since(self, first: int = 0) -> list[Request]:
        """Return the requests from a number on, oldest first; requests without an answer yet have ``ended`` 0."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.control))
            connection.sendall(f"{first}\n".encode())
            with connection.makefile() as answer:
                return [Request(**entry) for entry in json.loads(answer.read())]

    def length(self) -> int:
        """Return how many requests there were."""
        return len(self.since(0))


def kind_of(request: Request) -> str:
    """Return the kind of a request to the storage."""
    path = urlsplit(request.target).path
    if request.service == "blob":
        return BLOB_READ if request.method in ("GET", "HEAD") else UPLOAD
    reading = request.method == "GET"
    if request.service == "table":
        return TABLE_READ if reading else TABLE_WRITE
    queue, _, messages = path.lstrip("/").partition("/")[2].partition("/")
    if messages and (request.method != "POST" or queue.endswith("-poison")):
        return HOST
    return QUEUE_READ if reading else QUEUE_WRITE


def counted(requests: Iterable[Request]) -> dict[str, int]:
    """Count by kind."""
    return dict(Counter(map(kind_of, requests)))


def batch_sizes(requests: Iterable[Request]) -> list[int]:
    """Return how many operations each batch held, in order of time."""
    return [request.operations for request in requests if request.target.partition("?")[0].endswith("/$batch")]


def seconds_in(requests: Sequence[Request]) -> float:
    """Return the time spent in the requests: the sum over them, from first byte to the answer's last."""
    return sum(request.ended - request.started for request in requests if request.ended)
