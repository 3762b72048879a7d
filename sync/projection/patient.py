"""
The Patient of a study: finds, links, creates, updates, rebuilds or leaves it.

    policy           Patient of others found         none found
    link-or-create   linked, never written           ours is created from the rows
    update           updated from the rows           ours is created from the rows
    reference-only   no search: the study names its patient by identifier and display

A Patient that we write is a projection of the rows that its studies leave in the patients table. The order of steps
carries correctness, because servers fence neither creates nor deletes: first our own row, then the version of the
resource, then all rows, then the write, and after it the rows once more. The later of two attempts sees the other's
row, or fails the If-Match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sync.errors import AmbiguousMatch, Contention, FhirConflict, StoreConflict
from sync.mapping.dicom_cast import is_wrong_system, known_to_cast_as
from sync.mapping.ownership import Ownership, differs, overlay, overlay_linked
from sync.mapping.patient import (
    BuiltPatient,
    PatientClaim,
    build_patient,
    contradictions,
    linked_patient_of,
    patient_of,
)
from sync.mapping.resource import content_hash, is_our_id, patient_id, version_of
from sync.mapping.validation import validated
from sync.model import Attributes, FhirWrite, Finding, PatientRow, Projection, Resource, StudyRef
from sync.ports import Compare, Core
from sync.projection.deletion import delete_unreferenced, put_back_if_referenced
from sync.protocol.optimistic import MAX_ROUNDS

_LINKED = "linked."
"""Prefix of patient keys for a Patient of another system, followed by its id. Keys of our Patients are hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientTarget:
    """
    The Patient that a study is to refer to, before anything is written.

    ``row_key`` is the key under which the study is to store its row, None for no row. ``resource_id`` is None when the
    study names its patient without a resource, or when the subject is not ours to set.
    """

    row_key: str | None = None
    resource_id: str | None = None
    fingerprint: str | None = None
    settled: bool = False
    """Whether the study's record alone determines the Patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLink:
    """
    The Patient that a study refers to, and the write to it in the study's transaction.

    ``row_key`` is the key of the row that stays, None for no row. ``write`` is None when the Patient is right, or not
    ours. ``built_from`` holds the rows from which ``write`` was built, for a comparison after the write.
    """

    resource_id: str | None = None
    row_key: str | None = None
    fingerprint: str | None = None
    write: FhirWrite | None = None
    built_from: Sequence[PatientRow] | None = None
    findings: tuple[Finding, ...] = ()


async def choose_patient(claim: PatientClaim, recorded: Projection | None, s: Compare, *, trust: bool) -> PatientTarget:
    """
    Decide to which Patient the study refers, and the key under which it stores its row. Writes nothing.

    Parameters
    ----------
    recorded
        The study's projection row.
    trust
        Whether the row may replace reading the server: then an unchanged claim needs no request at all. A claim under a
        changed policy counts as changed.

    Raises
    ------
    AmbiguousMatch
        Several Patients of others carry the identifier.
    """
    policy = s.settings.patient_policy
    fingerprint = content_hash([policy, claim.key, claim.study_date, claim.attributes])
    if policy == "reference-only":
        return PatientTarget(fingerprint=fingerprint)
    if trust and recorded and recorded.patient_id and recorded.patient_hash == fingerprint:
        recorded_id = recorded.patient_id
        return PatientTarget(
            row_key=recorded.patient_key, resource_id=recorded_id, fingerprint=fingerprint, settled=True
        )
    theirs = await _find_theirs(claim, s) if policy == "update" else None
    if theirs is not None:
        return PatientTarget(row_key=_LINKED + theirs["id"], resource_id=theirs["id"], fingerprint=fingerprint)
    return PatientTarget(row_key=claim.key, resource_id=patient_id(claim.key), fingerprint=fingerprint)


async def link_patient(
    study: StudyRef, claim: PatientClaim, target: PatientTarget, recorded: Projection | None, s: Compare
) -> PatientLink:
    """
    Store the study's patient row and return the write that its Patient needs.

    A single match by identifier is linked; without a match we create a Patient with a deterministic id. Patients that
    we created do not match: one of another key merely has the identifier as a second one, and an EHR's Patient that
    appears later replaces ours. Idempotent.

    Parameters
    ----------
    study, claim
        The study, and the patient attributes of its instances.
    target
        The result of `choose_patient`; its row key has been recorded.
    recorded
        The study's projection row.

    Raises
    ------
    AmbiguousMatch
        Several Patients of others carry the identifier.
    Conflict
        Another attempt, or another system, was faster: start again.
    """
    same = PatientLink(
        resource_id=target.resource_id,
        row_key=target.row_key,
        fingerprint=target.fingerprint,
        findings=recorded.patient_findings if recorded and target.settled else (),
    )
    if target.row_key is None or target.settled:
        return same
    row = PatientRow(patient_key=target.row_key, study=study, study_date=claim.study_date, attributes=claim.attributes)
    known = await _rows_with(row, target, recorded, s)
    if known is None:
        await s.patients.upsert(row)
    held = await _held(target, claim, s)
    if held is not None and held["id"] != target.resource_id:
        return replace(same, resource_id=held["id"], row_key=None, findings=_differences(held, claim, s))
    # Rows read before the Patient suffice to find it right; a write is built from rows read after it.
    if known is not None and (findings := _findings_if_right(target.row_key, held, known, s)) is not None:
        return replace(same, findings=findings)
    rows = await s.patients.read(target.row_key)
    if all(row.study != study for row in rows):
        raise StoreConflict("another pass over the study took the patient row away")
    write, findings = _write(target.row_key, held, rows, s)
    return replace(same, write=write, built_from=rows if write else None, findings=findings)


async def _rows_with(
    row: PatientRow, target: PatientTarget, recorded: Projection | None, s: Compare
) -> Sequence[PatientRow] | None:
    """Return the patient's rows if they contain the study's row as it should be; otherwise None, mostly unread."""
    if recorded is None or (recorded.patient_key, recorded.patient_hash) != (target.row_key, target.fingerprint):
        return None
    rows = await s.patients.read(row.patient_key)
    return rows if _said(rows).get(row.study.key) == _said([row])[row.study.key] else None


async def confirm_written(link: PatientLink, s: Compare) -> None:
    """
    Check after a write that the rows are still those it was built from. Only reads.

    No server fences a create, and a study that came in between may have found the Patient right that this write
    replaced.

    Raises
    ------
    FhirConflict
        Another study of the patient came in between; the written Patient may be stale.
    """
    if link.built_from is None or link.row_key is None:
        return
    if _said(await s.patients.read(link.row_key)) != _said(link.built_from):
        raise FhirConflict("another study of the patient was projected meanwhile")


async def leave_patient(row_key: str, study: StudyRef, s: Compare, *, interrupted: bool = False) -> None:
    """
    Delete a study's patient row, and make our Patient agree with the remaining rows.

    Without rows, a Patient that we created is deleted unless others refer to it. A Patient of another system stays; it
    is changed only if the policy is ``update``. Idempotent.

    Parameters
    ----------
    interrupted
        Whether an earlier attempt may have died during this step: then a deleted Patient is put back if others refer to
        it.

    Raises
    ------
    Contention
        Other studies of the patient kept changing.
    """
    # The study's row goes first: another study that reads the rows meanwhile no longer counts this one.
    await s.patients.delete(row_key, study)
    if _is_linked(row_key) and s.settings.patient_policy != "update":
        return
    for _ in range(MAX_ROUNDS):
        held = await s.fhir.read("Patient", _resource_id(row_key))
        rows = await s.patients.read(row_key)
        if not _asks_for_a_write(row_key, held, rows):
            if interrupted and not _is_linked(row_key):
                interrupted = False
                if await put_back_if_referenced(f"Patient/{_resource_id(row_key)}", s):
                    continue  # a study may have joined the patient meanwhile
            return
        try:
            await _agree(row_key, held, rows, s)
        except FhirConflict:
            continue
        # Read again after the write: it may lack a row that changed in between.
        if _said(await s.patients.read(row_key)) == _said(rows):
            return
    raise Contention("patient rows kept changing")


def _is_linked(row_key: str) -> bool:
    return row_key.startswith(_LINKED)


def _resource_id(row_key: str) -> str:
    """Return the id of the Patient to which rows of the key belong."""
    return row_key.removeprefix(_LINKED) if _is_linked(row_key) else patient_id(row_key)


def _asks_for_a_write(row_key: str, held: Resource | None, rows: Sequence[PatientRow]) -> bool:
    """Return whether rows and resource require a write; a Patient of others is neither created nor deleted."""
    return (held is not None and bool(rows)) if _is_linked(row_key) else (held is not None or bool(rows))


async def _agree(row_key: str, held: Resource | None, rows: Sequence[PatientRow], s: Compare) -> None:
    """Make the Patient agree with the rows; without rows it is deleted, unless others refer to it."""
    if not rows:
        await delete_unreferenced([f"Patient/{_resource_id(row_key)}"], s)
        return
    if held is None and await _exists_elsewhere(row_key, rows, s):
        return
    write, _ = _write(row_key, held, rows, s)
    if write is not None:
        await s.fhir.transact([write])


async def _exists_elsewhere(row_key: str, rows: Sequence[PatientRow], s: Compare) -> bool:
    """Return whether a Patient of another system has the identifier: then the remaining rows will be removed too."""
    for identifier in build_patient(row_key, rows, s.settings).resource.get("identifier", [])[:1]:
        matches = await s.fhir.search("Patient", identifier["system"], identifier["value"])
        return bool(_of_others(matches) or await _made_by_cast(rows[0].attributes, s))
    return False


async def _held(target: PatientTarget, claim: PatientClaim, s: Compare) -> Resource | None:
    """
    Read the target now that our row is stored; under ``link-or-create`` a Patient of others has precedence.

    Raises
    ------
    FhirConflict
        Policy ``update``: the chosen Patient of others is gone, or one appeared.
    """
    if target.row_key and _is_linked(target.row_key):
        held = await s.fhir.read("Patient", _resource_id(target.row_key))
        if held is None:
            raise FhirConflict("the Patient that was found is gone")
        return held
    held = await _find(claim, s)
    if held is not None and held["id"] != target.resource_id and s.settings.patient_policy == "update":
        raise FhirConflict("a Patient of another system appeared meanwhile")
    return held


async def _find(claim: PatientClaim, s: Compare) -> Resource | None:
    """Return the only Patient of others, else ours."""
    if claim.value is None or claim.system is None:
        return await s.fhir.read("Patient", patient_id(claim.key))
    matches = await s.fhir.search("Patient", claim.system, claim.value)
    own = [match for match in matches if match["id"] == patient_id(claim.key)]
    return await _only_theirs(matches, claim, s) or next(iter(own), None)


async def _find_theirs(claim: PatientClaim, s: Compare) -> Resource | None:
    """Return the only Patient of others."""
    if claim.value is None or claim.system is None:
        return None
    return await _only_theirs(await s.fhir.search("Patient", claim.system, claim.value), claim, s)


async def _only_theirs(matches: Sequence[Resource], claim: PatientClaim, s: Compare) -> Resource | None:
    candidates = _of_others(matches) or await _made_by_cast(claim.attributes, s)
    if len(candidates) > 1:
        raise AmbiguousMatch(f"{len(candidates)} Patients carry the identifier", code="fhir.ambiguous_patient")
    return next(iter(candidates), None)


async def _made_by_cast(attributes: Attributes, s: Compare) -> list[Resource]:
    """Search for Patients by the identifier that DICOM Cast gave them; it did not distinguish issuers."""
    identifier = known_to_cast_as(attributes, s.settings.cast_patient_system)
    if identifier is None:
        return []
    candidates = _of_others(await s.fhir.search("Patient", *identifier))
    return [candidate for candidate in candidates if not contradictions(candidate, attributes, s.settings)]


def _of_others(matches: Sequence[Resource]) -> list[Resource]:
    return [match for match in matches if not is_our_id(match["id"])]


def _wrong_identifiers(rows: Sequence[PatientRow], s: Core) -> frozenset[tuple[str, ...]]:
    """List DICOM Cast's identifiers without a system, or with an invalid one: beside ours they only mislead."""
    identifiers = (known_to_cast_as(row.attributes, s.settings.cast_patient_system) for row in rows)
    return frozenset(
        identifier for identifier in identifiers if identifier is not None and is_wrong_system(identifier[0])
    )


