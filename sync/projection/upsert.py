"""
Writes one study to FHIR from its ledger rows, and records it.

New keys and resources are recorded first, because a crash could hide them; then everything is written in one
transaction and recorded. Patients that the study has left are updated last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sync.errors import FhirConflict
from sync.mapping.derived import with_references
from sync.mapping.dicom_cast import descriptions
from sync.mapping.imaging_study import StudyResources, build_study, with_subject
from sync.mapping.resource import content_hash
from sync.model import LedgerRow, Projection, Stored, StudyRef, SubjectKind
from sync.ports import Compare, Project
from sync.projection.derived import compare_derived, noted, retire
from sync.projection.held import Held, ProjectionAttempt
from sync.projection.imaging_study import StudyWrite, compare_study, elements_of_owner
from sync.projection.patient import (
    PatientLink,
    PatientTarget,
    choose_patient,
    confirm_written,
    leave_patient,
    link_patient,
)
from sync.projection.removal import remove_study
from sync.projection.shared import shared_writes
from sync.protocol.outbox import add_study_event


async def write_study(
    study: StudyRef,
    rows: Sequence[LedgerRow],
    held: Held,
    recorded: Stored[Projection] | None,
    s: Project,
    *,
    trust: bool,
) -> bool:
    """
    Update FHIR by the study's ledger rows, and record the result. Idempotent.

    Returns
    -------
    bool
        Whether anything was written to FHIR.

    Raises
    ------
    Conflict
        Another writer changed a resource in between: start again and bypass the cached projection.
    PermanentError
        FHIR or our own validation refuses the study.
    TransientError
        FHIR or storage did not answer.
    """
    built = build_study(study, rows, s.settings) if rows else None
    if built is not None and trust and recorded is not None and held.version is None:
        raise FhirConflict("the study was gone and comes back: another system may have created it meanwhile")
    if held.taken_over:
        held = replace(held, notes=descriptions(rows))
    p = ProjectionAttempt(study=study, held=held, recorded=recorded, trust=trust)
    if built is None:
        note = recorded
        after, wrote = await remove_study(p, s)
    else:
        target = await _target(p, built, s)
        note = await _note(p, built, target.row_key, s)
        after, wrote = await _upsert(p, built, target, note.value, s)
    if not (trust and p.before and _same_patient(p.before, after)):
        for key in sorted(_left(after)):
            await leave_patient(key, study, s, interrupted=p.is_interrupted(instances=built is not None))
    after = await add_study_event(after, p.before, s)
    if wrote or note is None or after != note.value:
        await s.projections.write(after, note.etag if note else None)
    if not trust or (p.before is not None and p.before.error):
        await s.dead_letters.clear(SubjectKind.STUDY, study.key)
    return wrote


def _same_patient(before: Projection, after: Projection) -> bool:
    identity = (before.patient_id, before.patient_key, before.patient_hash)
    return identity == (after.patient_id, after.patient_key, after.patient_hash)


def _left(projection: Projection) -> frozenset[str]:
    """Return the patient keys whose rows and Patients are not, or no longer, this study's."""
    return projection.patient_keys - {projection.patient_key}


async def _target(p: ProjectionAttempt, built: StudyResources, s: Compare) -> PatientTarget:
    if "subject" in elements_of_owner(p):
        return PatientTarget()
    return await choose_patient(built.patient, p.before, s, trust=p.trust)


async def _note(p: ProjectionAttempt, built: StudyResources, row_key: str | None, s: Compare) -> Stored[Projection]:
    """
    Record a new patient key and new derived resources before they are written: no crash can orphan them.

    ``finished`` becomes false: until the attempt ends, the record must not be trusted.
    """
    before = p.before or Projection(study=p.study, fhir_id=p.held.resource_id)
    keys = before.patient_keys | ({row_key} if row_key else frozenset())
    derived = noted(before.derived, built.derived)
    note = replace(
        before,
        fhir_id=p.held.resource_id,
        adopted=p.held.adopted,
        taken_over=p.held.taken_over,
        patient_keys=keys,
        derived=derived,
        begun=True,
    )
    if p.recorded is not None and note == before:
        return p.recorded
    note = replace(note, finished=False)
    return Stored(note, await s.projections.write(note, p.recorded.etag if p.recorded else None))


async def _upsert(
    p: ProjectionAttempt, built: StudyResources, target: PatientTarget, note: Projection, s: Compare
) -> tuple[Projection, bool]:
    """Write the study, its patient and derived resources in one transaction; return the projection row to record."""
    theirs = elements_of_owner(p)
    link = await link_patient(p.study, built.patient, target, p.before, s)
    written = p.before.content_hash if p.before else None
    expected = with_subject(built.imaging_study, link.resource_id, built.patient, written=written)
    expected = {element: value for element, value in expected.items() if element not in theirs}
    change = await compare_study(p, expected, s)
    shared = await shared_writes(p, built, s)
    subject = expected["subject"] if p.held.resource is None or "subject" in expected else p.held.resource["subject"]
    settled = [with_references(resource, p.study, p.held.resource_id, subject) for resource in built.derived]
    sure = p.trust and (bool(p.derived) or p.held.resource is None)
    derived = await compare_derived(settled, p.derived, s, trust=sure)
    ours = [write for write in (link.write, *shared, change.write) if write is not None]
    writes = [*ours, *derived.writes]
    versions = await s.fhir.transact(writes) if writes else []
    wrote = await retire(derived.gone, s) or bool(writes)
    await confirm_written(link, s)
    s.caches.verified_resources.update(content_hash(resource) for resource in built.shared)
    version = versions[len(ours) - 1] if change.write else p.held.version
    after = _record(p, built, link, change, version=version)
    return replace(after, patient_keys=note.patient_keys, derived=derived.recorded), wrote


def _record(
    p: ProjectionAttempt, built: StudyResources, link: PatientLink, change: StudyWrite, *, version: str | None
) -> Projection:
    return Projection(
        study=p.study,
        fhir_id=p.held.resource_id,
        adopted=p.held.adopted,
        taken_over=p.held.taken_over,
        version=version,
        content_hash=change.content_hash,
        foreign=change.foreign,
        elements=change.elements,
        begun=True,
        patient_id=link.resource_id,
        patient_key=link.row_key,
        patient_hash=link.fingerprint,
        shared_hashes=frozenset(content_hash(resource) for resource in built.shared),
        series=built.series,
        instances=built.instances,
        findings=tuple(sorted({*built.findings, *link.findings})),
        patient_findings=link.findings,
        finished=True,
    )
