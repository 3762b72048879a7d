"""
Verifies in small slices, continuously: the timer calls it each minute.

    take the lease  ->  some known drifts again  ->  a page of the source's list, the next studies, or a page of
    FHIR's list  ->  note

The cursor ``reconcile`` holds the round's position and when the last whole round ended. After a run dies, its slice is
repeated. Two runs never overlap, and it would do no harm.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from sync.errors import (
    FhirRejected,
    FhirUnavailable,
    ForeignSource,
    SourceGone,
    SourceUnavailable,
    StaleToken,
    SyncError,
    Throttled,
    UnreadableRow,
)
from sync.model import (
    RECONCILE_CURSOR,
    Drift,
    DriftKind,
    Json,
    LastRound,
    Locator,
    ObjectKey,
    ObjectRef,
)
from sync.model.circles import Passed, followed, listed_on
from sync.model.timestamps import Timestamp
from sync.monitoring.timers import note_run
from sync.operators.pause import projection_pause
from sync.ports import ObjectListing, Verify
from sync.protocol.known_rows import inspected_of
from sync.protocol.leases import Lease, held
from sync.protocol.row_values import RowValue
from sync.telemetry.defects import only_sync_errors
from sync.telemetry.instruments import OPEN_DRIFT
from sync.verify.careful import Repairs
from sync.verify.checking import Checker, Found
from sync.verify.judge import Judge
from sync.verify.objects import object_address
from sync.verify.orphans import LISTED, check_orphan
from sync.verify.repair import Budget
from sync.verify.source import PAGE, check_listed_object, inspect_what_is_back
from sync.verify.studies import check_study

LEASE = 300.0
"""Seconds of the lease: a run takes far less, and a run that died delays the next one for that long."""

AGAIN = 20
"""Subjects with known drift that a run inspects again before it continues."""

TRIES = 2

_OUTAGES = (FhirUnavailable, Throttled, SourceUnavailable)
"""Failures that may pass by the next run; they are measured, and do not fail the timer."""

_STUDIES = "studies"
_SOURCE = "source"
_PHASES = (_SOURCE, _STUDIES, *LISTED)

FAILURES_AT_A_PLACE = 3
"""Runs in a row that may fail at one place before the round continues without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Position of a round: its phase, and a study key or link in it; and the round before."""

    phase: str = _SOURCE
    failures: int = 0
    skipped: bool = False
    """Whether a part was skipped because it kept failing: such a round does not count as whole."""
    after: str = ""
    container: int = 0
    began: Timestamp
    studies: int = 0
    last_round: LastRound | None = None
    passed: Passed = field(default_factory=Passed)
    """Links of the list, or tokens of the container, so far."""

    @classmethod
    def of(cls, kept: Json, now: datetime) -> _Place:
        """Return the position in the row; the beginning, if this version does not understand it."""
        try:
            place = _PLACE.read({"began": now, **kept}, row=RECONCILE_CURSOR)
        except UnreadableRow:
            return cls(began=now)
        return place if place.phase in _PHASES else replace(place, phase=_SOURCE)

    @property
    def part(self) -> str:
        """Name of the phase, for metrics and logs."""
        return "list_" + self.phase.lower()

    def next_phase(self, now: datetime) -> _Place:
        index = _PHASES.index(self.phase) + 1
        if index < len(_PHASES):
            return replace(self, phase=_PHASES[index], after="", passed=Passed(), failures=0)
        if self.skipped:
            return _Place(began=now, last_round=self.last_round)
        return _Place(began=now, last_round=LastRound(began=self.began, ended=now, studies=self.studies))


_PLACE: RowValue[_Place] = RowValue(_Place)


async def reconcile(s: Verify, listing: ObjectListing, checker: Checker | None = None) -> int:
    """
    Inspect known drifts again, then the next slice; note drifts, and repair them if that is configured.

    Idempotent; may be interrupted, and run beside any other work. The two parts fail separately: known drift that
    cannot be inspected does not stop the round. The next runs try a failed part again; after `FAILURES_AT_A_PLACE` of
    them the round continues without it, and does not count as whole.

    Returns
    -------
    int
        Number of studies and listed resources inspected.

    Raises
    ------
    SyncError
        The first failure other than an outage of FHIR or the source, after both parts were tried and the position was
        stored.
    """
    if not s.settings.reconcile_studies_per_minute:
        return 0
    async with held(RECONCILE_CURSOR, s, seconds=LEASE) as lease:
        return 0 if lease is None else await _run_slice(lease, s, listing, checker or Checker(tries=TRIES))
    return 0  # the lease was lost: its new holder continues


async def _run_slice(lease: Lease, s: Verify, listing: ObjectListing, checker: Checker) -> int:
    place = _Place.of(lease.position, s.clock.now())
    judge = Judge(s, found_in=place.began.isoformat())
    run = _Run(s, listing, checker, judge, careful=lease.after_expiry)
    reached = place

    async def go_on() -> None:
        nonlocal reached
        reached = await run.go_on(place)

    failures = [
        await _apart("known_drift", partial(run.again, place), s),
        failed := await _apart(place.part, go_on, s),
    ]
    if failed is not None:
        await lease.note(_PLACE.write(await run.after_failure(place)))
    else:
        await lease.finish(_PLACE.write(replace(reached, failures=0)))
    if failures[0] is None:
        run.measure()
    s.telemetry.event(
        "reconcile.looked", logging.DEBUG, looked=run.checked, found=run.found.total(), repaired=run.repaired
    )
    if defects := [failure for failure in failures if failure is not None and not isinstance(failure, _OUTAGES)]:
        raise defects[0]
    return run.checked


async def _apart(phase: str, work: Callable[[], Awaitable[None]], s: Verify) -> SyncError | None:
    """Run one part, measure its outcome and return its failure, so that the other part still runs."""
    failure: SyncError | None = None
    try:
        async with only_sync_errors():
            await work()
    except SyncError as problem:
        failure = problem
        s.telemetry.event("reconcile.postponed", logging.WARNING, phase=phase, code=problem.code)
    note_run("reconcile", phase, s, failure=failure)
    return failure


class _Run:
    """
    One run of the timer.

    ``careful``: the run before did not end; see `sync.verify.careful`.
    """

    def __init__(self, s: Verify, listing: ObjectListing, checker: Checker, judge: Judge, *, careful: bool) -> None:
        self._source = listing
        self._repairing = Repairs(s=s, run=RECONCILE_CURSOR, careful=careful)
        self.checked = 0
        self.repaired = 0
        self.found: Counter[DriftKind] = Counter()
        self._s = s
        self._judge = judge
        self._checker = checker
        self._repairs = False
        self._refs: dict[str, ObjectRef] = {}

    async def again(self, place: _Place) -> None:
        """Check some open drifts again, and close those that are gone."""
        self._repairs = self._s.settings.reconcile_repair and await projection_pause(self._s) is None
        await self._judge.load()
        subjects = self._judge.subjects
        some = random.sample(subjects, min(AGAIN, len(subjects)))  # in no order: some can only wait for their list

        async def inspection(subject: str) -> Found:
            return await self._subject(subject, place.last_round.began if place.last_round else None)

        await self._inspect(some, inspection)

    async def go_on(self, place: _Place) -> _Place:
        """Inspect the next slice; return the round's position after it."""
        if place.phase == _SOURCE:
            return await self._next_objects(place)
        if place.phase == _STUDIES:
            return await self._next_studies(place)
        try:
            page = await self._s.fhir.page(place.phase, place.after or None)
        except FhirRejected:
            if not place.after:
                raise
            return replace(place, after="", passed=Passed())  # the link has expired: start the list again
        passed = followed(place.passed, page.following)
        listed = {f"{place.phase}/{resource.get('id', '')}": resource for resource in page.resources}

        async def inspection(address: str) -> Found:
            return await check_orphan(listed[address], self._s)

        await self._inspect(list(listed), inspection)
        if not page.following:
            return place.next_phase(self._s.clock.now())
        return replace(place, after=page.following, passed=passed)

    async def after_failure(self, place: _Place) -> _Place:
        """Return where the next run begins: at the same position, or after it once it has failed too often."""
        if place.failures + 1 < FAILURES_AT_A_PLACE:
            return replace(place, failures=place.failures + 1)
        beyond = replace(place, failures=0, skipped=True)
        if place.phase == _SOURCE:
            return replace(beyond, container=place.container + 1, after="", passed=Passed())
        if place.phase == _STUDIES:
            chunk = await self._s.projections.after(place.after, self._s.settings.reconcile_studies_per_minute)
            if chunk:
                return replace(beyond, after=chunk[-1].study.key)
        return beyond.next_phase(self._s.clock.now())

    def measure(self) -> None:
        """Return the number of open drifts of every kind, zero included."""
        kinds = self._judge.open_by_kind()
        for kind in DriftKind:
            self._s.telemetry.measure(OPEN_DRIFT, kinds[kind], kind=kind.value)

    async def _next_objects(self, place: _Place) -> _Place:
        containers = self._s.settings.containers
        if place.container >= len(containers):
            return place.next_phase(self._s.clock.now())
        following = replace(place, container=place.container + 1, after="", passed=Passed())
        try:
            page = await self._source.page(containers[place.container], token=place.after or None, size=PAGE)
        except StaleToken:
            return replace(place, after="", passed=Passed())
        except SourceGone:
            return following  # a container that does not exist yet holds no objects
        passed = listed_on(place.passed, page.token)
        listed = {object_address(listed_object.object.key): listed_object for listed_object in page.objects}
        self._refs.update({address: listed_object.object for address, listed_object in listed.items()})

        # Most of them are right, and one request shows a thousand; each other object's row is read by itself.
        right = await inspected_of(page.objects, self._s)

        async def inspection(address: str) -> Found:
            if listed[address].object.key in right:
                return []
            drifts = await check_listed_object(listed[address], self._s)
            if drifts:
                await inspect_what_is_back(listed[address], self._s)
            return drifts

        await self._inspect(list(listed), inspection)
        return replace(place, after=page.token, passed=passed) if page.token else following

    async def _next_studies(self, place: _Place) -> _Place:
        chunk = await self._s.projections.after(place.after, self._s.settings.reconcile_studies_per_minute)
        if not chunk:
            return place.next_phase(self._s.clock.now())
        studies = {projection.study.key: projection.study for projection in chunk}

        async def inspection(key: str) -> Found:
            return await check_study(studies[key], self._s, listing=self._source)

        await self._inspect(list(studies), inspection)
        return replace(place, after=chunk[-1].study.key, studies=place.studies + len(chunk))

    async def _subject(self, subject: str, began: datetime | None) -> Found:
        """Inspect a subject of table ``drifts``; what is found by lists only, and was not in a whole round, is gone."""
        resource_type, slash, resource_id = subject.partition("/")
        if not slash:
            record = await self._s.projections.find(subject)
            return await check_study(record.study, self._s) if record is not None else []
        if resource_type != "object":
            held = await self._s.fhir.read(resource_type, resource_id)
            return await check_orphan(held, self._s) if held is not None else []
        stored = await self._s.locators.find(ObjectKey.parse(resource_id))
        if stored is None or not stored.value.settled:
            met = self._judge.known(subject)[0].last_at
            return [] if met is not None and began is not None and met < began else None
        return await self._object(subject, stored.value)

    async def _object(self, subject: str, locator: Locator) -> Found:
        try:
            now = await self._s.objects.etag(locator.object)
        except (SourceGone, ForeignSource):
            return []  # an object that is gone is found with its study
        self._refs[subject] = locator.object
        return [] if now == locator.etag else [Drift(subject=subject, kind=DriftKind.OBJECT_CHANGED, resource=subject)]

    async def _inspect(self, subjects: Sequence[str], inspection: Callable[[str], Awaitable[Found]]) -> None:
        self.checked += len(subjects)
        for subject, drifts in zip(subjects, await self._checker.twice(subjects, inspection), strict=True):
            if drifts is not None:
                await self._judge_and_repair(drifts[0].subject if drifts else subject, drifts)

    async def _judge_and_repair(self, subject: str, drifts: Sequence[Drift]) -> None:
        judged = self._judge.with_kept(drifts, subject)
        open_drifts: Sequence[Drift] = judged
        if judged and self._repairs and not all(drift.kept for drift in judged):
            open_drifts = await self._repair(subject, judged)
        self.found.update(drift.kind for drift in await self._judge.conclude(subject, judged, open_drifts))

    async def _repair(self, subject: str, drifts: Sequence[Drift]) -> Sequence[Drift]:
        """Repair a study. Resources that belong to no study are left for a person to judge: none is deleted here."""
        if (ref := self._refs.get(subject)) is not None:
            await self._repairing.of_object(ref)
            self.repaired += len(drifts)
            return []
        # The subject of a listed resource is an address, which is not a valid table key: storage would answer with an
        # error.
        record = await self._s.projections.find(subject) if "/" not in subject else None
        if record is None:
            return drifts
        study = record.study
        open_drifts = await self._repairing.of_study(study, drifts, Budget(0))
        self.repaired += max(len(drifts) - len(open_drifts), 0)
        self._s.telemetry.event("drift.repaired", study=subject, drifts=max(len(drifts) - len(open_drifts), 0))
        return open_drifts
