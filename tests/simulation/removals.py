"""
The ceiling on removals in random order: objects go, workers race and die, and a ledger is lost beside them.

Whatever happens, no more studies go than the ceiling allows until an operator confirms; then all of them do.
"""

from __future__ import annotations

import random
from dataclasses import replace
from types import ModuleType

from sync import pipeline
from sync.delivery import handlers
from sync.errors import RemovalHeld
from sync.model import Change, StudyRef
from sync.ports import Services
from sync.protocol.removals import WINDOW, read_ceiling
from tests.simulation.contents import Content
from tests.simulation.mutants import Mutant
from tests.simulation.stepping import new_caches, run
from tests.simulation.world import Actor, Faults, World

STUDIES = 6
LIMIT = 2
_MOST_STEPS = 20_000


class CeilingWorld(World):
    """Studies of one object each, under a low ceiling; a refusal becomes a dead letter as in deliveries."""

    def new_services(self, *, step: bool) -> Services:
        """Return the ports, with the ceiling."""
        services = super().new_services(step=step)
        return replace(services, settings=services.settings.model_copy(update={"max_removals_per_hour": LIMIT}))

    def start_object(self, change: Change, attempt: int) -> None:
        """Deliver an event to a process of its own: deliveries of one process ask in turn."""
        self._start_process()
        steps = self.handling.handle_change(change, self.services, attempt=attempt)
        self.actors.append(Actor(steps, lambda: self.object_messages.append((change, attempt + 1))))

    def start_study(self, study: StudyRef, attempt: int) -> None:
        """Deliver a study to a process of its own."""
        self._start_process()
        super().start_study(study, attempt)

    def _start_process(self) -> None:
        self.services = replace(self.services, caches=new_caches())

    def studies(self) -> int:
        """Count the ImagingStudies."""
        return len(list(self.fhir.resources("ImagingStudy")))

    def held(self) -> set[str]:
        """Return the subjects whose removal is held."""
        return {letter.subject for letter in self.store.dead_letters.table.values() if letter.code == RemovalHeld.code}

    def play(self) -> None:
        """Deliver everything, some at once and in any order; workers die while the faults allow it."""
        for _ in range(_MOST_STEPS):
            self.collect_messages()
            if self.actors and (len(self.actors) == 4 or self.rng.random() < 0.7):
                self._go_on()
            elif self.object_messages:
                self.start_object(*self.object_messages.pop(self.rng.randrange(len(self.object_messages))))
            elif self.study_messages:
                self.start_study(*self.study_messages.pop(self.rng.randrange(len(self.study_messages))))
            elif self.actors:
                self._go_on()
            elif self.store.dirty.table.values():
                self.sweep()
            else:
                return
        self.never.append("it never came to an end")

    def _go_on(self) -> None:
        actor = self.rng.choice(self.actors)
        if self.faults.crashes and self.rng.random() < self.faults.crash_rate:
            self.faults.crashes -= 1
            self.crash(actor)
        else:
            self.step(actor)


def schedule(
    seed: int, *, pipeline_module: ModuleType = pipeline, handling_module: ModuleType = handlers
) -> str | None:
    """Play the schedule of a seed; return what is wrong."""
    rng = random.Random(seed)
    reset = pipeline_module.ensure_removable.__globals__["reset_ceiling"]  # of the module that a mutant edits
    faults = Faults(crashes=rng.choice((0, 0, 2, 4)), duplicates=rng.choice((0, 0.5)))
    w = CeilingWorld(rng, faults, pipeline=pipeline_module, handling=handling_module, pace=1.0)
    names = [f"{number}/1" for number in range(1, STUDIES + 1)]
    for number, name in enumerate(names, start=1):
        w.change(name, Content(str(number), f"P{number}", f"{number}1"))
    w.play()
    shown = w.clock.now()
    w.clock.advance(1)
    rng.shuffle(names)
    for name in names:
        w.change(name, None)
    events = list(w.object_messages)
    w.play()
    wrong = _not_held(w, "at once", rows=STUDIES - LIMIT)
    # An hour later, again, and rows are lost besides: nothing more goes, nor by what an older page confirms.
    w.clock.advance(2 * WINDOW.total_seconds())
    if rng.random() < 0.5:
        run(reset(w.new_services(step=False), approve=True, until=shown))
    w.object_messages = [(change, rng.choice((1, 2))) for change, _ in events]
    lost = rng.random() < 0.5
    for number in range(1, STUDIES + 1) if lost else ():
        study = StudyRef(study_instance_uid=f"2.25.{number}")
        for row in run(w.store.ledger.read(study)):
            run(w.store.ledger.delete(study, row.object_key))
        w.start_replay(study)
    w.play()
    wrong = wrong or _not_held(w, "an hour later", rows=0 if lost else STUDIES - LIMIT)
    w.clock.advance(1)
    run(reset(w.new_services(step=False), approve=True))
    w.object_messages += [(change, 2) for change, _ in events]
    w.play()
    if wrong is None and (w.studies(), w.held()) != (0, set()):
        wrong = f"{w.studies()} studies and {len(w.held())} dead letters are left of what was confirmed"
    if wrong is None and run(read_ceiling(w.new_services(step=False))).held_since is not None:
        wrong = "what was confirmed closed the ceiling again"
    return wrong or next(iter(w.never), None)


