"""
Random schedules over dead letters: things fail for several reasons, and operators retry and discard meanwhile.

    an object that is no DICOM file, until it is replaced                the event of the new one is lost
    a defect that an object or a study meets, until it is repaired       no event: messages are poison by then
    a study that FHIR refuses, until it does no more                     no event
    a container that is not configured, until it is                      no event
    a message that cannot be parsed                                      for ever

Deliveries, retries, discards, replays and deaths at any port call run beside one another. When all is quiet, whatever
is not as it should be has a dead letter; when the causes are repaired and everything is retried, it is as it should be,
and no dead letter is left. A discard never removes a dead letter that the operator has not seen, and is audited.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

from sync.dead_letters import actions
from sync.dead_letters.actions import Selection
from sync.delivery import handlers
from sync.errors import SyncError
from sync.events import Sources, study_message
from sync.model import Action, Change, DeadLetter, ObjectRef, StudyRef, SubjectKind
from sync.ports import Services
from sync.protocol.claims import studies_of
from sync.protocol.dirty_studies import mark_bypassing_cache
from sync.testing.clock import ManualClock
from sync.testing.fhir import MemoryFhirServer
from sync.testing.objects import MemoryObjects
from sync.testing.store import MemoryStore
from sync.verify.studies import check_study
from tests.simulation.contents import UNREADABLE, Content, dicom_file
from tests.simulation.dead_letter_ports import Fhir, Key, Objects, Operator
from tests.simulation.scheduling import Stepping, Turns
from tests.simulation.world import SETTINGS
from tests.worlds import events, ports_of

MAX_STEPS = 6_000
MOST_ATTEMPTS = 3
"""After this number of attempts a message is poison."""

GARBAGE = "Doe^Jane"
CONTAINERS = ("dicom", "more")
CONTENTS = (Content("1", "P1", "11"), Content("1", "P1", "12"), Content("2", "P2", "21"), UNREADABLE, UNREADABLE)
STUDIES = tuple(StudyRef(study_instance_uid=f"2.25.{n}") for n in "12")


class LetterWorld:
    """Everything in memory, and what the outside does to it."""

    def __init__(self, seed: int, *, discards: bool, actions: ModuleType, handlers: ModuleType) -> None:
        self.rng = random.Random(seed)
        self.slots = Turns(self.rng)
        self.actions, self.handlers, self.discards = actions, handlers, discards
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.objects = self.store.objects = MemoryObjects(self.clock, containers=CONTAINERS)
        self.server = MemoryFhirServer(azure=True)
        self.defects: set[ObjectRef] = set()
        self.refused: set[StudyRef] = set()
        self.stuck: set[StudyRef] = set()
        self.containers = {"dicom"}
        self.object_messages: list[tuple[str, int]] = []
        self.study_messages: list[tuple[str, int]] = []
        self.poison: list[tuple[str, str]] = []
        """Queue and text."""
        self.operators = 0
        self.asked: set[str] = set()
        """Operators who had something looked at again."""
        self.wrong: list[str] = []
        self.discarded: dict[Key, list[str]] = {}
        self.given_up: set[str] = set()
        """Names of objects and keys of studies with a discarded dead letter."""

    def process(self, **own: Any) -> Services:
        """Start a process on this state: every delivery may be one of another worker."""
        ports = {name: port for name, port in ports_of(self.store).items() if name not in ("clock", "queues")}
        ports |= {"objects": Objects(self.objects, self.defects), "fhir": Fhir(self.server, self.refused, self.stuck)}
        stepped = {name: Stepping(port, self.slots) for name, port in ports.items()}
        return Services(settings=SETTINGS, clock=self.clock, queues=self.store.queues, **{**stepped, **own})

    def plain(self) -> Services:
        """Return services that nothing holds up and nothing hinders."""
        ports = ports_of(self.store) | {"clock": self.clock, "fhir": self.server}
        return Services(settings=SETTINGS, **ports)

    @property
    def sources(self) -> Sources:
        return Sources(account="memory", containers=frozenset(self.containers))

    # What the outside does.

    def put(self, ref: ObjectRef, content: Content | bytes) -> Change:
        self.clock.advance(1)
        etag = self.objects.put(ref, content if isinstance(content, bytes) else dicom_file(content))
        return Change(object=ref, action=Action.CREATED, etag=etag, likely_new=True)

    def delete(self, ref: ObjectRef) -> Change:
        self.objects.delete(ref)
        return Change(object=ref, action=Action.DELETED)

    def happen(self) -> None:
        """Change one or two objects, with one message that reports it, perhaps twice."""
        changes = []
        for _ in range(self.rng.choice((1, 1, 2))):
            ref = self.rng.choice(REFS)
            gone = ref in self.objects.refs() and self.rng.random() < 0.15
            changes.append(self.delete(ref) if gone else self.put(ref, self.rng.choice(CONTENTS)))
        text = events(*changes)
        self.object_messages += [(text, 1)] * self.rng.choice((1, 1, 1, 2))

    def break_or_repair(self) -> None:
        """Let one of the causes come or go."""
        cause, what = self.rng.choice(
            [(self.defects, ref) for ref in REFS]
            + [(self.refused, study) for study in STUDIES]
            + [(self.stuck, study) for study in STUDIES]
            + [(self.containers, "more")] * 2
        )
        cause ^= {what}

    def repair(self) -> None:
        """Remove all causes, without an event."""
        for cause in (self.defects, self.refused, self.stuck):
            cause.clear()
        self.containers |= set(CONTAINERS)
        for number, ref in enumerate(self.objects.refs()):
            if self.objects._blobs[ref].data == UNREADABLE:
                self.put(ref, Content("1", "P1", f"3{number}"))

    # Who is under way.

    def deliver_object(self) -> int:
        text, attempt = self.object_messages.pop(self.rng.randrange(len(self.object_messages)))
        work = self.handlers.handle_object_message(text, self.sources, self.process(), attempt=attempt)
        return self.slots.start(work, lambda failure: self._again("objects", text, attempt, failure))

    def deliver_study(self) -> int:
        text, attempt = self.study_messages.pop(self.rng.randrange(len(self.study_messages)))
        work = self.handlers.handle_study_message(text, self.process(), attempt=attempt)
        return self.slots.start(work, lambda failure: self._again("studies", text, attempt, failure))

    def deliver_poison(self) -> int:
        queue, text = self.poison.pop(self.rng.randrange(len(self.poison)))
        work: Coroutine[Any, Any, None]
        if queue == "objects":
            work = self.handlers.handle_poison_object(text, self.sources, self.process())
        else:
            work = self.handlers.handle_poison_study(text, self.process())
        return self.slots.start(work, lambda failure: self.poison.append((queue, text)) if failure else None)

    def _again(self, queue: str, text: str, attempt: int, failure: BaseException | None) -> None:
        if failure is None:
            return
        if not isinstance(failure, (SyncError, asyncio.CancelledError)):
            raise failure
        if attempt >= MOST_ATTEMPTS:
            self.poison.append((queue, text))
        else:
            {"objects": self.object_messages, "studies": self.study_messages}[queue].append((text, attempt + 1))

    def operate(self) -> None:
        """Let an operator retry or discard one dead letter, those of a code, or all."""
        self.command(self._selection(), discards=self.discards and self.rng.random() < 0.4)

    def retry_all(self) -> None:
        self.command(Selection(), discards=False)

    def command(self, which: Selection, *, discards: bool) -> int:
        self.operators += 1
        who = f"operator {self.operators}"
        s = self.process(**Operator(self, who, discards=discards).ports())
        if discards:
            work = self.actions.discard(which, s, who=who, why="x")
        else:
            work = self.actions.retry(which, self.sources, s, who=who)
        return self.slots.start(work, self._over)

    def _over(self, failure: BaseException | None) -> None:
        if failure is not None and not isinstance(failure, (SyncError, asyncio.CancelledError)):
            raise failure

    def _selection(self) -> Selection:
        there = self.store.dead_letters.table.values()
        if not there or self.rng.random() < 0.3:
            return Selection()
        letter = self.rng.choice(there)
        if self.rng.random() < 0.5:
            return Selection(code=letter.code)
        return Selection(kind=letter.kind, subject=letter.subject)

    def replay(self) -> None:
        study = self.rng.choice(STUDIES)
        self.slots.start(mark_bypassing_cache(study, self.process()), self._over)

    def sweep(self) -> None:
        self.study_messages += [(study_message(dirty.study), 1) for dirty in self.store.dirty.table.values()]

    def collect(self) -> None:
        """Take what our own queues hold, whenever it is due."""
        self.clock.advance(1)
        self.object_messages += [(message.text, 1) for message in self.store.object_queue.messages]
        self.store.object_queue.messages.clear()
        self.study_messages += [(study_message(message.study), 1) for message in self.store.study_queue.messages]
        self.store.study_queue.messages.clear()

    # A schedule.

    async def chaos(self) -> None:
        """Let everything happen at once, for a while."""
        left = {"happen": self.rng.randint(2, 5), "break": self.rng.randint(0, 4), "operate": self.rng.randint(1, 5)}
        left |= {"replay": self.rng.randint(0, 2), "garbage": self.rng.randint(0, 1), "sweep": self.rng.randint(0, 2)}
        for _ in range(self.rng.randint(0, 3)):
            self.break_or_repair()
        crash_rate = self.rng.choice((0.0, 0.01, 0.03, 0.1))
        for _ in range(MAX_STEPS):
            self.collect()
            choices = [what for what, number in left.items() if number] + self._deliveries()
            if not choices and not self.slots.actors:
                return
            what = self.rng.choice(choices + ["step"] * (8 if self.slots.actors else 0))
            if what in left:
                left[what] -= 1
            await self._do(what, crash_rate)
        raise AssertionError("no progress")

    async def calm(self, *, crash_rate: float = 0.0) -> None:
        """Deliver until nothing is left, studies that wait included."""
        for _ in range(MAX_STEPS):
            self.collect()
            if not self.slots.actors and not self._deliveries():
                if not self.store.dirty.table.values():
                    return
                self.sweep()
            await self._do(self.rng.choice(self._deliveries() + ["step"] * (8 if self.slots.actors else 0)), crash_rate)
        raise AssertionError("no progress")

    def _deliveries(self) -> list[str]:
        if len(self.slots.actors) >= 4:
            return []
        waiting = {"object": self.object_messages, "study": self.study_messages, "poison": self.poison}
        return [what for what, messages in waiting.items() if messages]

    async def _do(self, what: str, crash_rate: float) -> None:
        match what:
            case "step":
                if self.rng.random() < crash_rate:
                    await self.slots.kill(self.rng.choice(self.slots.actors))
                else:
                    await self.slots.step()
                return
            case "garbage":
                self.object_messages.append((GARBAGE, 1))
            case "break":
                self.break_or_repair()
            case "object":
                self.deliver_object()
            case "study":
                self.deliver_study()
            case "poison":
                self.deliver_poison()
            case other:
                getattr(self, other)()
        await self.slots.rest()

    # What must be so.

    def concerned(self, letter: DeadLetter) -> set[str]:
        """Return names of objects and keys of studies that a dead letter is about."""
        if letter.kind is SubjectKind.STUDY:
            return {letter.subject}
        if letter.kind is SubjectKind.OBJECT:
            return {str(ref) for ref in REFS if str(ref.key) == letter.subject}
        return {str(ref) for ref in REFS if letter.message is not None and ref.name in letter.message}

    async def unaccounted(self) -> list[str]:
        """Tell what is not as it should be and has no letter, and letters that no success would clear."""
        letters = self.store.dead_letters.table.values()
        told = set[str]().union(*map(self.concerned, letters)) | self.given_up
        # A delivery that died under way may not have told the object's studies; a retry of its letter does.
        rows = [row for row in self.store.locators.table.values() if not row.settled and str(row.object) in told]
        told |= {study.key for row in rows for study in studies_of(row)}
        problems = [f"{ref.name} has no letter" for ref in REFS if not self._is_right(ref) and str(ref) not in told]
        s = self.plain()
        for key in self._studies() - told:
            projection = await self.store.projections.find(key)
            study = projection.study if projection else next(ref for ref in STUDIES if ref.key == key)
            if await check_study(study, s, objects=False):
                problems.append(f"study {study.study_instance_uid} has no letter")
        return problems + [
            f"nothing would clear a letter of {letter.code}" for letter in letters if not self._is_known(letter)
        ]

    def _studies(self) -> set[str]:
        held = {key for key, rows in self.store.ledger.studies.items() if rows.values()}
        return held | {row.study.key for row in self.store.projections.table.values()}

    def _is_right(self, ref: ObjectRef) -> bool:
        """Return whether the object was inspected to the end in its present state, and is an instance or gone."""
        known = self.store.locators.table.get(ref.key)
        there = self.objects._blobs.get(ref)
        if known is None:
            return there is None
        as_it_is = known.value.settled and known.value.etag == (there.etag if there else None)
        return as_it_is and (there is None or known.value.study is not None)

    def _is_known(self, letter: DeadLetter) -> bool:
        """Return whether the rows know of the dead letter, so that the subject's next success clears it."""
        if letter.kind is SubjectKind.OBJECT:
            return any(row.has_dead_letter for row in self.store.locators.table.values() if _is_of(letter, row.object))
        if letter.kind is SubjectKind.STUDY:
            row = self.store.projections.table.get(letter.subject)
            return row is not None and row.value.error is not None
        return True

    async def untraced(self) -> list[str]:
        """Tell of discards and retries that the audit trail does not have."""
        trail = await self.store.audit.newest(10_000)
        noted = {(entry.who, entry.subject) for entry in trail}
        missing = [
            f"{who} discarded a letter without a trace"
            for (kind, subject), people in self.discarded.items()
            for who in people
            if (who, f"{kind.value} {subject}") not in noted
        ]
        names = {entry.who for entry in trail}
        return missing + [f"{who} retried without a trace" for who in self.asked - names]


