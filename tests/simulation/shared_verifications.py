"""
A comparison of everything that several processes share, as `tests.simulation.shared_walks` plays a backfill.

Half a dozen things are wrong: a study is missing in FHIR, a Patient that several studies share was changed, an object
came without an event and another went, two resources have no record, a study is there twice more. What an earlier
round noted about another resource is right by now. Meanwhile the page of the study with the copies is opened again
and again.
However processes are killed, the report says each once; a repair puts all of it right, and deletes no more than it may.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

from sync.delivery.handlers import handle_change
from sync.errors import SyncError
from sync.mapping.resource import study_id
from sync.model import Change, Drift, DriftKind, StudyRef
from sync.verify.checking import Checker
from sync.verify.full_scan import Plan, ScanOutcome
from sync.verify.source import GRACE
from sync.verify.studies import check_study
from tests.simulation.shared_walks import CHAIN as WALKS
from tests.simulation.shared_walks import Port, Process, SharedWalk, real
from tests.walking import verified
from tests.worlds import ehr_study, patient_of

CHAIN = (
    *WALKS,
    "sync.verify.batches",
    "sync.verify.objects",
    "sync.verify.studies",
    "sync.verify.judge",
    "sync.verify.full_scan",
    "sync.verify.closing",
    "sync.walks.verification_parts",
    "sync.walks.verification",
)
"""Modules that import one another in this order."""

STUDIES = 6
LOST = [StudyRef(study_instance_uid=f"2.25.99{number}") for number in range(2)]
"""Studies that have a resource and no record."""

COPIES = ("copy-1", "copy-2")
"""Ids of ImagingStudies beside a study's own."""

EARLIER = "an earlier round"

WRONG = Counter(
    {
        DriftKind.MISSING: 1,
        DriftKind.FOREIGN_MODIFIED: 1,
        DriftKind.OBJECT_UNSEEN: 1,
        DriftKind.OBJECT_GONE: 1,
        DriftKind.ORPHANED: len(LOST),
        DriftKind.DOUBLED: len(COPIES),
    }
)


class Unheard:
    """Hears nothing."""

    def report(self, drift: Drift, *, repaired: bool) -> None:
        """Receive a drift."""

    def progress(self, phase: str, completed: int, fraction: float | None) -> None:
        """Receive how many are done."""


class _DiesDeleting:
    """A port of processes of which the first that deletes a copy dies at once, or after the next note of it."""

    def __init__(self, port: Port, process: Process, scene: SharedVerification) -> None:
        self._port, self._process, self._scene = port, process, scene

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in {"transact", "note"}:
            return method

        async def called(*args: Any) -> Any:
            copies = len(self._scene.copies())
            answer = await method(*args)
            self._scene.deleter = self._scene.deleter or (self._process if len(self._scene.copies()) < copies else None)
            if self._scene.deleter is self._process and name == self._scene.dies_after:
                self._process.dead = True
            return answer

        return called


async def _no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


