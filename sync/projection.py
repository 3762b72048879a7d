"""
One study's resources against what FHIR holds: what to write, and what to remember of it.

The pipeline decides when; here is what. Two ways to know what FHIR holds: trust the projection row (the usual case,
no request) or read the server (after a redelivery, a conflict, a failure). Both are read before the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sync.announcing import announce_study
from sync.derived import compare_derived, noted, retire
from sync.errors import AmbiguousMatch, FhirConflict, FhirRejected
from sync.mapping.derived import with_references
from sync.mapping.dicom_cast import ELEMENTS as CAST_ELEMENTS
from sync.mapping.dicom_cast import descriptions, is_made_by_cast, without_notes
from sync.mapping.imaging_study import StudyResources, build_study, with_subject
from sync.mapping.resource import (
    IMAGING_STUDY_ELEMENTS,
    Ownership,
    content_hash,
    differs,
    has_foreign,
    is_our_id,
    overlay,
    study_id,
    study_identifier,
    version_of,
)
from sync.model import FhirWrite, LedgerRow, Projection, Resource, Stored, StudyRef, SubjectKind
from sync.patients import PatientLink, PatientTarget, choose_patient, confirm_written, leave_patient, link_patient
from sync.ports import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """
    The ImagingStudy as FHIR holds it, as far as we know.

    Both None: there is none. Only ``resource`` None: known from the projection row only. Only ``version`` None: the
    server keeps no versions.
    """

    resource_id: str
    adopted: bool = False
    taken_over: bool = False
    """Whether DICOM Cast made it, which is switched off."""
    notes: frozenset[str] = frozenset()
    """Texts of notes that are of no use any more."""
    version: str | None = None
    resource: Resource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyWrite:
    """The write a study needs (None: it is right as it is), and what is then true of the ImagingStudy."""

    write: FhirWrite | None
    content_hash: str | None
    foreign: bool = False
    elements: frozenset[str] = frozenset()


async def what_fhir_holds(study: StudyRef, recorded: Stored[Projection] | None, s: Services, *, trust: bool) -> Held:
    """
    Tell what FHIR holds of the study, from the record or from the server.

    A study without a usable record is looked up by identifier once: a resource of somebody else is adopted. An
    adopted one is read each time, for its owner goes on writing it.

    Raises
    ------
    AmbiguousMatch
        Several ImagingStudies of others carry the Study Instance UID and none is ours.
    """
    if recorded is not None and trust and _tells_enough(recorded.value):
        return Held(resource_id=recorded.value.fhir_id, version=recorded.value.version)
    if recorded is not None:
        resource = await s.fhir.read("ImagingStudy", recorded.value.fhir_id)
        if resource is not None:
            return _perhaps_taken_over(_held(study, resource), s, known=recorded.value.taken_over)
    return _perhaps_taken_over(await _look_up(study, s), s)


def _perhaps_taken_over(held: Held, s: Services, *, known: bool = False) -> Held:
    if not held.adopted or held.resource is None:
        return held
    return replace(held, taken_over=known or is_made_by_cast(held.resource, s.settings.dicomweb_url))


def _tells_enough(known: Projection) -> bool:
    """Whether the record can stand for the server: it must not have another owner, and a version if it is there."""
    return not known.adopted and (known.version is not None or known.instances == 0)


async def _look_up(study: StudyRef, s: Services) -> Held:
    matches = await s.fhir.search("ImagingStudy", *study_identifier(study))
    own = [match for match in matches if match["id"] == study_id(study)]
    candidates = own or [match for match in matches if not is_our_id(match["id"])]
    if len(candidates) > 1:
        detail = f"{len(candidates)} ImagingStudies carry the Study Instance UID"
        raise AmbiguousMatch(detail, code="fhir.ambiguous_study")
    return _held(study, candidates[0]) if candidates else Held(resource_id=study_id(study))


def _held(study: StudyRef, resource: Resource) -> Held:
    return Held(
        resource_id=resource["id"],
        adopted=resource["id"] != study_id(study),
        version=version_of(resource),
        resource=resource,
    )


async def write_study(
    study: StudyRef,
    rows: Sequence[LedgerRow],
    held: Held,
    recorded: Stored[Projection] | None,
    s: Services,
    *,
    trust: bool,
) -> bool:
    """
    Make FHIR say what the ledger rows say, and record it. Safe to repeat.

    Returns
    -------
    bool
        Whether anything was written to FHIR.

    Raises
    ------
    Conflict
        Somebody else wrote in between: begin again, without trust.
    PermanentError
        FHIR or our own validation refuses the study.
    """
    built = build_study(study, rows, s.settings) if rows else None
    if built is not None and trust and recorded is not None and held.version is None:
        raise FhirConflict("the study was gone and comes back: somebody else may have created it meanwhile")
    if held.taken_over:
        held = replace(held, notes=descriptions(rows))
    before = recorded.value if recorded else None
    known = before.derived if before else {}
    if built is None:
        note = recorded
        after, wrote = await _remove(study, held, before, s, known=known, trust=trust)
    else:
        target = await _target(built, held, before, s, trust=trust)
        note = await _note(study, held, built, recorded, s, row_key=target.row_key)
        after, wrote = await _upsert(study, built, held, note.value, s, target=target, known=known, trust=trust)
    if not (trust and recorded and _same_patient(recorded.value, after)):
        for key in sorted(_left(after)):
            await leave_patient(key, study, s)
    after = await announce_study(after, before, s)
    if wrote or note is None or after != note.value:
        await s.projections.write(after, note.etag if note else None)
    if not trust or (before is not None and before.error):
        await s.dead_letters.clear(SubjectKind.STUDY, study.key)
    return wrote


def _same_patient(one: Projection, other: Projection) -> bool:
    kept = (one.patient_id, one.patient_key, one.patient_hash)
    return kept == (other.patient_id, other.patient_key, other.patient_hash)


def _left(projection: Projection) -> frozenset[str]:
    """Patient keys whose rows and Patients are not, or no longer, this study's."""
    return projection.patient_keys - {projection.patient_key}