def _is_of(letter: DeadLetter, ref: ObjectRef) -> bool:
    return str(ref.key) == letter.subject


REFS = tuple(
    ObjectRef(account="memory", container=container, name=name)
    for container, name in (("dicom", "a/1"), ("dicom", "a/2"), ("more", "b/3"))
)


Script = Callable[[LetterWorld], Coroutine[Any, Any, None]]


async def _play(world: LetterWorld) -> list[str]:
    await world.chaos()
    await world.calm()
    wrong = await world.unaccounted()
    world.repair()
    for round_number in range(6):
        world.retry_all()
        await world.slots.rest()
        await world.calm(crash_rate=0.03 if round_number < 2 else 0.0)
    wrong += await world.unaccounted()
    left = {letter.code for letter in world.store.dead_letters.table.values() if letter.message != GARBAGE}
    wrong += [f"a letter of {code} is left" for code in left]
    return wrong + world.wrong + await world.untraced()


def schedule(seed: int, *, discards: bool, actions: ModuleType = actions, handlers: ModuleType = handlers) -> list[str]:
    """Play the schedule of a seed; return what is wrong at the end."""
    world = LetterWorld(seed, discards=discards, actions=actions, handlers=handlers)
    return asyncio.run(_play(world))


def interleaving(script: Script, *, actions: ModuleType = actions, handlers: ModuleType = handlers) -> list[str]:
    """Play a single interleaving, too rare for random schedules to meet soon; return what is wrong at the end."""

    async def played() -> list[str]:
        world = LetterWorld(0, discards=False, actions=actions, handlers=handlers)
        await script(world)
        await world.calm()
        return [*await world.unaccounted(), *world.wrong, *await world.untraced()]

    return asyncio.run(played())