@dataclass
class SharedVerification(SharedWalk):
    """
    One schedule; ``removals`` is None where nothing is repaired.

    ``dies_after`` is a call, ``transact`` or ``note``: the process that deletes the first copy dies after it.
    """

    modules: Mapping[str, ModuleType] = field(default_factory=lambda: real(CHAIN))
    objects: int = 17
    outside: bool = False
    removals: int | None = None
    dies_after: str = ""
    deleter: Process | None = None
    ticks: ClassVar = 150
    more_ports: ClassVar = ("drifts", "fhir", "projections")

    @property
    def plan(self) -> Plan:
        """What is asked for."""
        return Plan(repair=self.removals is not None, removals=self.removals or 0)

    @property
    def cursor(self) -> str:
        """Name of the walk's row."""
        name: str = self.asked().name
        return name

    def asked(self) -> Any:
        """Return the walk that is begun."""
        return self.modules["sync.walks.verification"].new_verification(self.plan, self.w.services.settings)

    def shown(self, name: str, port: Any, process: Process) -> Any:
        """Show the same as for a backfill; the deletion of a copy may also be the last call of a process."""
        shown = super().shown(name, port, process)
        return _DiesDeleting(shown, process, self) if self.dies_after and name in {"fhir", "drifts"} else shown

    def copies(self) -> list[str]:
        """Return those of the copies that are there."""
        return [name for name in COPIES if self.w.server.peek("ImagingStudy", name)]

    def kinds_of(self, process: Process) -> Mapping[str, Any]:
        """Return the kinds of a process."""
        module = self.modules["sync.walks.verification"]
        return {
            module.kind_for(module.KIND, process.services.settings): module.Verification(
                listing=Port(self.w.store.objects, process),
                services=process.services,
                checker=Checker(sleep=_no_pause, tries=2),
            )
        }

    def fill(self) -> None:
        """Store the objects, a folder a study, so that a page of the listing proves some of a study's right at once."""
        self.names = {f"{number % STUDIES}/{number:03}" for number in range(self.objects)}
        self.changes: list[Change] = []
        for number, name in enumerate(sorted(self.names)):
            study = f"2.25.{(int(name[0]) + 3) % STUDIES + 1}"
            self.changes.append(self.w.put(name, sop=f"2.25.{1000 + number}", study=study, PatientID="P1"))

    async def run(self) -> None:
        """Sync everything, introduce differences, and play the comparison to its end."""
        for change in self.changes:
            await handle_change(change, self.w.services)
        await self.w.settle()
        await self._go_wrong()
        verification = self.modules["sync.walks.verification"]
        with (
            patch.object(verification, "NAMES", 3),
            patch.object(verification, "PAGE", 2),
            patch.object(verification, "CHUNK", 2),
            patch.object(verification, "STUDIES_A_SLICE", 2),
            patch.object(verification, "REPAIRED_AT_ONCE", 1),
        ):
            page = asyncio.create_task(self._look_at_copies())
            try:
                await super().run()
            finally:
                page.cancel()

    async def _look_at_copies(self) -> None:
        """Conclude what a page finds of the study with the copies, which holds no lease, at any moment."""
        rng, study = random.Random(self.seed), StudyRef(study_instance_uid="2.25.2")
        while not self.dies_after:  # it would put right what the dead process had not noted
            judge = self.modules["sync.verify.judge"].Judge(self.w.services, found_in="a page")
            await judge.load(study.key)
            for _ in range(rng.randrange(100)):
                await asyncio.sleep(0)
            with suppress(SyncError):
                if drifts := await check_study(study, self.w.services):
                    await judge.conclude(study.key, drifts, drifts)

    async def _go_wrong(self) -> None:
        def of(uid: str) -> StudyRef:
            return StudyRef(study_instance_uid=uid)

        w = self.w
        study = w.imaging_study(of("2.25.2"))
        for name in COPIES:
            w.create({**study, "id": name})
        for lost in LOST:
            w.create({**study, "id": study_id(lost), "identifier": ehr_study("x", lost)["identifier"]})
        w.erase("ImagingStudy", study_id(of("2.25.1")))
        w.edit("Patient", patient_of("P1"), gender="other")
        w.put("9/unseen", sop="2.25.9000", study="2.25.3", PatientID="P1")
        w.store.objects.delete(w.ref("1/013"))  # of study 2.25.5, whose others are right
        w.clock.advance(GRACE + 1)
        address = f"Patient/{patient_of('gone')}"
        old = Drift(subject=address, kind=DriftKind.ORPHANED, resource=address, found_in=EARLIER)
        await w.services.drifts.note(address, [old], w.clock.now())

    async def _trouble(self) -> None:
        await (self.calm() if self.dies_after else super()._trouble())  # begun once, so that the bound is strict

    async def calm(self) -> None:
        """Calm the world as for a backfill; a batch, which is many requests, also ends before its lease does."""
        await super().calm()
        for _ in range(400):
            await asyncio.sleep(0)

    async def check(self) -> None:
        """Check that the report names each difference once, and that a repair leaves none."""
        row = await self._row()
        outcome = self.modules["sync.walks.verification"].outcome_of(row.counts)
        noted = Counter([drift.kind async for drift in self.w.services.drifts.all()])
        await self.modules["sync.walks.sharing"].end_walks(self.w.services)
        left = [cursor.name for cursor in self.w.store.cursors.table.values() if cursor.name.startswith("slice ")]
        assert left == []
        if self.removals is None:
            assert Counter(outcome.found) == WRONG, outcome
            assert outcome.studies == STUDIES
            assert row.counts["objects"] == self.objects
            assert set(noted) == set(WRONG)
        rounds = {drift.found_in async for drift in self.w.services.drifts.all()}
        assert EARLIER not in rounds
        if self.removals is not None:
            await self._check_repair(outcome)

    async def _check_repair(self, outcome: ScanOutcome) -> None:
        assert self.removals is not None
        gone = len(COPIES) + len(LOST) - len(self._kept())
        assert gone <= self.removals * self.begun, f"{gone} deleted, {self.removals} allowed, {self.begun} times"
        await self._project_outstanding()
        if outcome.busy:  # what a killed process had marked was left to the timers, and is for the next round
            await verified(self.w, self.plan, Unheard(), Checker(sleep=_no_pause))
        kept = self._kept()
        after = await verified(self.w, Plan(), Unheard(), Checker(sleep=_no_pause))
        assert after.found.total() == len(kept), (outcome, after)
        if self.removals >= len(COPIES) + len(LOST):
            assert kept == []

    def _kept(self) -> list[str]:
        lost = [name for name in map(study_id, LOST) if self.w.server.peek("ImagingStudy", name)]
        return [*self.copies(), *lost]

    async def _project_outstanding(self) -> None:
        await self.w.settle()
        for dirty in self.w.outstanding():
            await self.w.project(dirty.study, redelivered=True)


def play(seed: int, **more: Any) -> None:
    """Play one schedule to its end."""
    asyncio.run(SharedVerification(seed=seed, **more).run())
