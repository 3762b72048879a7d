"""
Random schedules over the real pipeline: every port call is a point where another actor may run, or this one may die.

One world has a store of objects (the truth), the memory adapters, and messages in no order. A seeded scheduler picks
what happens next: somebody changes an object, a message is delivered (perhaps twice), a running delivery takes one
more port call, or crashes there and is delivered again. When nothing is left to do, FHIR, the dead letters and the
ledger must equal those of a clean world that sees only the objects as they are in the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian

from sync import announcing, handling, pipeline
from sync.adapters.clocks import ManualClock
from sync.adapters.memory.fhir import MemoryFhirServer
from sync.adapters.memory.results import MemoryTopic
from sync.adapters.memory.store import MemoryStore
from sync.config import Settings
from sync.errors import Conflict, FhirRejected, FhirUnavailable, TransientError
from sync.events import study_message
from sync.mapping.resource import canonical
from sync.marks import mark_anew
from sync.model import Action, Change, FhirWrite, Projection, StudyRef, digest
from sync.ports import Services
from sync.verify.strangers import look_at_stranger
from sync.verify.studies import look_at_study
from tests.worlds import ehr_patient, ehr_study, ports_of

MAX_STEPS = 20_000
UNREADABLE = b"not a DICOM file"


@dataclass(frozen=True)
class Content:
    """What somebody puts into an object."""

    study: str
    patient: str
    sop: str
    document: bool = False
    """An encapsulated document, which makes resources of its own; else an image."""


@cache
def dicom_file(content: Content) -> bytes:
    """Return a small header."""
    meta = FileMetaDataset()
    sop_class = EncapsulatedPDFStorage if content.document else CTImageStorage
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"2.25.{content.sop}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = pydicom.Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = sop_class, f"2.25.{content.sop}"
    if content.document:
        file.DocumentTitle = f"of {content.patient}"
    file.StudyInstanceUID, file.SeriesInstanceUID = f"2.25.{content.study}", f"2.25.{content.study}0"
    file.Modality, file.StudyDate = "CT", f"2026010{content.study}"
    file.PatientID, file.PatientName = content.patient, _name(content)
    file.StudyDescription = f"by {content.patient}"
    if (content.study, content.patient) == ("1", "P2"):
        # Only one of its studies says so: the Patient is made of what several say.
        file.PatientSex, file.PatientIdentityRemoved = "F", "YES"
    if content.study == "4":
        file.PatientSex = "M"
    buffer = BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _name(content: Content) -> str:
    """P1 is spelled alike by all studies, the others by each in its own way."""
    return "One^Spelling" if content.patient == "P1" else f"{content.patient}^As study {content.study} spells it"


class Step:
    """Awaiting it hands control back to the scheduler, once."""

    def __await__(self) -> Iterator[None]:
        yield


class Stepping:
    """A port whose every coroutine is preceded by a `Step`."""

    def __init__(self, port: Any, world: World) -> None:
        self._port, self._world = port, world

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name == "all":
            return method

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            self._world.next_call = (name, args[0])
            await Step()
            if name == "transact" and self._world.refuses(args[0]):
                raise FhirRejected("refused for once")
            result = await method(*args, **kwargs)
            if name == "transact" and self._world.times_out():
                raise FhirUnavailable("the answer was lost, the write was not")
            return result

        return stepped


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
    """How readily somebody changes an object while deliveries are under way."""
    refusals: int = 0
    """Transactions that FHIR refuses for once; the study is parked, and somebody retries it in the end."""
    notes: int = 0
    """Notes that somebody writes into a study at bad times."""


@dataclass
class Ehr:
    """Somebody else who writes to the same FHIR service: a study and its patient, and the patient of another."""

    knows_p1: bool = False
    """Whether it has a Patient P1 too; it may come to know it late, when we have created ours already."""
    notes: list[dict[str, str]] = field(default_factory=list)
    """What it has written into its study."""
    telecom: list[dict[str, str]] = field(default_factory=list)
    """What it has written into its Patients."""

    def resources(self) -> list[dict[str, Any]]:
        """Everything it keeps, none of it seen by us yet."""
        subject = {"reference": "Patient/ehr"}
        notes = {"note": list(self.notes)} if self.notes else {}
        study = ehr_study(self.study, StudyRef(study_instance_uid="2.25.2"), subject=subject, **notes)
        return [*self.patients(), study]

    def patients(self) -> list[dict[str, Any]]:
        """Its Patients, none of them written by us yet."""
        known = {"ehr": "E", "ehr-2": "P2", **({"ehr-1": "P1"} if self.knows_p1 else {})}
        contact = {"telecom": list(self.telecom)} if self.telecom else {}
        return [ehr_patient(resource_id, value, **contact) for resource_id, value in known.items()]

    study: str = "ehr-study"


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
    handling: ModuleType = handling
    varied: bool = False
    """Whether the FHIR server may also check references, or not be atomic."""
    ehr: Ehr | None = None
    """What somebody else keeps in the FHIR service."""
    policy: str = "link-or-create"
    next_policy: str | None = None
    """What somebody will set the policy to while deliveries are under way."""
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)
        self.objects = self.store.objects
        strict = self.varied and self.rng.random() < 0.5
        # No server that checks references applies half a transaction.
        atomic = not self.varied or self.rng.random() < 0.7 or strict
        self.fhir = MemoryFhirServer(checks_references=strict, atomic=atomic)
        for resource in self.ehr.resources() if self.ehr else ():
            self.create(resource)
        self.topic = MemoryTopic()
        self.next_call: tuple[str, Any] = ("", None)
        self.object_messages: list[tuple[Change, int]] = []
        self.study_messages: list[tuple[StudyRef, int]] = []
        self.actors: list[Actor] = []
        self.late = False
        self.policies = {self.policy}
        self.services = self._services(step=True)

    def _services(self, *, step: bool) -> Services:
        ports = {name: port for name, port in ports_of(self.store).items() if name not in ("clock", "queues")}
        ports |= {"fhir": self.fhir, "objects": self.objects, "results": self.topic}
        wrapped = {name: Stepping(port, self) if step else port for name, port in ports.items()}
        settings = SETTINGS.model_copy(update={"patient_policy": self.policy})
        return Services(settings=settings, clock=self.clock, queues=self.store.study_queue, **wrapped)

    def times_out(self) -> bool:
        if self.faults.timeouts and self.rng.random() < 0.2:
            self.faults.timeouts -= 1
            return True
        return False

    def refuses(self, writes: list[FhirWrite]) -> bool:
        if self.faults.refusals and all(write.resource for write in writes) and self.rng.random() < 0.3:
            self.faults.refusals -= 1
            return True
        return False

    # What the outside does.

    def create(self, resource: dict[str, Any]) -> None:
        run(
            self.fhir.transact(
                [FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=resource)]
            )
        )

    def lose(self, *lost: tuple[str, str | None]) -> None:
        """Lose resources of the server; without an id all of a type."""
        for resource_type, resource_id in lost:
            for resource in list(self.fhir.resources(resource_type)):
                if resource_id in (None, resource["id"]):
                    run(self.fhir.transact([FhirWrite(resource_type=resource_type, resource_id=resource["id"])]))

    def note(self) -> None:
        """Somebody writes a note into each study there is; into the EHR's, and its Patients, it is for good."""
        text = {"text": f"note {self.faults.notes}"}
        for study in list(self.fhir.resources("ImagingStudy")):
            self.create({**study, "note": [*study.get("note", []), text]})
        if self.ehr:
            self.ehr.notes.append(text)
            self.ehr.telecom.append({"value": str(self.faults.notes)})
            for patient in self.ehr.patients():
                self.create({**(self.fhir.peek("Patient", patient["id"]) or {}), "telecom": patient["telecom"]})

    def admit(self) -> None:
        """The EHR comes to know P1."""
        if self.ehr and not self.ehr.knows_p1:
            self.ehr.knows_p1 = self.late = True
            self.create(self.ehr.patients()[-1])

    def switch(self) -> None:
        """Somebody sets another policy; deliveries under way go on with the old one, the next ones have the new."""
        self.policy, self.next_policy, self.late = self.next_policy or self.policy, None, True
        self.policies.add(self.policy)
        self.services = self._services(step=True)

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
            change = Change(object=ref, action=Action.CREATED, etag=self.objects.put(ref, data))
        self.object_messages.append((change, 1))
        if self.rng.random() < self.faults.duplicates:
            self.object_messages.append((change, 1))

    # Deliveries.

    def start_object(self, change: Change, attempt: int) -> None:
        steps = self.pipeline.ingest(change, self.services, redelivered=attempt > 1)
        self.actors.append(Actor(steps, lambda: self.object_messages.append((change, attempt + 1))))

    def start_study(self, study: StudyRef, attempt: int) -> None:
        steps = self.handling.handle_study_message(study_message(study), self.services, attempt=attempt)
        self.actors.append(Actor(steps, lambda: self.study_messages.append((study, attempt + 1))))

    def start_replay(self, study: StudyRef) -> None:
        steps = mark_anew(study, self.services)
        self.actors.append(Actor(steps, lambda: self.start_replay(study)))

    def crash(self, actor: Actor) -> None:
        self.actors.remove(actor)
        actor.steps.close()
        self.services.announced.clear()  # what a process knows dies with it
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
        self.clock.advance(100)
        self.study_messages += [(study, 1) for study in self.store.study_queue.take()]

    def sweep(self) -> None:
        self.study_messages += [(dirty.study, 1) for dirty in self.store.dirty.table.values()]

    def replay(self) -> bool:
        """Somebody retries what is parked, and projects all anew if EHR or policy are other than before; once each."""
        parked = {letter.subject for letter in self.store.dead_letters.table.values() if letter.kind.value == "study"}
        late, self.late = self.late, False
        again = [p.study for p in self.store.projections.table.values() if late or p.study.key in parked]
        self.study_messages += [(study, 2) for study in again]
        return bool(again)

    # The end state.

    def state(self) -> dict[str, Any]:
        """Everything that must not depend on the schedule."""
        return {
            "fhir": {(r["resourceType"], r["id"]): canonical(self._comparable(r)) for r in self.fhir.resources()},
            "dead letters": {(d.kind, d.subject, d.code) for d in self.store.dead_letters.table.values()},
            "ledger": {
                (row.record.study.key, row.object_key, row.record.sop_instance_uid, row.order)
                for table in self.store.ledger.studies.values()
                for row in table.values()
            },
            "patients": {(row.patient_key, row.study.key) for row in self.store.patients.table.values()},
            "outstanding": len(self.store.dirty.table.values()),
            "announced": {p.study.key for p in self.store.projections.table.values() if p.announced},
            "untold": self._untold(),
        }

    def _untold(self) -> set[str]:
        """Studies of which the last result event did not reach the topic, though all is quiet."""
        self.clock.advance(100)
        services = self._services(step=False)
        while self.store.outbox.table.values():
            run(announcing.sweep_outbox(services))
        told = {event.id for event in self.topic.events}
        rows = [row for row in self.store.projections.table.values() if row.announcements]
        return {row.study.key for row in rows if _last_event(row) not in told}

    def _comparable(self, resource: dict[str, Any]) -> dict[str, Any]:
        meta = {k: v for k, v in resource["meta"].items() if k != "versionId"}
        body = {**resource, "meta": meta}
        if self.ehr and resource["id"] == self.ehr.study:
            # Without instances it is as we found it, or cancelled if we ever wrote it: both are right.
            left = self.store.ledger.studies.get(StudyRef(study_instance_uid="2.25.2").key)
            return body if left and left.values() else {"note": resource.get("note"), "subject": resource["subject"]}
        if resource["id"].startswith("ehr"):
            return self._comparable_person(body)
        return {k: v for k, v in body.items() if k != "note"}  # a note of somebody goes with a study that goes

    def _comparable_person(self, person: dict[str, Any]) -> dict[str, Any]:
        """Leave out of an EHR's Patient what former rows, or a former policy, may have left there for good."""
        said = [row for row in self.store.patients.table.values() if row.patient_key == f"linked.{person['id']}"]
        said = [row for row in said if not row.attributes.get("PatientIdentityRemoved")]
        stated = {"name"} if said else set()
        if any(row.attributes.get("PatientSex") for row in said):
            stated.add("gender")
        uncertain = {"name", "gender"} - stated if self.policies != {"link-or-create"} else set()
        return {k: v for k, v in person.items() if k not in uncertain}


