"""
Repair: inspect the objects again, project the study again, bypassing the cached projection.

There is no other way to write.

Two repairs belong to no study and are done here: deleting a second ImagingStudy beside a study's own, and deleting a
resource that no record knows. A budget bounds both: an operator who verifies against the wrong state account finds
every resource unknown, and must not lose them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from sync.dicom.inspect import inspect_object
from sync.errors import SourceUnavailable
from sync.model import Drift, DriftKind, ObjectKey, ObjectRef, Projected, StudyRef
from sync.ports import Deliver, Project
from sync.projection.deletion import delete_unreferenced
from sync.projection.patient import leave_patient
from sync.protocol.removals import may_remove
from sync.verify.objects import find_objects, names_in_services, project_again, reinspect
from sync.verify.studies import check_study

_NO_OWNER = StudyRef(study_instance_uid="")
"""Stands for no study: leaving a patient with it makes the Patient agree with the remaining rows."""

OF_OBJECTS = frozenset({DriftKind.OBJECT_GONE, DriftKind.OBJECT_CHANGED, DriftKind.OBJECT_UNSEEN})
REMOVABLE = frozenset({"ours", "copy"})
"""Details of drifts whose second ImagingStudy may be deleted."""


@dataclass
class Budget:
    """How many resources without a study may still be deleted; if some are chosen, only those."""

    left: int
    among: frozenset[str] | None = None
    _taken: set[str] = field(default_factory=set)

    def take(self, resource: str) -> bool:
        """Return whether this resource may be deleted too. Idempotent: a repeated repair uses no more of the budget."""
        if self.among is not None and resource not in self.among:
            return False
        if resource not in self._taken and len(self._taken) < self.left:
            self._taken.add(resource)
        return resource in self._taken


async def repair_study(
    study: StudyRef, drifts: Sequence[Drift], budget: Budget, s: Deliver, *, listed: bool = False
) -> Sequence[Drift]:
    """
    Repair one study and check it again. Idempotent and safe to interrupt: the study is marked before anything is done.

    Parameters
    ----------
    listed
        Whether every container was listed to its end before: then a row whose blob no locator names is of a blob that
        is gone.

    Returns
    -------
    list
        The remaining drifts. A resource that FHIR refused to delete counts as kept.

    Raises
    ------
    TransientError
        FHIR or storage did not answer; the study stays outstanding, and the sync continues with it.
    """
    await s.dirty.mark(study, s.clock.now())
    await _reinspect({key_of(drift) for drift in drifts if drift.kind in OF_OBJECTS}, study, s, listed=listed)
    await project_again(study, s)
    for drift in drifts:
        double = drift.kind is DriftKind.DOUBLED and drift.detail in REMOVABLE
        if double and budget.take(drift.resource) and await may_remove(drift.resource, s):
            await delete_unreferenced([drift.resource], s)
    open_drifts = await check_study(study, s) or []
    before = {(drift.kind, drift.resource) for drift in drifts}
    return [_open_drifts(drift) if (drift.kind, drift.resource) in before else drift for drift in open_drifts]


def _open_drifts(drift: Drift) -> Drift:
    """Mark resources that the projection tried and failed to remove as kept, because others refer to them."""
    return replace(drift, kept=drift.kind is DriftKind.ORPHANED)


def key_of(drift: Drift) -> ObjectKey:
    """Return the key of the object that a drift is about."""
    return ObjectKey.parse(drift.resource.removeprefix("object/"))


async def _reinspect(keys: Collection[ObjectKey], study: StudyRef, s: Deliver, *, listed: bool) -> None:
    """Ingest the objects again; a row whose object no locator names can only be removed here."""
    refs = [*await find_objects(study, keys, s)]
    nameless = set(keys) - {ref.key for ref in refs}
    gone = []
    names = await names_in_services(study, s) if nameless else {}
    for key in sorted(nameless):
        if key not in names:
            gone += [key] if listed else []  # the store cannot be asked about a blob without a name
        elif (name := names[key]) is not None:
            there = await _is_there(name, s)
            gone += [key] if there is False else []
            refs += [name] if there else []  # the list was incomplete
    if gone and await may_remove(study.key, s):
        for key in gone:
            await s.ledger.delete(study, key)
    for ref in refs:
        await reinspect(ref, s)
        now = await s.locators.read(ref)
        if now is not None and now.value.study is not None and now.value.study != study:
            await project_again(now.value.study, s)


async def _is_there(ref: ObjectRef, s: Deliver) -> bool | None:
    """Ask a service for an instance by its name; None when it does not answer."""
    try:
        return (await inspect_object(ref, s)).etag is not None
    except SourceUnavailable:
        return None


async def remove_orphan(drift: Drift, study: StudyRef | None, s: Project) -> Drift | None:
    """
    Remove a resource that no record knows. Idempotent.

    Parameters
    ----------
    study
        The study for which an ImagingStudy's id was made, if known: then the removal is an ordinary projection.

    Returns
    -------
    Drift or None
        The drift marked as kept when others refer to the resource; the drift unchanged past the ceiling on removals.
    """
    resource_type, _, resource_id = drift.resource.partition("/")
    if study is not None:
        await s.dirty.mark(study, s.clock.now())
        if await project_again(study, s) is Projected.DEAD_LETTERED:
            return drift
    elif not await may_remove(drift.resource, s):
        return drift
    elif resource_type == "Patient":
        await leave_patient(resource_id.removeprefix("pt-"), _NO_OWNER, s)
    else:
        await delete_unreferenced([drift.resource], s)
    return replace(drift, kept=True) if await s.fhir.read(resource_type, resource_id) is not None else None
