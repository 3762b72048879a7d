"""
Writes, repairs and deletes the resources that single instances produce: reports, doses, measurements.

They are built from the study's rows like all other resources. The projection row names each one before it is first
written and never forgets one, because an attempt that died, or lost a race, may have written any of them. So the row
alone identifies all derived resources of a study in FHIR, and no other resource is ever touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sync.mapping.ownership import Ownership, differs, overlay
from sync.mapping.resource import content_hash, unstamped, version_of
from sync.model import FhirWrite, Resource
from sync.ports import Compare
from sync.projection.deletion import delete_unreferenced

_REFERRING_FIRST = ("DocumentReference", "DiagnosticReport", "Observation")

RETRACTED = "entered-in-error"
"""R4 status, shared by all these types, of content that is not true: for a resource that references of others keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedChanges:
    """The writes, the resources to delete (as ``Type/id``), and the projection row's entries afterwards."""

    writes: Sequence[FhirWrite]
    gone: Sequence[str]
    recorded: Mapping[str, str]


def reference_to(resource: Resource) -> str:
    """Return the relative reference, ``Type/id``."""
    return f"{resource['resourceType']}/{resource['id']}"


def noted(recorded: Mapping[str, str], expected: Iterable[Resource]) -> Mapping[str, str]:
    """Return the entries that the row must hold before any write: all earlier ones, and the names of new resources."""
    return {**dict.fromkeys(map(reference_to, expected), ""), **recorded}


async def compare_derived(
    expected: Sequence[Resource], recorded: Mapping[str, str], s: Compare, *, trust: bool
) -> DerivedChanges:
    """
    Compare the expected resources with those in FHIR. Only reads.

    Parameters
    ----------
    expected
        All derived resources of the study, each before those that refer to it.
    recorded
        The projection row's entries when the attempt began.
    trust
        Whether to trust ``recorded`` instead of reading the server; then only resources to update are read, to keep
        elements of others.
    """
    hashes = {reference_to(resource): content_hash(resource) for resource in expected}
    changed = [reference for reference, digest in hashes.items() if recorded.get(reference) != digest]
    to_read = [reference for reference in changed if reference in recorded] if trust else [*{**recorded, **hashes}]
    held = dict(zip(to_read, await s.fhir.read_all(to_read), strict=True)) if to_read else {}
    existing = [reference for reference in recorded if (recorded[reference] if trust else held[reference])]
    to_compare = [resource for resource in expected if not trust or reference_to(resource) in changed]
    writes = [_write_of(held.get(reference_to(resource)), resource) for resource in to_compare]
    return DerivedChanges(
        writes=[write for write in writes if write is not None],
        gone=sorted((reference for reference in existing if reference not in hashes), key=_referring_first),
        recorded={**dict.fromkeys(recorded, ""), **hashes},
    )


def _referring_first(reference: str) -> tuple[int, int, str]:
    """Order resources for deletion, each after those that refer to it; a part has a longer id than its group."""
    return _REFERRING_FIRST.index(reference.partition("/")[0]), len(reference), reference


def _write_of(held: Resource | None, expected: Resource) -> FhirWrite | None:
    kind = expected["resourceType"]
    if held is None:
        return FhirWrite(resource_type=kind, resource_id=expected["id"], resource=expected)
    merged = overlay(held, expected, Ownership.of_derived(expected))
    if not differs(held, merged):
        return None
    return FhirWrite(resource_type=kind, resource_id=held["id"], resource=merged, if_match=version_of(held))


async def retire(obsolete: Sequence[str], s: Compare) -> bool:
    """
    Delete resources whose instances are gone; a resource that others refer to becomes ``entered-in-error``. Idempotent.

    Returns
    -------
    bool
        Whether anything was written.
    """
    if not obsolete:
        return False
    referenced = await delete_unreferenced(obsolete, s)
    retracted = [await _retract(reference, s) for reference in referenced]
    return len(referenced) < len(obsolete) or any(retracted)


async def _retract(reference: str, s: Compare) -> bool:
    kind, resource_id = reference.split("/")
    held = await s.fhir.read(kind, resource_id)
    if held is None or held.get("status") == RETRACTED:
        return False
    body = {**unstamped(held), "status": RETRACTED}
    write = FhirWrite(resource_type=kind, resource_id=resource_id, resource=body, if_match=version_of(held))
    await s.fhir.transact([write])
    return True