async def _target(
    built: StudyResources, held: Held, before: Projection | None, s: Services, *, trust: bool
) -> PatientTarget:
    if "subject" in _theirs(held, before):
        return PatientTarget()
    return await choose_patient(built.patient, before, s, trust=trust)


async def _note(
    study: StudyRef,
    held: Held,
    built: StudyResources,
    recorded: Stored[Projection] | None,
    s: Services,
    *,
    row_key: str | None,
) -> Stored[Projection]:
    """
    Note a new patient key and new derived resources before anything is left under them: no crash can orphan it.

    ``finished`` goes false: until the pass ends nobody may trust the record.
    """
    known = recorded.value if recorded else Projection(study=study, fhir_id=held.resource_id)
    keys = known.patient_keys | ({row_key} if row_key else frozenset())
    derived = noted(known.derived, built.derived)
    note = replace(
        known,
        fhir_id=held.resource_id,
        adopted=held.adopted,
        taken_over=held.taken_over,
        patient_keys=keys,
        derived=derived,
        begun=True,
    )
    if recorded is not None and note == known:
        return recorded
    note = replace(note, finished=False)
    return Stored(note, await s.projections.write(note, recorded.etag if recorded else None))


async def _upsert(
    study: StudyRef,
    built: StudyResources,
    held: Held,
    before: Projection | None,
    s: Services,
    *,
    target: PatientTarget,
    known: Mapping[str, str],
    trust: bool,
) -> tuple[Projection, bool]:
    theirs = _theirs(held, before)
    link = await link_patient(study, built.patient, target, before, s)
    wanted = with_subject(built.imaging_study, link.resource_id, built.patient)
    wanted = {element: value for element, value in wanted.items() if element not in theirs}
    change = await _study_write(study, wanted, held, before, s)
    shared = await _shared_writes(built, before, s, trust=trust)
    subject = wanted["subject"] if held.resource is None or "subject" in wanted else held.resource["subject"]
    settled = [with_references(each, study, held.resource_id, subject) for each in built.derived]
    derived = await compare_derived(settled, known, s, trust=trust and (bool(known) or held.resource is None))
    ours = [write for write in (link.write, *shared, change.write) if write is not None]
    writes = [*ours, *derived.writes]
    versions = await s.fhir.transact(writes) if writes else []
    wrote = await retire(derived.gone, s) or bool(writes)
    await confirm_written(link, s)
    s.verified.update(content_hash(resource) for resource in built.shared)
    version = versions[len(ours) - 1] if change.write else held.version
    after = _projection(study, built, held, link, change=change, version=version)
    keys = before.patient_keys if before else frozenset[str]()
    return replace(after, patient_keys=keys, derived=derived.recorded), wrote


_OF_THE_ORDER = frozenset({"basedOn", "interpreter", "location", "procedureCode", "reasonCode", "referrer"})
"""What an order system refers to and codes, where a header has names and texts."""


def _theirs(held: Held, before: Projection | None) -> frozenset[str]:
    """Tell what of an adopted study stays as its owner has it: whom it is about, and what the order says."""
    if not held.adopted or held.resource is None:
        return frozenset()
    ours = before.elements if before else frozenset[str]()
    kept = _OF_THE_ORDER if held.taken_over else _OF_THE_ORDER | {"subject"}
    return frozenset(element for element in kept if element in held.resource and element not in ours)


