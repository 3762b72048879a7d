"""Compares the ImagingStudy: which elements of the stored resource the sync owns, and whether they are right."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sync.mapping.dicom_cast import ELEMENTS as CAST_ELEMENTS
from sync.mapping.dicom_cast import without_notes
from sync.mapping.ownership import Ownership, differs, has_foreign, overlay
from sync.mapping.resource import content_hash
from sync.model import FhirWrite, Resource
from sync.ports import Compare, Core
from sync.projection.held import Held, ProjectionAttempt, held_as

_OF_THE_ORDER = frozenset({"basedOn", "interpreter", "location", "procedureCode", "reasonCode", "referrer"})
"""Elements for which an order system has references and codes, and a DICOM header only names and texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyWrite:
    """The write that a study needs (None if it is right), and the state of the ImagingStudy afterwards."""

    write: FhirWrite | None
    content_hash: str | None
    foreign: bool = False
    elements: frozenset[str] = frozenset()


def elements_of_owner(p: ProjectionAttempt) -> frozenset[str]:
    """Return the elements of an adopted study that stay its owner's: the subject, and the data of the order."""
    if not p.held.adopted or p.held.resource is None:
        return frozenset()
    protected = _OF_THE_ORDER if p.held.taken_over else _OF_THE_ORDER | {"subject"}
    return frozenset(element for element in protected if element in p.held.resource and element not in p.elements)


async def compare_study(p: ProjectionAttempt, expected: Resource, s: Compare) -> StudyWrite:
    """Compare the study with FHIR; reads the server only when an update must keep elements of others."""
    digest = content_hash(expected)
    elements = frozenset(expected) - {"resourceType", "id", "meta"}
    held = p.held
    if held.resource is None and p.before is not None and held.version is not None:
        if p.before.content_hash == digest:
            return StudyWrite(write=None, content_hash=digest, foreign=p.before.foreign, elements=elements)
        if not p.before.foreign:
            return StudyWrite(write=put(expected, held), content_hash=digest, elements=elements)
        resource = await s.fhir.read("ImagingStudy", held.resource_id)
        held = held_as(p.study, resource) if resource is not None else replace(held, version=None)
    if held.resource is None:
        return StudyWrite(write=put(expected, held), content_hash=digest, elements=elements)
    merged = overlay(without_notes(held.resource, held.notes), expected, _owned(held, elements | p.elements, s))
    write = put(merged, held) if differs(held.resource, merged) else None
    return StudyWrite(write=write, content_hash=digest, foreign=has_foreign(merged, expected), elements=elements)


def put(resource: Resource, held: Held) -> FhirWrite:
    """Replace the stored ImagingStudy, if its version is still the one read."""
    body = {**resource, "id": held.resource_id}
    return FhirWrite(resource_type="ImagingStudy", resource_id=held.resource_id, resource=body, if_match=held.version)


def _owned(held: Held, written: frozenset[str], s: Core) -> Ownership:
    system = s.settings.study_id_system
    if held.taken_over:
        return Ownership.of_taken_over(former=CAST_ELEMENTS, written=written, study_id_system=system)
    return Ownership.of_study(adopted=held.adopted, written=written, study_id_system=system)
