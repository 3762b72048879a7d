"""
An export that several processes share, as `tests.simulation.shared_walks` plays a backfill.

Studies share Patients and an Endpoint, over all parts. The ledger changes meanwhile, so that a part that is written
again, or by a holder that was presumed dead, has another content.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

from sync.delivery.handlers import handle_change
from sync.mapping.resource import study_id
from sync.model import Change, StudyRef
from sync.testing.export_files import MemoryExportFiles
from tests.simulation.shared_walks import CHAIN as WALKS
from tests.simulation.shared_walks import Port, Process, SharedWalk, real
from tests.worlds import run

CHAIN = (*WALKS, "sync.walks.export_buckets", "sync.walks.export_parts", "sync.walks.exporting")
"""Modules that import one another in this order."""

STUDIES, PATIENTS = 6, 2


@dataclass
class SharedExport(SharedWalk):
    """One schedule; ``outside``: whether the ledger changes meanwhile."""

    modules: Mapping[str, ModuleType] = field(default_factory=lambda: real(CHAIN))
    objects: int = 12
    ticks: ClassVar = 100
    more_ports: ClassVar = ("projections", "patients")

    @property
    def cursor(self) -> str:
        """Name of the walk's row."""
        name: str = self.asked().name
        return name

    def asked(self) -> Any:
        """Return the walk that is begun."""
        module = self.modules["sync.walks.exporting"]
        return module.new_export("exports", self.w.services.settings, max_bytes=10**6)

    def kinds_of(self, process: Process) -> Mapping[str, Any]:
        """Return the kinds of a process."""
        module = self.modules["sync.walks.exporting"]
        kind = module.export_kind(process.services.settings)
        return {kind: module.Exporting(services=process.services, files=lambda _: Port(self.out, process))}

    def fill(self) -> None:
        """Store the objects."""
        self.out = MemoryExportFiles()
        self.changes: list[Change] = []
        for number, name in enumerate(sorted(self.names)):
            study = number % STUDIES
            change = self.w.put(
                name, sop=f"2.25.{1000 + number}", study=f"2.25.{study + 1}", PatientID=f"P{study % PATIENTS}"
            )
            self.changes.append(change)

    def change_something(self) -> None:
        """Another object of one of the studies arrives and is projected."""
        number = self.rng.randrange(1000)
        study = number % STUDIES
        change = self.w.put(
            f"9/{number}", sop=f"2.25.{5000 + number}", study=f"2.25.{study + 1}", PatientID=f"P{study % PATIENTS}"
        )
        run(self.w.ingest(change))
        run(self.w.project(StudyRef(study_instance_uid=f"2.25.{study + 1}"), redelivered=True))

    async def _trouble(self) -> None:
        if self.outside:
            self.change_something()
        await super()._trouble()

    async def run(self) -> None:
        """Sync everything, and play it to the end."""
        for change in self.changes:
            await handle_change(change, self.w.services)
        await self.w.settle()
        module = self.modules["sync.walks.exporting"]
        with (
            patch.object(module, "STUDIES_A_PART", 1),
            patch.object(module, "MOST_SLICES", 3),
            patch.object(module, "PARTS_A_BUCKET", 2),
            patch.object(module, "CHUNK", 2),
            patch.object(module, "expected_studies", _six),
        ):
            await super().run()

    async def calm(self) -> None:
        """As of a backfill; and a part, which is many requests, comes to its end before its lease does."""
        await super().calm()
        for _ in range(300):
            await asyncio.sleep(0)

    async def check(self) -> None:
        """Each resource is there once, in files that are as the manifest says; counted once too."""
        await self.modules["sync.walks.sharing"].end_walks(self.w.services)
        row = await self._row()
        folder = self.modules["sync.walks.exporting"].folder_of(row)
        manifest = json.loads(self.out.files[f"{folder}/manifest.json"])
        content = {file["name"]: self.out.files[f"{folder}/{file['name']}"] for file in manifest["files"]}
        digests = {file["name"]: file["sha256"] for file in manifest["files"]}
        assert {name: hashlib.sha256(bytes_).hexdigest() for name, bytes_ in content.items()} == digests
        resources = [json.loads(line) for file in content.values() for line in file.splitlines()]
        counter = Counter((resource["resourceType"], resource["id"]) for resource in resources)
        assert set(counter.values()) == {1}, counter
        studies = {study_id(StudyRef(study_instance_uid=f"2.25.{number + 1}")) for number in range(STUDIES)}
        assert {reference for kind, reference in counter if kind == "ImagingStudy"} == studies
        kinds = Counter(kind for kind, _ in counter)
        assert kinds["Patient"] == PATIENTS
        assert manifest["resources"] == kinds
        assert {name: number for name, number in row.counts.items() if number} == {"studies": STUDIES, **kinds}


async def _six(s: Any) -> int:
    return STUDIES


def play(seed: int, **more: Any) -> None:
    """Play one schedule to its end."""
    asyncio.run(SharedExport(seed=seed, **more).run())
