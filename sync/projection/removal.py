"""Removes a study without instances: its ImagingStudy is deleted or cancelled."""

from __future__ import annotations

from dataclasses import replace

from sync.mapping.dicom_cast import is_made_by_cast
from sync.mapping.ownership import IMAGING_STUDY_ELEMENTS, Ownership, differs, overlay
from sync.mapping.resource import version_of
from sync.model import FhirWrite, Projection, Resource
from sync.ports import Compare, Core
from sync.projection.deletion import delete_unreferenced, put_back_if_referenced
from sync.projection.derived import compare_derived, retire
from sync.projection.held import ProjectionAttempt
from sync.projection.imaging_study import put


async def remove_study(p: ProjectionAttempt, s: Compare) -> tuple[Projection, bool]:
    """
    Delete the derived resources, and the ImagingStudy that we created or took over. Idempotent.

    An adopted ImagingStudy, or one to which others refer, becomes ``cancelled``.

    An ImagingStudy that we never wrote stays unchanged. One that stays is recorded as owned by others: the next attempt
    looks it up.

    Returns
    -------
    Projection
        The projection row to record.
    bool
        Whether anything was written to FHIR.
    """
    held = p.held
    derived = await compare_derived([], p.derived, s, trust=p.trust)
    retired = await retire(derived.gone, s)
    release_while_paused = Projection(
        study=p.study,
        fhir_id=held.resource_id,
        adopted=held.adopted,
        taken_over=held.taken_over,
        patient_keys=p.before.patient_keys if p.before else frozenset(),
        derived=derived.recorded,
        finished=True,
    )
    absent = held.version is None and held.resource is None
    if absent and p.is_interrupted(instances=False):
        absent = not await put_back_if_referenced(f"ImagingStudy/{held.resource_id}", s)
    if absent or (held.adopted and not _perhaps_written(p, s)):
        return release_while_paused, retired
    if not held.adopted or held.taken_over:
        referenced = await delete_unreferenced([f"ImagingStudy/{held.resource_id}"], s)
        if not referenced:
            return release_while_paused, True
    cancel = await _cancellation(p, s)
    if cancel is not None:
        await s.fhir.transact([cancel])
    return release_while_paused, retired or cancel is not None


def _perhaps_written(p: ProjectionAttempt, s: Core) -> bool:
    """Return whether this study's resource may hold elements of ours; one left by Cast then lacks Cast's marks."""
    marked = p.held.resource is not None and is_made_by_cast(p.held.resource, s.settings.dicomweb_url)
    return p.before is not None and p.before.begun and not marked


async def _cancellation(p: ProjectionAttempt, s: Compare) -> FhirWrite | None:
    """Return the resource without our elements, except those that identify the study and its patient."""
    resource = p.held.resource or await s.fhir.read("ImagingStudy", p.held.resource_id)
    if resource is None:
        return None
    status: Resource = {"status": "cancelled", "numberOfSeries": 0, "numberOfInstances": 0}
    written = p.elements if p.held.adopted else IMAGING_STUDY_ELEMENTS | p.elements
    ours = (written | {"series", "modality", "started"}) - {"identifier", "subject"}
    merged = overlay(resource, status, Ownership(elements=ours))
    held = replace(p.held, version=version_of(resource))
    return put(merged, held) if differs(resource, merged) else None
