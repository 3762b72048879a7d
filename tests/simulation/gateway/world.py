"""The sync behind gateways: its queues, its timers, its processes, and what the outside does to it."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from io import BytesIO
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pydicom
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure import blobs as blobs_module
from sync.adapters.azure import transport as transport_module
from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.http.fhir import server as fhir_module
from sync.bootstrap import deliveries
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
from tests.simulation.gateway.lies import LIES, Gateway
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

        self.__dict__[name] = asked  # the next time it is at hand
        return asked


@dataclass(frozen=True)
class Adapters:
    """Modules of the adapters that are tried."""

    blobs: ModuleType = blobs_module
    transport: ModuleType = transport_module
    fhir: ModuleType = fhir_module


REAL = Adapters()


@dataclass(eq=False)
class Message:
    """A message of a queue as its host keeps it."""

    queue: str
    text: str
    visible: float
    attempt: int = 1


class GatewayWorld:
    """Everything real but for the sockets, the tables and the queues."""

    every = 60.0
    """Seconds between two runs of the timers."""

    def __init__(
        self,
        seed: int,
        *,
        only: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        crashes: float = 0.0,
        adapters: Adapters = REAL,
        until_wrong: bool = False,
    ) -> None:
        self.adapters, self.until_wrong = adapters, until_wrong
        self.rng = random.Random(seed)
        self.clock = LoopClock()
        self.store = MemoryStore(self.clock)
        self.wrong: list[str] = []
        """What must never be."""
        self.server = WatchedFhirServer(self.wrong)
        self.gateways = {name: Gateway(self.rng, only.get(name, lies), lies=False) for name, lies in LIES.items()}
        self.crashes = crashes
        self.messages: list[Message] = []
        self.leased: list[Message] = []
        """Messages that are being delivered."""
        self._running: set[asyncio.Task[Any]] = set()
        self._connect()

    def _connect(self) -> None:
        service, blobs = FhirService(self.server), BlobService(self.store.objects)
        loop = asyncio.get_running_loop()
        self.fhir = self.adapters.fhir.HttpFhirServer(
            BASE,
            telemetry=Telemetry(),
            transport=FhirTransport(lambda asked: self.gateways["fhir"].ask(asked, service.serve)),
            breaker=CircuitBreaker(loop.time),
        )
        session: Any = BlobSession(lambda asked: self.gateways["blobs"].ask(asked, blobs.serve))
        client = BlobServiceClient(URL, transport=self.adapters.transport.StorageTransport(session=session), **_RETRIES)
        self.blobs = self.adapters.blobs.AzureBlobs(client, account="memory", containers=["dicom"])

    def process(self) -> Services:
        """Start a process; the connections outlive it."""
        ports = {name: port for name, port in ports_of(self.store).items() if name != "clock"}
        ports |= {name: self.behind(ports[name], "state") for name in _STATE}
        ports |= {name: self.behind(ports[name], "queues") for name in ("study_queue", "object_queue")}
        known = {field.name for field in fields(Services)}
        given = {name: port for name, port in ports.items() if name in known}
        return Services(settings=SETTINGS, clock=self.clock, **{**given, "fhir": self.fhir, "objects": self.blobs})

    def behind(self, port: Any, gateway: str) -> Any:
        """Return a port of the state as a process sees it."""
        return Behind(port, self.gateways[gateway])

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
        with patch.object(deliveries, "process", self):
            await self._live(seconds)

    async def _live(self, seconds: float) -> None:
        until = self.now + seconds
        timer = self.now
        while self.now < until and not (self.until_wrong and self.wrong):
            self._collect()
            self._deliver()
            if self.now >= timer:
                timer = self.now + self.every
                self.timers()
            if self._running and self.rng.random() < self.crashes:
                self.rng.choice(sorted(self._running, key=lambda task: task.get_name())).cancel()
            await asyncio.sleep(self.rng.choice((0.1, 2, 10)))

    def timers(self) -> None:
        """Start what the host's timers start."""
        self.start("sweep", handlers.sweep(self.process()))
        self.start("reconcile", reconcile(self.process(), self.blobs))

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
        for message in [message for message in self.messages if message.visible <= self.now][:8]:
            self.messages.remove(message)
            self.leased.append(message)
            self.start(message.queue, self._attempt(message), message)

    async def _attempt(self, message: Message) -> None:
        queue, text, attempt = message.queue, message.text, message.attempt
        if attempt > MOST_DELIVERIES:
            queue = f"{queue}-poison"

        async def handle(running: Any) -> None:
            match queue:
                case "objects":
                    await handlers.handle_object_message(text, SOURCES, running.services, attempt=attempt)
                case "studies":
                    await handlers.handle_study_message(text, running.services, attempt=attempt)
                case "objects-poison":
                    await handlers.handle_poison_object(text, SOURCES, running.services)
                case "studies-poison":
                    await handlers.handle_poison_study(text, running.services)

        await deliveries.take(queue, text, handle)

    # What `deliveries` takes for `sync.bootstrap.process`.

    async def running(self) -> Any:
        """Start a process, which creates its tables; it cannot while they do not answer."""
        await Behind(self.store.cursors, self.gateways["state"]).read("start")
        return SimpleNamespace(services=self.process())

    def built(self) -> Any:
        """Return what sends, and measures how deliveries end."""
        return SimpleNamespace(put_back=self._put_back, services=SimpleNamespace(telemetry=Telemetry()))

    async def _put_back(self, queue: str, text: str, delay: float) -> None:
        await Behind(self.store.object_queue, self.gateways["queues"]).send(text, delay)
        self.store.object_queue.messages.pop()
        kept, poison, _ = queue.partition("-poison")
        attempt = MOST_DELIVERIES + 1 if poison else 1
        self.messages.append(Message(kept, text, self.now + delay, attempt))

    def start(self, name: str, work: Coroutine[Any, Any, Any], message: Message | None = None) -> None:
        began = self.now

        def ended(task: asyncio.Task[Any]) -> None:
            work.close()  # of one that was killed before it began
            self._running.discard(task)
            if message is not None:
                self.leased.remove(message)
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
            study["identifier"][0]["value"].removeprefix("urn:oid:"): {
                one["uid"] for series in study.get("series", []) for one in series["instance"]
            }
            for study in self.server.resources("ImagingStudy")
        }
        problems = [] if held == wanted else [f"FHIR holds {held} instead of {wanted}"]
        letters = [(letter.kind, letter.code) for letter in self.store.dead_letters.table.values()]
        problems += [f"a dead letter of an {kind.value} is left: {code}" for kind, code in letters]
        if self.store.dirty.table.values() or [
            message for message in self.messages if message.visible < self.now - 600
        ]:
            problems.append("something is outstanding")
        return problems

    def letters(self) -> set[str]:
        """Return the codes of the dead letters."""
        return {
            letter.code for letter in self.store.dead_letters.table.values() if letter.kind is not SubjectKind.MESSAGE
        }


def _identity(data: bytes) -> tuple[str, str]:
    file = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
    return str(file.StudyInstanceUID), str(file.SOPInstanceUID)