def _not_held(w: CeilingWorld, when: str, *, rows: int) -> str | None:
    if w.studies() != STUDIES - LIMIT:
        return f"{STUDIES - w.studies()} of {STUDIES} studies went {when}, allowed {LIMIT}"
    if (held := sum(len(table.values()) for table in w.store.ledger.studies.values())) != rows:
        return f"{held} rows are left {when}, not {rows}"
    return None if len(w.held()) >= STUDIES - LIMIT else f"{len(w.held())} dead letters tell of what is held {when}"


_ASK = "        await ensure_removable(before.study.key, SubjectKind.OBJECT, str(before.object.key), s)\n"
_CLAIMED = "            await _write_rows(claim, inspection, s)\n"

MUTANTS = [
    Mutant(
        "the place below the ceiling is taken under the ETag that was read",
        "sync.protocol.removals",
        "    await s.cursors.write(cursor, stored.etag if stored is not None else None)",
        "    now = await s.cursors.read(CURSOR)\n"
        "    await s.cursors.write(cursor, now.etag if now is not None else None)",
    ),
    Mutant(
        "no new window begins while removals are held",
        "sync.protocol.removals",
        "return self.held_since is None and (",
        "return (",
    ),
    Mutant(
        "a study counts once",
        "sync.protocol.removals",
        "        if key in ceiling.studies or key in ceiling.confirmed:\n            return True\n",
        "",
    ),
    Mutant(
        "the place is taken before the removal",
        "sync.protocol.removals",
        "        await _write(grown, stored, s)\n",
        "",
    ),
    Mutant(
        "what was held when an operator confirmed may go",
        "sync.protocol.removals",
        "        if is_approved is not None and await is_approved(ceiling):\n",
        "        if False:\n",
    ),
    Mutant(
        "a confirmation is of what was held when the page was shown",
        "sync.protocol.removals",
        "min(until or now, now) if approve",
        "now if approve",
    ),
    Mutant(
        "a ceiling that was reached after the page was shown stays closed",
        "sync.protocol.removals",
        "        opens = until is None or (before.held_since is not None and before.held_since <= until)\n",
        "        opens = True\n",
    ),
    Mutant(
        "what was confirmed takes no place below the ceiling",
        "sync.protocol.removals",
        "replace(ceiling, confirmed=(*ceiling.confirmed, key))",
        "replace(ceiling, studies=(*ceiling.studies, key), held_since=s.clock.now() if len(ceiling.studies) >= "
        "ceiling.limit else None)",
    ),
    Mutant(
        "an object's removal is asked for",
        "sync.pipeline",
        _ASK,
        "        pass\n",
    ),
    Mutant(
        "it is asked for before the claim",
        "sync.pipeline",
        _ASK,
        "        pass\n",
        more=(
            (
                _CLAIMED,
                "            if before and before.study and inspection.record is None:\n"
                "                await ensure_removable(\n"
                "                    before.study.key, SubjectKind.OBJECT, str(change.object.key), s\n"
                "                )\n" + _CLAIMED,
            ),
        ),
    ),
    Mutant(
        "a study's removal is asked for",
        "sync.pipeline",
        "                await ensure_removable(study.key, SubjectKind.STUDY, study.key, s)\n",
        "                pass\n",
    ),
    Mutant(
        "a held removal gets a dead letter",
        "sync.delivery.handlers",
        "                await dead_letter_delivery(change, refusal, s)\n",
        "                pass\n",
    ),
]
