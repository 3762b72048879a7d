"""
Checks one study: each write of a dry run is a difference between FHIR and the ledger.

    not dirty  ->  dry run, duplicates, objects  ->  not dirty, same record

All work on a study marks it before and records it after. So an inspection with equal records before and after it saw no
work in between, except for an attempt that died before its mark; a second inspection some time later rules that out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sync.errors import Conflict, PermanentError
from sync.mapping.ownership import differs
from sync.mapping.resource import is_our_id, study_id, study_identifier, version_of
from sync.model import Drift, DriftKind, FhirWrite, LedgerRow, Projection, Resource, StudyRef
from sync.ports import Compare, Deliver, ObjectListing, Project
from sync.projection.dry_run import DryRun, dry_run_study
from sync.verify.batches import RightObjects
from sync.verify.objects import check_objects

_ELEMENT = re.compile(r"_?[a-z][A-Za-z]{0,63}")
_PATIENT = re.compile(r"pt-([0-9a-f]{40})")


async def check_study(
    study: StudyRef,
    s: Deliver,
    *,
    objects: bool = True,
    listing: ObjectListing | None = None,
    right_objects: Sequence[RightObjects] = (),
) -> Sequence[Drift] | None:
    """
    Inspect one study once. Writes nothing.

    Parameters
    ----------
    objects
        Whether to also ask the source for each of its objects.
    listing, right_objects
        See `check_objects`.

    Returns
    -------
    list or None
        The drifts, empty when all is well; None while work on the study is pending.
    """
    if await s.dirty.read(study) is not None:
        return None
    before = await s.projections.read(study)
    rows: Sequence[LedgerRow] | None = None
    try:
        planned = await dry_run_study(study, s, record=before)
        rows, drifts = planned.rows, await _compare(planned, s)
    except Conflict:
        return None
    except PermanentError as refusal:
        drifts = [_drift(study, DriftKind.DEAD_LETTERED, f"ImagingStudy/{study_id(study)}", refusal.code)]
    if drifts is None:
        return None
    if objects:
        of_objects = await check_objects(study, s, listing, rows=rows, right_objects=right_objects)
        if of_objects is None:
            return None
        drifts = [*drifts, *of_objects]
    if await s.dirty.read(study) is not None or await s.projections.read(study) != before:
        return None
    return drifts


async def _compare(planned: DryRun, s: Project) -> list[Drift] | None:
    study = planned.study
    for write in planned.writes:
        if await _others_at_work(write, study, s):
            return None
    drifts = [_of_write(write, planned) for write in planned.writes]
    drifts += _left_patients(planned)
    drifts += await _doubles(planned, s)
    if planned.record is not None and planned.record.error is not None and drifts:
        address = f"ImagingStudy/{study_id(study)}"
        return [_drift(study, DriftKind.DEAD_LETTERED, address, planned.record.error)]
    return drifts


def _drift(study: StudyRef, kind: DriftKind, resource: str, detail: str = "") -> Drift:
    return Drift(subject=study.key, kind=kind, resource=resource, detail=detail)


async def _others_at_work(write: FhirWrite, study: StudyRef, s: Project) -> bool:
    """Return whether another study of the Patient is dirty: its row may be stored while its write is still to come."""
    ours = _PATIENT.fullmatch(write.resource_id)
    if write.resource_type != "Patient" or ours is None:
        return False
    rows = await s.patients.read(ours[1])
    return any([row.study != study and await s.dirty.read(row.study) is not None for row in rows])


def _of_write(write: FhirWrite, planned: DryRun) -> Drift:
    held = planned.held.get((write.resource_type, write.resource_id))
    address = write.reference
    if held is None:
        return _drift(planned.study, DriftKind.MISSING, address)
    if address in {removal.reference for removal in planned.removals}:
        return _drift(planned.study, DriftKind.ORPHANED, address)  # what the attempt falls back to
    kind = _stale_or_foreign(address, held, planned)
    return _drift(planned.study, kind, address, ", ".join(_differing(held, write.resource or {})))


def _stale_or_foreign(address: str, held: Resource, planned: DryRun) -> DriftKind:
    """
    Distinguish an old state of FHIR from a foreign change of our elements.

    If the last record still agrees with the ledger and FHIR holds another version, another system wrote it. A version
    number below ours means that the server was restored from a backup.
    """
    record, after = planned.record, planned.after
    if record is None or after is None or not record.finished or _say(record, address) != _say(after, address):
        return DriftKind.STALE
    if address.startswith("ImagingStudy/") and not _is_newer(held, record):
        return DriftKind.STALE
    return DriftKind.FOREIGN_MODIFIED


def _say(record: Projection, address: str) -> object:
    """Return the expected entry of a record for a resource, from the ledger."""
    kind = address.partition("/")[0]
    if kind == "ImagingStudy":
        return record.content_hash
    return record.patient_hash if kind == "Patient" else record.derived.get(address, record.shared_hashes)


def _is_newer(held: Resource, record: Projection) -> bool:
    version, ours = version_of(held), record.version
    if version is not None and ours is not None and version.isdecimal() and ours.isdecimal():
        return int(version) > int(ours)
    return version != ours


def _differing(held: Resource, expected: Resource) -> list[str]:
    names = sorted(name for name in {*held, *expected} - {"id", "meta"} if held.get(name) != expected.get(name))
    return [name for name in names if _ELEMENT.fullmatch(name)] or ["meta"]


def _left_patients(planned: DryRun) -> list[Drift]:
    """
    Find Patients without rows that the attempt would remove, except the subject of a cancelled study.

    Other removals show by the attempt's fallback: if that changes nothing, others refer to the resource.
    """
    studies = [held for (kind, _), held in planned.held.items() if kind == "ImagingStudy" and held is not None]
    about = {str(held.get("subject", {}).get("reference")) for held in studies} if not planned.rows else set[str]()
    patients = {removal.reference for removal in planned.removals if removal.resource_type == "Patient"}
    return [_drift(planned.study, DriftKind.ORPHANED, address) for address in sorted(patients - about)]


async def _doubles(planned: DryRun, s: Compare) -> list[Drift]:
    """Find other ImagingStudies with the UID of a study that FHIR should hold; data partitions may share one."""
    study, after = planned.study, planned.after
    if not planned.rows or after is None:
        return []
    matches = await s.fhir.search("ImagingStudy", *study_identifier(study))
    own = next((match for match in matches if match["id"] == after.fhir_id), None)
    doubles = [match for match in matches if match["id"] != after.fhir_id]
    return [
        _drift(study, DriftKind.DOUBLED, f"ImagingStudy/{double['id']}", _relation(double, own))
        for double in doubles
        if not await _is_of_another_partition(double["id"], study, s)
    ]


def _relation(double: Resource, own: Resource | None) -> str:
    if is_our_id(double["id"]):
        return "ours"
    return "copy" if own is not None and not differs(double, own) else "other"


async def _is_of_another_partition(resource_id: str, study: StudyRef, s: Compare) -> bool:
    if not is_our_id(resource_id):
        return False
    projection = await s.projections.find(resource_id.removeprefix("is-"))
    return projection is not None and projection.instances > 0 and projection.study != study
