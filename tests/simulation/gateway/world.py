"""The sync behind gateways: its queues, its timers, its processes, and what the outside does to it."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from io import BytesIO
from types import ModuleType
from typing import Any

import pydicom
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure import blobs as blobs_module
from sync.adapters.azure.transport import StorageTransport
from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.http.fhir import server as fhir_module
from sync.config import Settings
from sync.delivery import handlers
from sync.errors import StoreUnavailable, SyncError
from sync.events import study_message
from sync.model import Action, Change, SubjectKind
from sync.ports import Services
from sync.telemetry.telemetry import Telemetry
from sync.testing.store import MemoryStore
from sync.verify.reconcile import reconcile
from tests.simulation.contents import Content, dicom_file
from tests.simulation.gateway.blob_service import URL, BlobService, BlobSession
from tests.simulation.gateway.fhir_service import BASE, FhirService, FhirTransport
from tests.simulation.gateway.lies import OF_BLOBS, OF_FHIR, Gateway
from tests.simulation.gateway.virtual_time import LoopClock
from tests.simulation.gateway.watched import WatchedFhirServer
from tests.worlds import SOURCES, event, ports_of

BUDGET = 120.0
"""Seconds that a delivery, or a run of a timer, may take whatever is answered: functions end after ten minutes."""

HIDDEN = 30.0
"""Seconds after which a message comes again, as host.json says."""

MOST_DELIVERIES = 8
"""Deliveries after which a message is poison, as host.json says."""

PATIENCE = 300.0
"""Seconds after which an outage has to be told by a dead letter."""

SETTINGS = Settings(
    fhir_url=BASE,
    AzureWebJobsStorage="UseDevelopmentStorage=true",
    quiet_period=1.0,
    max_wait=4.0,
    dead_letter_after_seconds=PATIENCE,
    reconcile_repair=True,
    containers=("dicom",),
)
_STATE = ("locators", "ledger", "dirty", "projections", "patients", "dead_letters", "drifts", "cursors", "outbox")
_RETRIES: dict[str, Any] = {"retry_total": 3, "initial_backoff": 0, "increment_base": 1, "random_jitter_range": 1}


class Behind:
    """A port of the state behind a gateway: whatever it lies, the adapters say that the store is unavailable."""

    def __init__(self, port: Any, gateway: Gateway) -> None:
        self._port, self._gateway = port, gateway

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def asked(*args: Any, **kwargs: Any) -> Any:
            mood = self._gateway.mood()
            if mood is not None and mood != "reset after":
                raise StoreUnavailable("not the store")
            await asyncio.sleep(0)
            result = await method(*args, **kwargs)
            if mood is not None:
                raise StoreUnavailable("the answer was lost, the write was not")
            return result

        return asked


@dataclass(eq=False)
class Message:
    """A message of a queue as its host keeps it."""

    queue: str
    text: str
    visible: float
    attempt: int = 1


class GatewayWorld:
    """Everything real but for the sockets, the tables and the queues."""

    def __init__(
        self,
        seed: int,
        *,
        fhir: tuple[str, ...] = OF_FHIR,
        blobs: tuple[str, ...] = OF_BLOBS,
        crashes: float = 0.0,
        modules: tuple[ModuleType, ModuleType] = (blobs_module, fhir_module),
    ) -> None:
        self.modules = modules
        self.rng = random.Random(seed)
        self.clock = LoopClock()
        self.store = MemoryStore(self.clock)
        self.wrong: list[str] = []
        """What must never be."""
        self.server = WatchedFhirServer(self.wrong)
        self.gateways = {
            "fhir": Gateway(self.rng, fhir, lies=False),
            "blobs": Gateway(self.rng, blobs, lies=False),
            "state": Gateway(self.rng, ("502 page", "reset after"), lies=False),
            "queues": Gateway(self.rng, ("502 page", "reset after"), lies=False),
        }
        self.crashes = crashes
        self.messages: list[Message] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._connect()

    def _connect(self) -> None:
        service, blobs = FhirService(self.server), BlobService(self.store.objects)
        loop = asyncio.get_running_loop()
        self.fhir = self.modules[1].HttpFhirServer(
            BASE,
            telemetry=Telemetry(),
            transport=FhirTransport(lambda asked: self.gateways["fhir"].ask(asked, service.serve)),
            breaker=CircuitBreaker(loop.time),
        )
        session: Any = BlobSession(lambda asked: self.gateways["blobs"].ask(asked, blobs.serve))
        client = BlobServiceClient(URL, transport=StorageTransport(session=session), **_RETRIES)
        self.blobs = self.modules[0].AzureBlobs(client, account="memory", containers=["dicom"])

    def process(self) -> Services:
        """Start a process; the connections outlive it."""
        ports = {name: port for name, port in ports_of(self.store).items() if name != "clock"}
        ports |= {name: Behind(ports[name], self.gateways["state"]) for name in _STATE}
        ports |= {name: Behind(ports[name], self.gateways["queues"]) for name in ("study_queue", "object_queue")}
        known = {each.name for each in fields(Services)}
        given = {name: port for name, port in ports.items() if name in known}
        return Services(settings=SETTINGS, clock=self.clock, **{**given, "fhir": self.fhir, "objects": self.blobs})

    @property
    def now(self) -> float:
        """Seconds since the world was made."""
        return asyncio.get_running_loop().time()

    # What the outside does.

    def put(self, name: str, content: Content, *, keep: bool = False) -> None:
        """Store an object; Event Grid tells of it."""
        ref = self.store.objects.ref(name)
        change = Change(object=ref, action=Action.CREATED, etag=self.store.objects.put(ref, dicom_file(content)))
        if keep:
            self.server.keep(content)
        self._tell(change)

    def delete(self, name: str) -> None:
        """Delete an object; Event Grid tells of it."""
        ref = self.store.objects.ref(name)
        self.store.objects.delete(ref)
        self._tell(Change(object=ref, action=Action.DELETED))

    def _tell(self, change: Change) -> None:
        for _ in range(self.rng.choice((1, 1, 2))):
            self.messages.append(Message("objects", json.dumps(event(change)), self.now))

    @contextmanager
    def lying(self, *which: str, all_the_time: bool = False) -> Iterator[None]:
        """Let these gateways lie, or all of them; in spells, or all the time."""
        chosen = which or tuple(self.gateways)
        if all_the_time:
            for name in chosen:
                self.gateways[name].begin()
        for name in chosen:
            self.gateways[name].lies = True
        yield
        for name in chosen:
            self.gateways[name].lies = False

    # The host.

    async def live(self, seconds: float) -> None:
        """Let the host work for so long."""
        until = self.now + seconds
        timer = self.now
        while self.now < until:
            self._collect()
            self._deliver()
            if self.now >= timer:
                timer = self.now + 60
                self._start("sweep", handlers.sweep(self.process()))
                self._start("reconcile", reconcile(self.process(), self.blobs))
            if self._running and self.rng.random() < self.crashes:
                self.rng.choice(sorted(self._running, key=lambda task: task.get_name())).cancel()
            await asyncio.sleep(self.rng.choice((0.1, 2, 10)))

    def _collect(self) -> None:
        """Take what our own queues hold; a host reads none while storage does not answer."""
        now = self.clock.now()
        for queued in self.store.study_queue.messages:
            wait = max((queued.visible_at - now).total_seconds(), 0.0)
            self.messages.append(Message("studies", study_message(queued.study), self.now + wait))
        for text in self.store.object_queue.messages:
            wait = max((text.visible_at - now).total_seconds(), 0.0)
            self.messages.append(Message("objects", text.text, self.now + wait))
        self.store.study_queue.messages.clear()
        self.store.object_queue.messages.clear()

    def _deliver(self) -> None:
        if self.gateways["queues"].mood() is not None:
            return
        for message in [each for each in self.messages if each.visible <= self.now][:8]:
            self.messages.remove(message)
            self._start(message.queue, self._attempt(message), message)

    async def _attempt(self, message: Message) -> None:
        s = self.process()
        if message.attempt > MOST_DELIVERIES:
            await self._poison(message, s)
        elif message.queue == "objects":
            await handlers.handle_object_message(message.text, SOURCES, s, attempt=message.attempt)
        else:
            await handlers.handle_study_message(message.text, s, attempt=message.attempt)

    async def _poison(self, message: Message, s: Services) -> None:
        if message.queue == "objects":
            await handlers.handle_poison_object(message.text, SOURCES, s)
        else:
            await handlers.handle_poison_study(message.text, s)

    def _start(self, name: str, work: Coroutine[Any, Any, Any], message: Message | None = None) -> None:
        began = self.now

        def ended(task: asyncio.Task[Any]) -> None:
            work.close()  # of one that was killed before it began
            self._running.discard(task)
            if (took := self.now - began) > BUDGET:
                self.wrong.append(f"{name} took {took:.0f} s")
            failure = asyncio.CancelledError() if task.cancelled() else task.exception()
            if failure is not None and message is not None:
                again = Message(message.queue, message.text, self.now + HIDDEN, message.attempt + 1)
                self.messages.append(again)
            if isinstance(failure, Exception) and not isinstance(failure, SyncError):
                self.wrong.append(f"{type(failure).__name__} in {name}")

        task = asyncio.get_running_loop().create_task(work, name=f"{name} {began} {len(self._running)}")
        self._running.add(task)
        task.add_done_callback(ended)

    # What must be so in the end.

    def difference(self) -> list[str]:
        """Tell what is not as a sync of the objects as they are would have made it."""
        wanted: dict[str, set[str]] = {}
        for blob in self.store.objects._blobs.values():
            study, sop = _identity(blob.data)
            wanted.setdefault(study, set()).add(sop)
        held = {
            each["identifier"][0]["value"].removeprefix("urn:oid:"): {
                one["uid"] for series in each.get("series", []) for one in series["instance"]
            }
            for each in self.server.resources("ImagingStudy")
        }
        found = [] if held == wanted else [f"FHIR holds {held} instead of {wanted}"]
        letters = [(each.kind, each.code) for each in self.store.dead_letters.table.values()]
        found += [f"a dead letter of an {kind.value} is left: {code}" for kind, code in letters]
        if self.store.dirty.table.values() or [each for each in self.messages if each.visible < self.now - 600]:
            found.append("something is outstanding")
        return found

    def letters(self) -> set[str]:
        """Codes of the dead letters there are."""
        return {each.code for each in self.store.dead_letters.table.values() if each.kind is not SubjectKind.MESSAGE}


def _identity(data: bytes) -> tuple[str, str]:
    file = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
    return str(file.StudyInstanceUID), str(file.SOPInstanceUID)
