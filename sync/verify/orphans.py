"""
Checks FHIR's own list of resources for those with an id of the sync but without a record.

Recorded resources are checked with their studies. Only here are resources found that another state account, an older
installation or a restored backup left behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sync.mapping.resource import study_id
from sync.model import Drift, DriftKind, Resource, StudyRef
from sync.model.circles import Passed, followed
from sync.model.elements import parts, text
from sync.ports import Compare, Deliver
from sync.verify.studies import check_study

LISTED = ("ImagingStudy", "Patient")
"""Types that hold resources with ids of ours, in the order in which they may go: a study before its Patient."""

_OURS = re.compile(r"(?:is|pt)-([0-9a-f]{40})")
_UID = re.compile(r"urn:oid:(.+)", re.DOTALL)


async def check_orphan(listed: Resource, s: Deliver, *, objects: bool = True) -> Sequence[Drift] | None:
    """
    Inspect one listed resource once. Writes nothing.

    Returns
    -------
    list or None
        The drifts; empty when the resource is not ours, or is checked with its study. None while work on it is pending.
    """
    ours = _OURS.fullmatch(str(listed.get("id", "")))
    if ours is None:
        return []
    if listed.get("resourceType") == "ImagingStudy":
        return await _study(listed, ours[1], s, objects=objects)
    return await _patient(listed["id"], ours[1], s) if listed.get("resourceType") == "Patient" else []


def study_of(listed: Resource) -> StudyRef | None:
    """Return the study for which the id of an ImagingStudy was made; None when its identifiers do not say."""
    for identifier in parts(listed, "identifier"):
        uid = _UID.fullmatch(text(identifier, "value"))
        if uid is not None and study_id(study := StudyRef(study_instance_uid=uid[1])) == listed.get("id"):
            return study
    return None


async def _study(listed: Resource, key: str, s: Deliver, *, objects: bool) -> Sequence[Drift] | None:
    if await s.projections.find(key) is not None:
        return []
    study = study_of(listed)
    if study is not None and (await s.dirty.read(study) is not None or await s.ledger.read(study)):
        return await check_study(study, s, objects=objects)
    held = await s.fhir.read("ImagingStudy", listed["id"])
    if held is None or await s.projections.find(key) is not None:
        return []
    return [_orphan(listed["id"], "ImagingStudy")]


async def _patient(resource_id: str, key: str, s: Compare) -> Sequence[Drift]:
    """Find a Patient of ours without rows. One to which an ImagingStudy refers is removed with it, or has to stay."""
    if await s.patients.read(key):
        return []
    if await _is_subject(f"Patient/{resource_id}", s):
        return []
    if await s.fhir.read("Patient", resource_id) is None or await s.patients.read(key):
        return []
    return [_orphan(resource_id, "Patient")]


async def _is_subject(reference: str, s: Compare) -> bool:
    """Return whether an ImagingStudy refers to the Patient; a page may be empty although others follow."""
    page, passed = await s.fhir.page("ImagingStudy", subject=reference), Passed()
    while not page.resources and page.following is not None:
        passed = followed(passed, page.following)
        page = await s.fhir.page("ImagingStudy", page.following)
    return bool(page.resources)


def _orphan(resource_id: str, resource_type: str) -> Drift:
    address = f"{resource_type}/{resource_id}"
    return Drift(subject=address, kind=DriftKind.ORPHANED, resource=address, detail="no record")
