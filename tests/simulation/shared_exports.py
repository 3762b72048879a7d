"""
An export that several processes share, as `tests.simulation.shared_walks` plays a backfill.

Studies share Patients and an Endpoint, over all parts, and each study says something else of its Patient. The ledger
changes meanwhile, so that a part that is written again, or by a holder that was presumed dead, has another content; and
patients turn out to be others, so that no row is left of one whose studies are in parts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
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
from tests.worlds import other_ids, run

CHAIN = (
    *WALKS,
    "sync.walks.export_buckets",
    "sync.walks.export_manifests",
    "sync.walks.export_parts",
    "sync.walks.exporting",
)
"""Modules that import one another in this order."""

STUDIES, PATIENTS = 6, 2
RENAMED = 0.3
"""Share of changes from outside by which a patient has another ID."""


@dataclass
class SharedExport(SharedWalk):
    """One schedule; ``outside``: whether the ledger changes meanwhile."""

    modules: Mapping[str, ModuleType] = field(default_factory=lambda: real(CHAIN))
    objects: int = 12
    ticks: ClassVar = 100
    more_ports: ClassVar = ("projections", "patients")
    settings: ClassVar = {"dicomweb_url": "https://pacs.example/dicom-web"}

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
        self.ids = [f"P{number}" for number in range(PATIENTS)]
        self.objects = {name: 1000 + number for number, name in enumerate(sorted(self.names))}
        self.changes: list[Change] = [self._put(name, number) for name, number in self.objects.items()]

    def _put(self, name: str, number: int) -> Change:
        study = number % STUDIES
        said = {"PatientID": self.ids[study % PATIENTS], "OtherPatientIDsSequence": other_ids(f"O{study}")}
        return self.w.put(name, sop=f"2.25.{number}", study=f"2.25.{study + 1}", **said)

    def change_something(self) -> None:
        """Add another object to one of the studies and project it, or give a patient another ID."""
        number = self.rng.randrange(5000, 6000)
        if self.rng.random() < RENAMED:
            patient = number % PATIENTS
            self.ids[patient] = f"P{number}"
            changed = {name: object_ for name, object_ in self.objects.items() if object_ % PATIENTS == patient}
        else:
            changed = {f"9/{number}": number}
        self.objects |= changed
        for name, object_ in changed.items():
            run(self.w.ingest(self._put(name, object_)))
        for study in sorted({object_ % STUDIES for object_ in changed.values()}):
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
        """Calm the world as for a backfill; a part, which is many requests, also ends before its lease does."""
        await super().calm()
        for _ in range(300):
            await asyncio.sleep(0)

    async def check(self) -> None:
        """Check that each resource is there once, in files that are as the manifest says, and counted once."""
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
        # Patients of which a study was written, and of two parts each may have met another one.
        subjects = [resource["subject"]["reference"] for resource in resources if "subject" in resource]
        assert {f"Patient/{name}" for kind, name in counter if kind == "Patient"} == set(subjects)
        if not self.outside:
            assert _patients(resources) == _patients(self.w.server.resources())
        assert manifest["resources"] == kinds
        assert {name: number for name, number in row.counts.items() if number} == {"studies": STUDIES, **kinds}


def _patients(resources: Iterable[Any]) -> list[Any]:
    """Return what Patients say, but for their versions."""
    patients = [resource for resource in resources if resource["resourceType"] == "Patient"]
    said = [{element: value for element, value in one.items() if element != "meta"} for one in patients]
    return sorted(said, key=lambda one: str(one["id"]))


async def _six(s: Any) -> int:
    return STUDIES


def play(seed: int, **more: Any) -> None:
    """Play one schedule to its end."""
    asyncio.run(SharedExport(seed=seed, **more).run())
