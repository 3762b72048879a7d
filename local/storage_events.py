"""
Event Grid's part on one machine: changes of blobs become messages of a storage queue.

Azurite emits no events. Its access log comes in line by line; out go ``BlobCreated`` and ``BlobDeleted``, each as one
base64 message of queue ``objects``, as an Event Grid subscription with a storage queue as destination delivers them:
at least once, in no order, kept for ever. Nothing is lost: sending is tried until it succeeds.

A created blob's ETag and length are read when its event is made, as they are then; the blob may have changed again by
that time, or be gone, and the event goes out without them. Real events may be as stale.

A batch's line in the log names no blob, so after a batch the containers are listed, and blobs that were there and are
not any more were deleted by it. Deleting a container gives no events for its blobs, on Azure neither.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import logging
import queue
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from local.access_log import BatchDone, BlobChange, Happened, parse_line
from local.azurite import ACCOUNT
from local.storage_client import RefusedError, StorageClient

logger = logging.getLogger(__name__)

T = TypeVar("T")

Schema = Literal["cloudevents", "eventgrid"]

AT_ONCE = 16
"""Events that are made and sent at the same time."""

_TOPIC = f"/subscriptions/local/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """How delivery may be worse than usual; for tests. Repeatable by its seed."""

    duplicate: int = 0
    """Further deliveries of every event."""

    shuffle: float = 0.0
    """Seconds that a delivery is late at most."""

    drop: float = 0.0
    """Share of the deliveries that never come, 0 to 1: what a missing dead-letter destination does to real ones."""

    seed: int = 0


@dataclass(slots=True)
class Delivered:
    """Messages so far."""

    sent: int = 0
    dropped: int = 0
    retried: int = 0


@dataclass(frozen=True, slots=True)
class _Storage:
    client: StorageClient
    blobs: BlobServiceClient
    public_url: str
    known: dict[str, dict[str, int]] = field(default_factory=dict)
    """Container -> name of each blob that is there, as far as the log told -> number of its latest creation."""


class StorageEvents:
    """
    The stand-in. Hand `feed` to Azurite as its log's reader, then deliver inside ``async with events.delivering(...)``.

    Parameters
    ----------
    containers
        Whose blobs give events, as the subject filter of a subscription does.
    schema
        Envelope: CloudEvents 1.0, or Event Grid's own.
    queue_name
        Where the messages go; the queue must exist.
    disorder
        How delivery is worse than usual.
    """

    def __init__(
        self,
        containers: Iterable[str],
        *,
        schema: Schema = "cloudevents",
        queue_name: str = "objects",
        disorder: Disorder | None = None,
    ) -> None:
        self._containers = frozenset(containers)
        self._schema: Schema = schema
        self._queue_name = queue_name
        self._disorder = disorder or Disorder()
        self._random = random.Random(self._disorder.seed)  # noqa: S311  # chooses victims of disorder, keeps no secret
        self._creations = itertools.count()
        self._inbox: queue.SimpleQueue[BlobChange | BatchDone] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._work: asyncio.Task[None] | None = None
        self.delivered = Delivered()

    def ended(self) -> bool:
        """Return whether delivering has come to an end, which before the end of its block is a defect."""
        return self._work is not None and self._work.done()

    @property
    def pending(self) -> int:
        """Changes seen in the log whose messages are not in the queue yet."""
        return self._pending

    def feed(self, line: str) -> None:
        """Take one line of the log; from any thread, before, while and after delivering."""
        change = parse_line(line)
        if change is None or (change.container and change.container not in self._containers):
            return
        with self._lock:
            self._pending += 1
        self._inbox.put(change)
        if wake := self._wake:
            with contextlib.suppress(RuntimeError):  # the loop ended: no more deliveries
                wake[0].call_soon_threadsafe(wake[1].set)

    async def settled(self) -> None:
        """Wait until nothing is pending. The log itself is some milliseconds behind the storage's answers."""
        while self._pending:  # noqa: ASYNC110  # counted in several threads, which an asyncio.Event does not stand
            await asyncio.sleep(0.005)

    @contextlib.asynccontextmanager
    async def delivering(self, connection_string: str, *, public: str | None = None) -> AsyncIterator[None]:
        """
        Deliver events for the length of the block; pending events are dropped at its end.

        A defect ends the delivery, see `ended`, and is raised at the end of the block.

        Parameters
        ----------
        connection_string
            The storage whose log is read; its events go there too.
        public
            Connection string that clients use, when a proxy stands before the storage: event URLs name it.
        """
        async with (
            StorageClient(connection_string, self._queue_name) as client,
            BlobServiceClient.from_connection_string(connection_string) as blobs,
        ):
            url = BlobServiceClient.from_connection_string(public or connection_string).url
            storage = _Storage(client, blobs, url.rstrip("/"))
            for container in self._containers:
                storage.known[container] = dict.fromkeys(await _names(storage, container), next(self._creations))
            self._work = asyncio.create_task(self._deliver_all(storage))
            try:
                yield
            finally:
                self._work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._work

    async def _deliver_all(self, storage: _Storage) -> None:
        wake = asyncio.Event()
        wake.set()
        self._wake = (asyncio.get_running_loop(), wake)
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await wake.wait()
                wake.clear()
                while not self._inbox.empty():
                    await gate.acquire()
                    task = tasks.create_task(self._handle(storage, self._inbox.get()))
                    task.add_done_callback(lambda _: gate.release())

    async def _handle(self, storage: _Storage, change: BlobChange | BatchDone) -> None:
        try:
            if isinstance(change, BlobChange):
                self._remember(storage.known[change.container], change)
                await self._publish(storage, change)
            else:
                for deleted in await self._deleted_by(storage, change):
                    await self._publish(storage, deleted)
        finally:
            with self._lock:
                self._pending -= 1

    def _remember(self, creations: dict[str, int], change: BlobChange) -> None:
        if change.happened is Happened.DELETED:
            creations.pop(change.name, None)
        else:
            creations[change.name] = next(self._creations)

    async def _deleted_by(self, storage: _Storage, batch: BatchDone) -> list[BlobChange]:
        """Return the deletions of a batch: known blobs that are gone from the containers that it may have touched."""
        gone: list[BlobChange] = []
        for container in [batch.container] if batch.container else sorted(self._containers):
            creations = storage.known[container]
            before = dict(creations)
            now = await self._insist(functools.partial(_names, storage, container))
            missing = [name for name in before if name not in now]
            gone += [BlobChange(container, name, Happened.DELETED, "DeleteBlob") for name in missing]
            for name in missing:
                if creations.get(name) == before[name]:  # not created again while we listed
                    del creations[name]
        return gone

    async def _publish(self, storage: _Storage, change: BlobChange) -> None:
        properties = None if change.happened is Happened.DELETED else await _properties(storage, change)
        created = properties is not None if change.happened is Happened.UNKNOWN else change.happened is Happened.CREATED
        event = self._event(storage.public_url, change, properties or {}, created=created)
        await asyncio.gather(*(self._send(storage.client, event) for _ in range(1 + self._disorder.duplicate)))

    async def _send(self, client: StorageClient, event: Mapping[str, Any]) -> None:
        if self._random.random() < self._disorder.drop:
            self.delivered.dropped += 1
            return
        if self._disorder.shuffle:
            await asyncio.sleep(self._random.uniform(0, self._disorder.shuffle))
        content = base64.b64encode(json.dumps(event).encode()).decode()
        await self._insist(functools.partial(client.send, content))
        self.delivered.sent += 1

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds, with growing pauses: the storage is on this machine and comes back, or we end."""
        for doubling in itertools.count():
            try:
                return await call()
            except (RefusedError, AzureError) as problem:
                pause = min(_SHORTEST_PAUSE * 2**doubling, _LONGEST_PAUSE)
                self.delivered.retried += 1
                logger.warning("the storage refused; trying again in %.2f s: %s", pause, _kind(problem))
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    def _event(
        self, account_url: str, change: BlobChange, properties: Mapping[str, Any], *, created: bool
    ) -> dict[str, Any]:
        data = {
            "api": change.api,
            "requestId": str(uuid.uuid4()),
            **properties,
            "url": f"{account_url}/{quote(change.container)}/{quote(change.name)}",
            "sequencer": f"{time.time_ns():048X}",
            "storageDiagnostics": {"batchId": str(uuid.uuid4())},
        }
        kind = Happened.CREATED if created else Happened.DELETED
        subject = f"/blobServices/default/containers/{change.container}/blobs/{change.name}"
        return envelope(self._schema, f"Microsoft.Storage.{kind.value}", subject, data)


def envelope(schema: Schema, kind: str, subject: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap an event's data as Event Grid does, in either schema, with a new id and the present time."""
    shared = {"id": str(uuid.uuid4()), "subject": subject, "data": dict(data)}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"  # Event Grid writes seven digits
    if schema == "cloudevents":
        return {"specversion": "1.0", "source": _TOPIC, "type": kind, "time": now, **shared}
    versions = {"dataVersion": "", "metadataVersion": "1"}
    return {"topic": _TOPIC, "eventType": kind, "eventTime": now, **shared, **versions}


async def _names(storage: _Storage, container: str) -> set[str]:
    try:
        return {name async for name in storage.blobs.get_container_client(container).list_blob_names()}
    except ResourceNotFoundError:
        return set()


async def _properties(storage: _Storage, change: BlobChange) -> dict[str, Any] | None:
    """Return the properties of a created blob for its event; None if it is gone or the storage refuses."""
    try:
        return await storage.client.properties(change.container, change.name)
    except RefusedError as problem:
        logger.warning("an event goes out without ETag: %s", problem)
        return None


def _kind(problem: Exception) -> str:
    """Return the kind of failure, without the library's text, which may hold names."""
    return str(problem) if isinstance(problem, RefusedError) else type(problem).__name__
