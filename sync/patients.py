"""
The Patient of a study: found, linked, created, rebuilt, left.

A Patient that we create is a projection of the rows that its studies leave in the patients table. The order of steps
carries correctness, because servers fence neither creates nor deletes: first our own row, then the version of the
resource, then all rows, then the write, and after a create or a delete the rows once more. Whoever comes late sees
the other's row, or fails the If-Match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync.errors import AmbiguousMatch, Contention, FhirConflict, FhirRejected, StoreConflict
from sync.mapping.patient import PatientClaim, build_patient
from sync.mapping.resource import Ownership, content_hash, differs, is_our_id, overlay, patient_id, version_of
from sync.model import FhirWrite, Finding, PatientRow, Projection, Resource, StudyRef
from sync.ports import Services

_MAX_ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLink:
    """
    The Patient a study points to, and what has to be written with the study.

    ``resource_id`` is None when the study's subject is not for us to say. ``write`` is None when the Patient is right
    as it is, or not ours. ``created_from`` holds the rows a new Patient was built from, to be compared once it is
    written.
    """

    resource_id: str | None = None
    fingerprint: str | None = None
    write: FhirWrite | None = None
    created_from: Sequence[PatientRow] | None = None
    findings: tuple[Finding, ...] = ()


async def link_patient(
    study: StudyRef, claim: PatientClaim, recorded: Projection | None, s: Services, *, trust: bool
) -> PatientLink:
    """
    Decide which Patient the study points to, policy ``link-or-create``.

    Exactly one match by identifier is linked; none means that we create one with a deterministic id. Patients that we
    created are no match: one of another key merely carries the identifier as a second one, and an EHR's that appears
    beside ours takes its place. Safe to repeat.

    Parameters
    ----------
    study, claim
        The study and what its instances say of their patient.
    recorded
        The study's projection row.
    trust
        Whether the row may stand for the server's state: then an unchanged claim needs no request at all.

    Raises
    ------
    AmbiguousMatch
        Several Patients of others carry the identifier.
    """
    fingerprint = content_hash([claim.key, claim.study_date, claim.attributes])
    if trust and recorded and recorded.patient_id and recorded.patient_hash == fingerprint:
        known = recorded.patient_findings
        return PatientLink(resource_id=recorded.patient_id, fingerprint=fingerprint, findings=known)
    row = PatientRow(patient_key=claim.key, study=study, study_date=claim.study_date, attributes=claim.attributes)
    await s.patients.upsert(row)
    held = await _find(claim, s)
    if held is not None and held["id"] != patient_id(claim.key):
        return PatientLink(resource_id=held["id"], fingerprint=fingerprint, findings=_differences(held, row, s))
    rows = await s.patients.read(claim.key)
    if all(other.study != study for other in rows):
        raise StoreConflict("another pass over the study took the patient row away")
    built = build_patient(claim.key, rows, s.settings)
    return PatientLink(
        resource_id=patient_id(claim.key),
        fingerprint=fingerprint,
        write=_write_of(held, built.resource),
        created_from=rows if held is None else None,
        findings=built.findings,
    )


async def confirm_created(claim: PatientClaim, link: PatientLink, s: Services) -> None:
    """
    Read the rows once more after a create, which no server fences.

    Raises
    ------
    FhirConflict
        Another study of the patient came in between; what was written may be stale.
    """
    if link.created_from is not None and _said(await s.patients.read(claim.key)) != _said(link.created_from):
        raise FhirConflict("another study of the patient was projected meanwhile")


async def leave_patient(patient_key: str, study: StudyRef, s: Services) -> None:
    """
    Take a study's row away and make the Patient that we created agree with the rows that remain.

    Without rows it is deleted, unless others refer to it. Safe to repeat.

    Raises
    ------
    Contention
        Other studies of the patient kept changing.
    """
    await s.patients.delete(patient_key, study)
    for _ in range(_MAX_ROUNDS):
        held = await s.fhir.read("Patient", patient_id(patient_key))
        rows = await s.patients.read(patient_key)
        if held is None and not rows:
            return
        try:
            await _agree(patient_key, held, rows, s)
        except (FhirConflict, FhirRejected) as refusal:
            if not rows:
                return  # others refer to it, so it stays
            if isinstance(refusal, FhirRejected):
                raise
        else:
            if _said(await s.patients.read(patient_key)) == _said(rows):
                return
    raise Contention("patient rows kept changing")


async def _agree(patient_key: str, held: Resource | None, rows: Sequence[PatientRow], s: Services) -> None:
    """Make the Patient say what the rows say; without rows it goes."""
    write: FhirWrite | None = FhirWrite(resource_type="Patient", resource_id=patient_id(patient_key))
    if rows:
        built = build_patient(patient_key, rows, s.settings).resource
        if held is None and await _exists_elsewhere(built, s):
            return
        write = _write_of(held, built)
    if write is not None:
        await s.fhir.transact([write])


async def _exists_elsewhere(built: Resource, s: Services) -> bool:
    """Whether somebody else's Patient carries the identifier: then the remaining rows are on their way out."""
    for identifier in built.get("identifier", [])[:1]:
        return bool(_of_others(await s.fhir.search("Patient", identifier["system"], identifier["value"])))
    return False


async def _find(claim: PatientClaim, s: Services) -> Resource | None:
    """Return the one Patient of others, else ours."""
    if claim.value is None or claim.system is None:
        return await s.fhir.read("Patient", patient_id(claim.key))
    matches = await s.fhir.search("Patient", claim.system, claim.value)
    others = _of_others(matches)
    if len(others) > 1:
        raise AmbiguousMatch(f"{len(others)} Patients carry the identifier", code="fhir.ambiguous_patient")
    own = [match for match in matches if match["id"] == patient_id(claim.key)]
    return next(iter(others + own), None)


def _of_others(matches: Sequence[Resource]) -> list[Resource]:
    return [match for match in matches if not is_our_id(match["id"])]


def _write_of(held: Resource | None, built: Resource) -> FhirWrite | None:
    if held is None:
        return FhirWrite(resource_type="Patient", resource_id=built["id"], resource=built)
    wanted = overlay(held, built, Ownership.of_patient())
    if not differs(held, wanted):
        return None
    return FhirWrite(resource_type="Patient", resource_id=held["id"], resource=wanted, if_match=version_of(held))


def _differences(held: Resource, row: PatientRow, s: Services) -> tuple[Finding, ...]:
    """Find where an EHR's Patient says something else than the images; the resource stays as it is."""
    built = build_patient(row.patient_key, [row], s.settings).resource
    keywords = {"gender": "PatientSex", "birthDate": "PatientBirthDate"}
    return tuple(
        Finding(keyword=keyword, code="patient.differs_from_ehr", action="kept the EHR's value")
        for element, keyword in keywords.items()
        if element in built and element in held and built[element] != held[element]
    )


def _said(rows: Sequence[PatientRow]) -> dict[str, str]:
    return {row.study.key: content_hash([row.study_date, row.attributes]) for row in rows}