def _projection(
    study: StudyRef, built: StudyResources, held: Held, link: PatientLink, *, change: StudyWrite, version: str | None
) -> Projection:
    return Projection(
        study=study,
        fhir_id=held.resource_id,
        adopted=held.adopted,
        taken_over=held.taken_over,
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


async def _remove(
    study: StudyRef, held: Held, before: Projection | None, s: Services, *, known: Mapping[str, str], trust: bool
) -> tuple[Projection, bool]:
    """
    Delete what instances made, and the ImagingStudy that we created or took over.

    An adopted one, or one that others refer to, becomes ``cancelled``.

    One that we never wrote stays as it is. What is left is recorded as none of ours: whoever comes next looks it up.
    """
    keys = before.patient_keys if before else frozenset[str]()
    derived = await compare_derived([], known, s, trust=trust)
    retired = await retire(derived.gone, s)
    let_go = Projection(
        study=study,
        fhir_id=held.resource_id,
        adopted=held.adopted,
        taken_over=held.taken_over,
        patient_keys=keys,
        derived=derived.recorded,
        finished=True,
    )
    absent = held.version is None and held.resource is None
    if absent or (held.adopted and not _perhaps_written(before, held, s)):
        return let_go, retired
    if not held.adopted or held.taken_over:
        try:
            await s.fhir.transact([FhirWrite(resource_type="ImagingStudy", resource_id=held.resource_id)])
        except (FhirConflict, FhirRejected):
            pass  # others refer to it, so it has to stay
        else:
            return let_go, True
    cancel = await _cancellation(held, before, s)
    if cancel is not None:
        await s.fhir.transact([cancel])
    return let_go, retired or cancel is not None


def _perhaps_written(before: Projection | None, held: Held, s: Services) -> bool:
    """Tell whether this study's resource may hold something of ours; what Cast left does not carry its marks then."""
    marked = held.resource is not None and is_made_by_cast(held.resource, s.settings.dicomweb_url)
    return before is not None and before.begun and not marked


async def _cancellation(held: Held, before: Projection | None, s: Services) -> FhirWrite | None:
    """Take out what we wrote, but for what tells which study of whom it was."""
    resource = held.resource or await s.fhir.read("ImagingStudy", held.resource_id)
    if resource is None:
        return None
    status: Resource = {"status": "cancelled", "numberOfSeries": 0, "numberOfInstances": 0}
    written = (before.elements if before else frozenset[str]()) if held.adopted else IMAGING_STUDY_ELEMENTS
    ours = (written | {"series", "modality", "started"}) - {"identifier", "subject"}
    merged = overlay(resource, status, Ownership(elements=ours))
    held = replace(held, version=version_of(resource))
    return _put(merged, held) if differs(resource, merged) else None


async def _study_write(
    study: StudyRef, wanted: Resource, held: Held, before: Projection | None, s: Services
) -> StudyWrite:
    """Compare with what FHIR holds; reads the server only when an update must keep elements of others."""
    digest = content_hash(wanted)
    elements = frozenset(wanted) - {"resourceType", "id", "meta"}
    if held.resource is None and before is not None and held.version is not None:
        if before.content_hash == digest:
            return StudyWrite(write=None, content_hash=digest, foreign=before.foreign, elements=elements)
        if not before.foreign:
            return StudyWrite(write=_put(wanted, held), content_hash=digest, elements=elements)
        resource = await s.fhir.read("ImagingStudy", held.resource_id)
        held = _held(study, resource) if resource is not None else replace(held, version=None)
    if held.resource is None:
        return StudyWrite(write=_put(wanted, held), content_hash=digest, elements=elements)
    written = elements | (before.elements if before else frozenset())
    merged = overlay(without_notes(held.resource, held.notes), wanted, _owned(held, written, s))
    write = _put(merged, held) if differs(held.resource, merged) else None
    return StudyWrite(write=write, content_hash=digest, foreign=has_foreign(merged, wanted), elements=elements)


def _owned(held: Held, written: frozenset[str], s: Services) -> Ownership:
    system = s.settings.study_id_system
    if held.taken_over:
        return Ownership.of_taken_over(former=CAST_ELEMENTS, written=written, study_id_system=system)
    return Ownership.of_study(adopted=held.adopted, written=written, study_id_system=system)


def _put(resource: Resource, held: Held) -> FhirWrite:
    body = {**resource, "id": held.resource_id}
    return FhirWrite(resource_type="ImagingStudy", resource_id=held.resource_id, resource=body, if_match=held.version)


async def _shared_writes(
    built: StudyResources, before: Projection | None, s: Services, *, trust: bool
) -> list[FhirWrite]:
    """
    Write what many studies refer to: the Endpoint and the Devices.

    Every study builds the same bytes of them, so no two can undo each other's. Each is read once a process, and
    whenever nothing is trusted; it stays when the study goes, for nobody knows who else refers to it.
    """
    writes = []
    for resource in built.shared:
        digest = content_hash(resource)
        if not (trust and (digest in s.verified or (before is not None and digest in before.shared_hashes))):
            writes.append(await _shared_write(resource, s))
    return [write for write in writes if write is not None]


async def _shared_write(resource: Resource, s: Services) -> FhirWrite | None:
    kind, resource_id = resource["resourceType"], resource["id"]
    held = await s.fhir.read(kind, resource_id)
    if held is None:
        return FhirWrite(resource_type=kind, resource_id=resource_id, resource=resource)
    wanted = overlay(held, resource, Ownership.of_exactly(resource))
    if not differs(held, wanted):
        return None
    return FhirWrite(resource_type=kind, resource_id=resource_id, resource=wanted, if_match=version_of(held))
