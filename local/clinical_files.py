"""A clinical world as files: FHIR as NDJSON, DICOM, and the truth; and its FHIR part sent to a server."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from insights.manifest import Manifest, write_manifest
from local.clinical_cases import Resource
from local.clinical_imaging import imaging
from local.clinical_world import AS_OF, Person, in_order, models, people, truth

_BATCH = 100
"""Entries of a transaction; Azure's FHIR service takes 500."""


def write_world(folder: Path, count: int) -> dict[str, Any]:
    """
    Write the first patients: ``fhir/*.ndjson``, ``dicom/clinical/*.dcm``, ``truth.json``; return the truth.

    The same count gives the same bytes.
    """
    world = list(people(count))
    _write_fhir(folder / "fhir", _resources(world))
    for sample in imaging(world):
        file = folder / "dicom" / sample.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sample.content)
    facts = truth(world)
    (folder / "truth.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return facts


async def send_world(fhir_url: str, world: Sequence[Person]) -> int:
    """
    Put the resources of people into a FHIR server, as their EHR would; idempotent. Return how many.

    Raises
    ------
    httpx.HTTPError
        The server does not answer, or refuses.
    """
    resources = _resources(world)
    async with httpx.AsyncClient(timeout=120) as client:
        for start in range(0, len(resources), _BATCH):
            entries = [
                {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
                for one in resources[start : start + _BATCH]
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            headers = {"Content-Type": "application/fhir+json"}
            (await client.post(fhir_url, json=bundle, headers=headers)).raise_for_status()
    return len(resources)


def _resources(world: Sequence[Person]) -> list[Resource]:
    return in_order([*models(), *(one for person in world for one in person.resources)])


def _write_fhir(folder: Path, resources: Sequence[Resource]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    by_type: dict[str, list[str]] = defaultdict(list)
    for one in resources:
        by_type[one["resourceType"]].append(json.dumps(one))
    for kind, lines in by_type.items():
        (folder / f"{kind}.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
    write_manifest(folder, Manifest.of_day(AS_OF))