def _last_event(row: Projection) -> str:
    return digest("study", row.study.key, str(row.announcements), row.announced)


SETTINGS = Settings(
    fhir_url="http://localhost/fhir", AzureWebJobsStorage="UseDevelopmentStorage=true", quiet_period=0, max_wait=0
)


def clean_state(world: World) -> dict[str, Any]:
    """Return the state of a new world that sees the final objects once, without any fault."""
    clean = World(random.Random(0), Faults(), ehr=world.ehr, policy=world.policy)
    clean.policies = world.policies
    clean.objects = world.objects
    services = clean._services(step=False)
    for ref in world.objects.refs():
        run(pipeline.ingest(Change(object=ref, action=Action.CREATED), services))
    for study in [dirty.study for dirty in clean.store.dirty.table.values()]:
        clean.clock.advance(100)
        run(handling.handle_study_message(study_message(study), services))
    return clean.state()


def run(steps: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits for anything."""
    try:
        while True:
            steps.send(None)
    except StopIteration as done:
        return done.value


def play(world: World, changes: list[tuple[str, Content | bytes | None]]) -> str | None:
    """
    Play one schedule to its end.

    Returns
    -------
    str or None
        What is wrong with the end state; None when all is well.
    """
    rng, pending = world.rng, list(changes)
    for _ in range(MAX_STEPS):
        world.collect_messages()
        if not (pending or world.actors or world.object_messages or world.study_messages):
            if world.store.dirty.table.values():
                world.sweep()
            elif world.next_policy:
                world.switch()
            elif not world.replay():
                return difference(world)
            continue
        _one_step(world, pending, rng)
    return "no progress"


def _one_step(world: World, pending: list[tuple[str, Content | bytes | None]], rng: random.Random) -> None:
    room = len(world.actors) < 4
    choices = ["step"] * (3 if world.actors else 0)
    busy = bool(world.actors or world.object_messages or world.study_messages)
    choices += ["change"] if pending and (not busy or rng.random() < world.faults.haste) else []
    choices += ["object"] if world.object_messages and room else []
    choices += ["study"] if world.study_messages and room else []
    choices += ["sweep"] if _may_sweep(world) else []
    choices += ["note"] if world.faults.notes and busy else []
    choices += ["admit"] if world.ehr and not world.ehr.knows_p1 and busy and rng.random() < 0.05 else []
    choices += ["switch"] if world.next_policy and busy and rng.random() < 0.05 else []
    match rng.choice(choices or ["none"]):
        case "change":
            world.change(*pending.pop(0))
        case "object":
            world.start_object(*world.object_messages.pop(rng.randrange(len(world.object_messages))))
        case "study":
            world.start_study(*world.study_messages.pop(rng.randrange(len(world.study_messages))))
        case "sweep":
            world.faults.sweeps -= 1
            world.sweep()
        case "note":
            world.faults.notes -= 1
            world.note()
        case "admit":
            world.admit()
        case "switch":
            world.switch()
        case "step":
            actor = rng.choice(world.actors)
            if world.faults.crashes and rng.random() < world.faults.crash_rate:
                world.faults.crashes -= 1
                world.crash(actor)
            else:
                world.step(actor)


def _may_sweep(world: World) -> bool:
    room = len(world.actors) + len(world.study_messages) < 4
    return bool(world.store.dirty.table.values()) and room and world.faults.sweeps > 0


def difference(world: World) -> str | None:
    """Compare with a clean world that sees only the objects as they are now; None when nothing differs."""
    got, wanted = world.state(), clean_state(world)
    wrong = [f"{part}: {got[part]} instead of {wanted[part]}" for part in wanted if got[part] != wanted[part]]
    return "; ".join(wrong) or drift(world)


def drift(world: World) -> str | None:
    """Verify the world as it is; None when every study and everything that FHIR lists is as it should be."""
    services = world._services(step=False)
    studies = [projection.study for projection in world.store.projections.table.values()]
    found = [run(look_at_study(study, services)) for study in studies]
    found += [run(look_at_stranger(listed, services)) for listed in world.fhir.resources()]
    wrong = [each for each in found if each is None or each]
    return f"drift: {wrong}" if wrong else None


CONTENTS: tuple[Content | bytes | None, ...] = (
    Content("1", "P1", "11"),
    Content("1", "P1", "12"),
    Content("2", "P1", "21"),
    Content("1", "P2", "11"),
    Content("2", "P2", "21"),
    Content("1", "P1", "13", document=True),
    Content("2", "P2", "13", document=True),
    UNREADABLE,
    None,
)
"""What objects hold: two studies that share patients, instances that change theirs, and a document that moves."""


@dataclass(frozen=True)
class Scenario:
    """What a family of schedules is made of; each schedule picks one of every tuple."""

    contents: tuple[Content | bytes | None, ...] = CONTENTS
    names: tuple[int, ...] = (1, 2, 2, 3)
    changes: tuple[int, ...] = (1, 2, 3, 4)
    crashes: tuple[int, ...] = (0, 1, 2, 3)
    crash_rate: tuple[float, ...] = (0.05, 0.2)
    timeouts: tuple[int, ...] = (0, 0, 1, 2)
    sweeps: tuple[int, ...] = (0, 2, 5)
    haste: tuple[float, ...] = (0.03, 0.2, 1.0)
    refusals: tuple[int, ...] = (0,)
    notes: tuple[int, ...] = (0,)
    ehr: bool = False
    policy: tuple[str, ...] = ("link-or-create",)
    next_policy: tuple[str | None, ...] = (None,)


SHARED = Scenario(refusals=(0, 0, 1, 2), notes=(0, 1, 3), ehr=True)
"""Somebody else writes to the same FHIR service, and it refuses a transaction now and then."""

POLICIES = ("link-or-create", "update", "reference-only")
UPDATE = replace(SHARED, contents=(*CONTENTS, Content("3", "P2", "31"), Content("4", "P2", "41")), policy=("update",))
REFERENCE_ONLY = replace(SHARED, policy=("reference-only",))
SWITCH = replace(UPDATE, policy=POLICIES, next_policy=POLICIES)
"""Somebody changes the policy while deliveries are under way."""


def schedule(
    seed: int,
    scenario: Scenario = Scenario(),
    *,
    pipeline_module: ModuleType = pipeline,
    handling_module: ModuleType = handling,
) -> str | None:
    """Build the world of a seed, play it, and say what is wrong in the end."""
    rng = random.Random(seed)
    names = ["a/1", "a/2", "b/3"][: rng.choice(scenario.names)]
    pool = rng.sample(scenario.contents, rng.randint(2, len(scenario.contents)))
    changes = [(name, rng.choice(pool)) for name in names for _ in range(rng.choice(scenario.changes))]
    rng.shuffle(changes)
    faults = Faults(
        crashes=rng.choice(scenario.crashes),
        crash_rate=rng.choice(scenario.crash_rate),
        timeouts=rng.choice(scenario.timeouts),
        duplicates=rng.choice([0, 0.3]),
        sweeps=rng.choice(scenario.sweeps),
        haste=rng.choice(scenario.haste),
    )
    if scenario.ehr:
        faults.refusals, faults.notes = rng.choice(scenario.refusals), rng.choice(scenario.notes)
    ehr = Ehr(knows_p1=rng.random() < 0.3) if scenario.ehr else None
    world = World(
        rng,
        faults,
        pipeline=pipeline_module,
        handling=handling_module,
        varied=True,
        ehr=ehr,
        policy=_pick(rng, scenario.policy),
        next_policy=_pick(rng, scenario.next_policy),
    )
    return play(world, changes)


def _pick(rng: random.Random, values: tuple[Any, ...]) -> Any:
    """Choose; a single value takes nothing from the generator, so that seeds keep their schedules."""
    return rng.choice(values) if len(values) > 1 else values[0]
