"""
Reads the sample studies back from a FHIR server by plain searches, and compares them with the expected resources.

Only studies that are expected are inspected: the server may hold others. Reading changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from local.samples import Expectation, Studies
from sync.words import counted

_PAGE = 50
_FRESH = {"Cache-Control": "no-cache", "Accept": "application/fhir+json"}
"""Servers may answer searches from a cache otherwise."""


@dataclass(frozen=True, slots=True)
class Held(Studies):
    """Expected studies as the server has them."""

    patients: frozenset[str]
    """Ids of the Patients that the studies refer to and that exist."""


async def read_back(fhir_url: str, expected: Expectation) -> Held:
    """
    Search the expected studies and their patients.

    Raises
    ------
    httpx.HTTPError
        The server does not answer, or refuses.
    """
    studies: dict[str, Mapping[str, frozenset[str]]] = {}
    subjects: set[str] = set()
    async with httpx.AsyncClient(base_url=f"{fhir_url}/", headers=_FRESH, timeout=60) as client:
        for resource in await _search(client, "ImagingStudy", {"_count": str(_PAGE)}):
            uid = _study_uid(resource)
            if uid in expected.studies:
                studies[uid] = _series(resource)
                subjects.add(resource["subject"].get("reference", "").removeprefix("Patient/"))
        patients = await _search(client, "Patient", {"_count": str(_PAGE)})
    return Held(studies, frozenset(patient["id"] for patient in patients) & subjects)


def differences(expected: Expectation, held: Held, rejected: Mapping[str, int]) -> list[str]:
    """Return the differences from the expected state in words; empty without any. Counts only, no names."""
    missing = expected.studies.keys() - held.studies.keys()
    wrong = [uid for uid in held.studies if held.studies[uid] != expected.studies[uid]]
    problems = []
    if missing:
        problems.append(f"not in FHIR: {len(missing)} of {counted(len(expected.studies), 'study', 'studies')}")
    if wrong:
        problems.append(f"other series or instances than their files: {counted(len(wrong), 'study', 'studies')}")
    if len(held.patients) != expected.patients:
        problems.append(f"{counted(len(held.patients), 'patient')} instead of {expected.patients}")
    if dict(rejected) != dict(expected.rejected):
        problems.append(f"dead letters by code are {dict(rejected)} instead of {dict(expected.rejected)}")
    return problems


async def _search(client: httpx.AsyncClient, resource_type: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = []
    answer = await client.get(resource_type, params=dict(query))
    while True:
        page = answer.raise_for_status().json()
        resources += [entry["resource"] for entry in page.get("entry", []) if entry["search"]["mode"] == "match"]
        following = next((link["url"] for link in page.get("link", []) if link["relation"] == "next"), None)
        if following is None:
            return resources
        answer = await client.get(following)


def _study_uid(resource: Mapping[str, Any]) -> str:
    values = (one.get("value", "") for one in resource.get("identifier", []) if one.get("system") == "urn:dicom:uid")
    return str(next(values, "")).removeprefix("urn:oid:")


def _series(resource: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    return {
        series["uid"]: frozenset(instance["uid"] for instance in series.get("instance", []))
        for series in resource.get("series", [])
    }