def _write(
    row_key: str, held: Resource | None, rows: Sequence[PatientRow], s: Core
) -> tuple[FhirWrite | None, tuple[Finding, ...]]:
    """Return the write that makes the Patient agree with the rows (None: it does), and where the rows disagree."""
    built, expected = _expected(row_key, held, rows, s)
    if held is not None and not differs(held, expected):
        return None, built.findings
    validated(built.resource)
    version = version_of(held) if held else None
    write = FhirWrite(resource_type="Patient", resource_id=_resource_id(row_key), resource=expected, if_match=version)
    return write, built.findings


def _findings_if_right(
    row_key: str, held: Resource | None, rows: Sequence[PatientRow], s: Core
) -> tuple[Finding, ...] | None:
    """Return where the rows disagree if the Patient agrees with them; None if it does not."""
    built, expected = _expected(row_key, held, rows, s)
    return built.findings if held is not None and not differs(held, expected) else None


def _expected(
    row_key: str, held: Resource | None, rows: Sequence[PatientRow], s: Core
) -> tuple[BuiltPatient, Resource]:
    """Return the patient data of the rows, and the Patient with these data and the elements of others."""
    if held is not None and _is_linked(row_key):
        built = linked_patient_of(rows, s.settings)
        return built, overlay_linked(held, built.resource, wrong=_wrong_identifiers(rows, s))
    built = patient_of(row_key, rows, s.settings)
    return built, overlay(held, built.resource, Ownership.of_patient()) if held else built.resource


def _differences(held: Resource, claim: PatientClaim, s: Core) -> tuple[Finding, ...]:
    """Return the differences between an EHR's Patient and the images; the resource stays unchanged."""
    return tuple(
        Finding(keyword=keyword, code="patient.differs_from_ehr", action="kept the EHR's value")
        for keyword in contradictions(held, claim.attributes, s.settings)
    )


def _said(rows: Sequence[PatientRow]) -> dict[str, str]:
    return {row.study.key: content_hash([row.study_date, row.attributes]) for row in rows}
