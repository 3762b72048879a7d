"""
A world of the real pipeline: a store of objects (the truth), the memory adapters, and messages in no order.

Every port call is a point where another actor may run, or this one may die.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from sync import pipeline
from sync.config import Settings
from sync.delivery import handlers
from sync.delivery.backoff import FIRST_BACK_OFF
from sync.errors import Conflict, FhirConflict, FhirRejected, FhirUnavailable, TransientError
from sync.events import study_message
from sync.model import Action, Change, FhirWrite, StudyRef
from sync.ports import Services
from sync.protocol.dirty_studies import mark_bypassing_cache
from sync.testing.clock import ManualClock
from sync.testing.fhir import MemoryFhirServer
from sync.testing.results import MemoryTopic
from sync.testing.store import MemoryStore
from tests.simulation.contents import Content, dicom_file
from tests.simulation.ehr import Ehr
from tests.simulation.stepping import Stepping, new_caches, run
from tests.worlds import ports_of

SETTINGS = Settings(
    fhir_url="http://localhost/fhir",
    AzureWebJobsStorage="UseDevelopmentStorage=true",
    quiet_period=0,
    max_wait=0,
    max_removals_per_hour=1000,  # schedules delete most of what they make; the ceiling has tests of its own
    max_removal_share_percent=100,
)

LATEST = timedelta(seconds=0.9 * FIRST_BACK_OFF)
"""How much later than its time-out a write may take effect: a failed writer waits for longer before it reads."""

LONG_PACE = 100.0
"""Seconds between two steps of a schedule: longer than anything waits."""


@dataclass
class Faults:
    """How much goes wrong in one schedule."""

    crashes: int = 0
    crash_rate: float = 0.08
    timeouts: int = 0
    duplicates: float = 0.0
    sweeps: int = 0
    """Sweeps at bad times: each starts one more projector beside those under way."""
    haste: float = 1.0
    """How readily an object changes while deliveries are under way."""
    refusals: int = 0
    """Transactions that FHIR refuses for once; the study is dead-lettered, and an operator retries it in the end."""
    notes: int = 0
    """Notes that another client writes into a study at bad times."""
    late: int = 0
    """Transactions whose answer is lost, and that take effect some seconds later."""
    halves: int = 0
    """Transactions of which a server without real ones applies a part, and fails."""


@dataclass
class Actor:
    """One delivery on its way."""

    steps: Coroutine[Any, Any, Any]
    again: Callable[[], None]


@dataclass
class World:
    """Everything, real but for the servers."""

    rng: random.Random
    faults: Faults
    pipeline: ModuleType = pipeline
    handling: ModuleType = handlers
    varied: bool = False
    """Whether the FHIR server may also check references, or not be atomic."""
    ehr: Ehr | None = None
    """What another system keeps in the FHIR service."""
    policy: str = "link-or-create"
    next_policy: str | None = None
    """The policy that is set while deliveries are under way."""
    eager: bool = False
    """Whether objects that are created count as likely to be new, so that they are claimed without a read."""
    quiet: float = 0.0
    """Quiet period in seconds; above 0 a study may be found not due yet."""
    pace: float = LONG_PACE
    """Seconds that pass before each step."""
    lost_answers: int = 0
    """Transactions that are applied next although their answers are lost."""
    never: list[str] = field(default_factory=list)
    """What was seen that must never be, however it ends."""
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)
        self.objects = self.store.objects
        strict = self.varied and self.rng.random() < 0.5
        # No server that checks references applies half a transaction.
        atomic = not self.varied or self.rng.random() < 0.7 or strict
        self.atomic = atomic
        self.fhir = MemoryFhirServer(checks_references=strict, atomic=atomic, azure=atomic and not strict)
        for resource in self.ehr.resources() if self.ehr else ():
            self.create(resource)
        self.topic = MemoryTopic()
        self.next_call: tuple[str, Any] = ("", None)
        self.object_messages: list[tuple[Change, int]] = []
        self.study_messages: list[tuple[StudyRef, int]] = []
        self.actors: list[Actor] = []
        self.late = False
        self.under_way: list[tuple[datetime, list[FhirWrite]]] = []
        """Transactions that take effect later, and when at the latest."""
        self.policies = {self.policy}
        self.services = self.new_services(step=True)

    def new_services(self, *, step: bool) -> Services:
        ports = {name: port for name, port in ports_of(self.store).items() if name not in ("clock", "queues")}
        ports |= {"fhir": self.fhir, "objects": self.objects, "results": self.topic}
        wrapped = {name: Stepping(port, self) if step else port for name, port in ports.items()}
        timing = {"quiet_period": self.quiet, "max_wait": 4 * self.quiet}
        settings = SETTINGS.model_copy(update={"patient_policy": self.policy, **timing})
        queues = self.store.study_queue
        return Services(settings=settings, clock=self.clock, queues=queues, caches=new_caches(), **wrapped)

    async def transact(self, port: Any, writes: list[FhirWrite]) -> Any:
        """Make a transaction: it may be refused, applied in part, applied later, or its answer may be lost."""
        if self._meets("refusals", 0.3, writes):
            raise FhirRejected("refused for once")
        if not self.atomic and self._meets("halves", 0.3):
            for write in writes[: self.rng.randrange(len(writes) + 1)]:
                await port.transact([write])
            raise FhirUnavailable("cut off half-way")
        if self._meets("late", 0.3):
            self.under_way.append((self.clock.now() + LATEST, writes))
            raise FhirUnavailable("no answer yet")
        result = await port.transact(writes)
        if self.lost_answers or self._meets("timeouts", 0.2):
            self.lost_answers = max(self.lost_answers - 1, 0)
            raise FhirUnavailable("the answer was lost, the write was not")
        return result

    def _meets(self, fault: str, chance: float, writes: list[FhirWrite] | None = None) -> bool:
        """Tell whether this happens now; a removal that is refused means that others refer to the resource."""
        left: int = getattr(self.faults, fault)
        if not left or (writes and not all(write.resource for write in writes)) or self.rng.random() >= chance:
            return False
        setattr(self.faults, fault, left - 1)
        return True

    def land(self, *, every: bool = False) -> None:
        """Let take effect what is under way: the next transaction, or all, or those that can be no later."""
        for transaction in list(self.under_way):
            if every or transaction[0] <= self.clock.now():
                self._land(transaction)

    def land_one(self) -> None:
        """Let some transaction that is under way take effect."""
        self._land(self.rng.choice(self.under_way))

    def _land(self, transaction: tuple[datetime, list[FhirWrite]]) -> None:
        self.under_way.remove(transaction)
        with suppress(FhirConflict, FhirRejected):  # its answer is lost
            run(self.fhir.transact(transaction[1]))

    # What the outside does.

    def create(self, resource: dict[str, Any]) -> None:
        run(
            self.fhir.transact(
                [FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=resource)]
            )
        )

    def lose(self, *lost: tuple[str, str | None]) -> None:
        """Delete resources from the server, as a loss of data; without an id, all of a type."""
        for resource_type, resource_id in lost:
            for resource in list(self.fhir.resources(resource_type)):
                if resource_id in (None, resource["id"]):
                    run(self.fhir.transact([FhirWrite(resource_type=resource_type, resource_id=resource["id"])]))

    def note(self) -> None:
        """Write, as another client, a note into each study; notes in studies and Patients of the EHR stay for good."""
        text = {"text": f"note {self.faults.notes}"}
        for study in list(self.fhir.resources("ImagingStudy")):
            self.create({**study, "note": [*study.get("note", []), text]})
        if self.ehr:
            self.ehr.notes.append(text)
            self.ehr.telecom.append({"value": str(self.faults.notes)})
            for patient in self.ehr.patients():
                self.create({**(self.fhir.peek("Patient", patient["id"]) or {}), "telecom": patient["telecom"]})

    def admit(self) -> None:
        """Let the EHR add P1."""
        if self.ehr and not self.ehr.knows_p1:
            self.ehr.knows_p1 = self.late = True
            self.create(self.ehr.patients()[-1])

    def switch(self) -> None:
        """Set another policy, as an operator; deliveries under way keep the old one, the next ones have the new one."""
        self.policy, self.next_policy, self.late = self.next_policy or self.policy, None, True
        self.policies.add(self.policy)
        self.services = self.new_services(step=True)

    def change(self, name: str, content: Content | bytes | None) -> None:
        ref = self.objects.ref(name)
        self.clock.advance(1)
        if content is None:
            if ref not in self.objects.refs():
                return
            self.objects.delete(ref)
            change = Change(object=ref, action=Action.DELETED)
        else:
            data = content if isinstance(content, bytes) else dicom_file(content)
            etag = self.objects.put(ref, data)
            change = Change(object=ref, action=Action.CREATED, etag=etag, likely_new=self.eager)
        self.object_messages.append((change, 1))
        if self.rng.random() < self.faults.duplicates:
            self.object_messages.append((change, 1))

    # Deliveries.

    def start_object(self, change: Change, attempt: int) -> None:
        steps = self.pipeline.ingest(change, self.services, redelivered=attempt > 1)
        self.actors.append(Actor(steps, lambda: self.object_messages.append((change, attempt + 1))))

    def start_study(self, study: StudyRef, attempt: int) -> None:
        if attempt > 1:
            self.land(every=True)  # a message comes again only once its lease has run out
        steps = self.handling.handle_study_message(study_message(study), self.services, attempt=attempt)
        self.actors.append(Actor(steps, lambda: self.study_messages.append((study, attempt + 1))))

    def start_replay(self, study: StudyRef) -> None:
        steps = mark_bypassing_cache(study, self.services)
        self.actors.append(Actor(steps, lambda: self.start_replay(study)))

    def crash(self, actor: Actor) -> None:
        self.actors.remove(actor)
        actor.steps.close()
        self.services.caches.unsent_events.clear()  # what a process knows dies with it
        actor.again()

    def step(self, actor: Actor) -> None:
        try:
            actor.steps.send(None)
        except StopIteration:
            self.actors.remove(actor)
        except (TransientError, Conflict):
            self.actors.remove(actor)
            actor.again()

    def collect_messages(self) -> None:
        self.clock.advance(self.pace)
        self.land()
        self.study_messages += [(study, 1) for study in self.store.study_queue.take()]

    def sweep(self) -> None:
        self.study_messages += [(dirty.study, 1) for dirty in self.store.dirty.table.values()]

    def replay(self) -> bool:
        """Retry dead letters, as an operator, and project all again if EHR or policy have changed; once each."""
        dead_lettered = {
            letter.subject for letter in self.store.dead_letters.table.values() if letter.kind.value == "study"
        }
        late, self.late = self.late, False
        again = [p.study for p in self.store.projections.table.values() if late or p.study.key in dead_lettered]
        self.study_messages += [(study, 2) for study in again]
        return bool(again)
