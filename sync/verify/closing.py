"""
Ends a round over all studies: deletes orphans, removes drifts that were not found again, counts the others.

    second ImagingStudies  ->  ImagingStudies without a record  ->  Patients without one  ->  the report

All work lists are rows of table ``drifts`` that name this round, so each step may be interrupted, repeated, and done by
another process than the one that found the drifts.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sync.model import Drift, DriftKind
from sync.ports import Compare, Verify
from sync.verify.full_scan import Round, is_removable
from sync.verify.judge import identity
from sync.verify.orphans import check_orphan, study_of
from sync.verify.repair import Budget, remove_orphan

DOUBLES = "doubles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """
    Resources that a round has noted and a repair may delete: their number, and the first subjects.

    ``what`` is `DOUBLES` or a type of resources without a record.
    """

    what: str
    number: int = 0
    subjects: tuple[str, ...] = ()


def removable_as(drift: Drift) -> str:
    """Return the name under which a repair may delete it; empty if it may not."""
    if is_removable(drift):
        return DOUBLES
    is_orphan = drift.kind is DriftKind.ORPHANED and drift.subject == drift.resource
    return drift.resource.partition("/")[0] if is_orphan else ""


async def noted_removable(run: str, s: Verify, *, most: int, after: str = "") -> dict[str, Removable]:
    """Read the deletable resources that a round has noted, with the first ``most`` subjects after ``after`` of each."""
    counts, first = Counter[str](), dict[str, set[str]]()
    async for drift in s.drifts.all():
        if drift.found_in == run and (what := removable_as(drift)):
            counts[what] += 1
            some = first.setdefault(what, set())
            some |= {drift.subject} if drift.subject > after else set()
            if len(some) > 2 * most:
                first[what] = set(heapq.nsmallest(most, some))
    return {
        what: Removable(what=what, number=counts[what], subjects=tuple(heapq.nsmallest(most, some)))
        for what, some in first.items()
    }


async def remove_doubles(removable: Removable, left: int, round_: Round, s: Compare) -> AsyncIterator[str]:
    """Delete at most ``left`` second ImagingStudies; iterate over the finished subjects. Idempotent."""
    noted = [(subject, resource) for subject in removable.subjects for resource in _noted_doubles(subject, round_)]
    # The first ones by name, so that a process that repeats this after a kill, or overlaps another, deletes the same
    # ones.
    chosen = noted[: max(left, 0)]
    budget = Budget(len(chosen), among=frozenset(resource for _, resource in chosen))
    for subject in dict.fromkeys(subject for subject, _ in chosen):
        if (record := await s.projections.find(subject)) is not None:
            await round_.study_again(record.study, budget)
            yield subject


def _noted_doubles(subject: str, round_: Round) -> list[str]:
    return sorted(drift.resource for drift in round_.judge.known(subject) if is_removable(drift))


async def remove_orphans(removable: Removable, round_: Round, s: Verify) -> AsyncIterator[str]:
    """Delete resources without a record; iterate over the finished subjects. Idempotent."""
    for subject in removable.subjects:
        await _remove_orphan(subject, round_, s)
        yield subject


async def _remove_orphan(subject: str, round_: Round, s: Verify) -> None:
    resource_type, _, resource_id = subject.partition("/")
    known = round_.judge.known(subject)
    held = await round_.checker.with_retries(s.fhir.read, resource_type, resource_id)
    if held is None:  # deleted by a process that was interrupted before it noted that
        await round_.record(subject, known, [])
        return
    drifts = await round_.checker.with_retries(check_orphan, held, s)
    if drifts is None:
        round_.outcome.busy += 1
        return
    if not drifts or drifts[0].subject != subject:  # it has a record now
        await round_.record(subject, [], [])
        return
    study = study_of(held) if resource_type == "ImagingStudy" else None
    [drift] = round_.judge.with_kept(drifts[:1])
    open_drift = await round_.checker.with_retries(remove_orphan, drift, study, s) if round_.repairs else drift
    await round_.record(subject, [drift], [open_drift] if open_drift is not None else [])


async def close_round(run: str, round_: Round, s: Verify) -> tuple[Counter[DriftKind], int]:
    """
    Check again the known drifts that this round did not find, and count the remaining ones. Idempotent.

    Returns
    -------
    tuple
        Remaining drifts of this round, counting each resource once, and how many of them have to stay.
    """
    for subject in round_.judge.subjects:
        if any(drift.found_in != run for drift in round_.judge.known(subject)):
            await _again(subject, round_, s)
    left, kept, counted = Counter[DriftKind](), 0, set[int]()
    async for drift in s.drifts.all():
        if drift.found_in == run and round_.plan.asks_about(drift) and hash(identity(drift)) not in counted:
            counted.add(hash(identity(drift)))
            left[drift.kind] += 1
            kept += drift.kept
    return left, kept


async def _again(subject: str, round_: Round, s: Verify) -> None:
    """Inspect what another round has noted: not met in this one, it is gone, or was noted meanwhile."""
    resource_type, slash, resource_id = subject.partition("/")
    if not slash and (record := await s.projections.find(subject)) is not None:
        await round_.study_again(record.study, Budget(0))
        return
    if resource_type == "object" and not round_.plan.objects:
        return
    is_listed = bool(slash) and resource_type != "object"
    held = await round_.checker.with_retries(s.fhir.read, resource_type, resource_id) if is_listed else None
    if held is None:
        await round_.record(subject, [], [])
        return
    drifts = await round_.checker.with_retries(check_orphan, held, s)
    if drifts is not None and not any(drift.subject == subject for drift in drifts):
        await round_.record(subject, [], [])
    await round_.of_listed(held, drifts)
