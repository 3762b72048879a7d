"""
One round of checks: pages of the source's list, studies by key, pages of FHIR's own list.

    a page concurrently  ->  doubtful subjects again, after a pause  ->  repair, or only note

A round keeps one page and its findings in memory. Drifts are noted in table ``drifts``, and removed from it once they
are gone. A round over all studies is a walk that processes share (`sync.walks.verification`): it hands each page to a
`Round`, and `sync.verify.closing` ends it. A sample, or one study, is a round of this process alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from sync.errors import SourceGone
from sync.model import Drift, DriftKind, FhirPage, ListedObject, Locator, ObjectKey, Projection, Resource, StudyRef
from sync.ports import ObjectListing, Verify
from sync.verify.batches import RightObjects, right_among
from sync.verify.careful import Repairs
from sync.verify.checking import Checker, Found
from sync.verify.judge import Identity, Judge, identity
from sync.verify.orphans import check_orphan, study_of
from sync.verify.repair import OF_OBJECTS, REMOVABLE, Budget
from sync.verify.source import check_listed_object
from sync.verify.studies import check_study

CHUNK = 200
"""Studies inspected before the next are fetched."""


class ScanObserver(Protocol):
    """Receives drifts and progress while a round runs."""

    def report(self, drift: Drift, *, repaired: bool) -> None:
        """Receive a drift, and whether it is repaired."""
        ...

    def progress(self, phase: str, completed: int, fraction: float | None) -> None:
        """Receive how much of a phase is done; the fraction is None if unknown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    The scope of a round.

    ``objects``: also ask the source for each object. ``sample``: check only that many studies, from the study key
    ``start`` on, and list nothing. ``removals``: how many resources that belong to no study may be deleted.
    """

    repair: bool = False
    objects: bool = True
    sample: int | None = None
    start: str = ""
    removals: int = 10

    def asks_about(self, drift: Drift) -> bool:
        """Return whether this round can detect such drift."""
        return self.objects or drift.kind not in OF_OBJECTS


@dataclass
class ScanOutcome:
    """The result of a round; a resource counts once, whichever studies it belongs to."""

    studies: int = 0
    busy: int = 0
    found: Counter[DriftKind] = field(default_factory=Counter)
    repaired: Counter[DriftKind] = field(default_factory=Counter)
    kept: int = 0
    not_removed: int = 0
    """Resources without a record that were not deleted, because there were more of them than may be removed."""
    deferred: int = 0
    """Drifts that are reported later, once their removal is decided."""

    @property
    def left(self) -> int:
        """Return the number of remaining drifts, without those that have to stay."""
        return self.found.total() - self.repaired.total() - self.kept


Place = tuple[int, str]
"""Hash of a drift's subject, and the part of the round that reported it; empty if it is reported later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """
    The work of one process in a round that several share; by default a round of this process alone.

    Parameters
    ----------
    found_in
        Names the round in notes and events; empty for a round of this process alone.
    at
        Names the part of the round that this process checks: a drift reported in another part is not reported again.
    told
        Reports of this process in the round, by hash of kind and resource; rounds of one walk share it.
    right_objects
        Objects that any process found right in the round's listings.
    repairs
        Whether to repair now; by default as planned.
    careful
        Whether the process that began this part died; see `sync.verify.careful`.
    turn
        Waits for the turn of a study, or of a page of FHIR's list, if their rate is limited.
    """

    found_in: str = ""
    at: str = "alone"
    told: dict[int, Place] = field(default_factory=dict)
    right_objects: Sequence[RightObjects] = ()
    repairs: bool | None = None
    careful: bool = False
    turn: Callable[[], Awaitable[None]] | None = None


class Round:
    """One round, or one process's ``share`` of it."""

    def __init__(
        self,
        plan: Plan,
        s: Verify,
        listing: ObjectListing,
        *,
        audience: ScanObserver,
        checker: Checker | None = None,
        share: Share | None = None,
    ) -> None:
        share = share or Share()
        self.outcome = ScanOutcome()
        self.plan = plan
        self.repairs = plan.repair if share.repairs is None else share.repairs
        self.checker = checker or Checker()
        self.judge = Judge(s, found_in=share.found_in or s.clock.now().isoformat(), work_list=share.found_in)
        self._s = s
        self._source = listing
        self._audience = audience
        self._share = share
        self._repairing = Repairs(s=s, run=f"{share.found_in} {share.at}", careful=share.careful)

    async def _waited(self) -> None:
        if self._share.turn is not None:
            await self._share.turn()

    def take(self) -> ScanOutcome:
        """Return the counts since the last call."""
        outcome, self.outcome = self.outcome, ScanOutcome()
        return outcome

    async def over_sample(self) -> ScanOutcome:
        """
        Inspect a sample of the studies. Idempotent and safe to interrupt.

        Raises
        ------
        TransientError
            A service did not answer for longer than all attempts take.
        """
        await self.judge.load()
        budget = Budget(self.plan.removals)
        async for chunk in self._chunks():
            await self.studies([projection.study for projection in chunk], budget)
            self._audience.progress("studies", self.outcome.studies, self.outcome.studies / (self.plan.sample or 1))
        return self.outcome

    async def over_one(self, study: StudyRef) -> ScanOutcome:
        """Inspect one study, known or not."""
        await self.judge.load(study.key)
        await self.studies([study], Budget(self.plan.removals))
        return self.outcome

    async def _chunks(self) -> AsyncIterator[Sequence[Projection]]:
        """
        Iterate over the records by study key.

        A sample may start at any key: keys are hashes, so all ranges are alike.
        """
        key, remaining, ends = self.plan.start, self.plan.sample or 0, not self.plan.start
        while remaining > 0:
            chunk = await self._s.projections.after(key, min(CHUNK, remaining))
            if ends and self.plan.start:
                chunk = [row for row in chunk if row.study.key <= self.plan.start]
            if not chunk and ends:
                return
            if not chunk:
                key, ends = "", True  # past the end of the keys, to the start of the sample
                continue
            yield chunk
            key, remaining = chunk[-1].study.key, remaining - len(chunk)

    async def objects(self, listed: Sequence[ListedObject]) -> Sequence[Locator]:
        """
        Compare objects of the source's list with their records; return the records of correct objects.

        Idempotent.
        """
        doubted = set[ObjectKey]()

        async def inspection(one: ListedObject) -> Found:
            drifts = await check_listed_object(one, self._s)
            if not drifts or one.object.key not in doubted:
                doubted.add(one.object.key)
                return drifts
            # The list may be older than the change in our row: the second inspection asks the source itself.
            etag = await self._etag(one)
            if etag == one.etag:
                return drifts
            return await check_listed_object(replace(one, etag=etag), self._s) if etag else []

        right = await right_among(listed, self._s)
        known = {row.object.key for row in right}
        doubtful = [one for one in listed if one.object.key not in known]
        for one, drifts in zip(doubtful, await self.checker.twice(doubtful, inspection), strict=True):
            if drifts:
                await self._of_source(one, drifts)
        return right

    async def _of_source(self, listed: ListedObject, drifts: Sequence[Drift]) -> None:
        open_drifts = drifts
        if self.repairs:
            await self.checker.with_retries(self._repairing.of_object, listed.object)
            now = replace(listed, etag=await self._etag(listed))
            open_drifts = await check_listed_object(now, self._s) if now.etag else []
        await self.record(drifts[0].subject, drifts, open_drifts)

    async def _etag(self, listed: ListedObject) -> str:
        try:
            return await self._s.objects.etag(listed.object)
        except SourceGone:
            return ""

    async def studies(
        self, studies: Sequence[StudyRef], budget: Budget, *, listed: bool = False, deferring: bool = False
    ) -> None:
        """
        Compare studies with FHIR and the source. Idempotent.

        Parameters
        ----------
        budget
            Second ImagingStudies that may be deleted.
        listed
            As for `repair_study`.
        deferring
            Leave second ImagingStudies that a repair may delete to `sync.verify.closing`, which reports them.
        """

        async def inspection(study: StudyRef) -> Found:
            await self._waited()
            return await check_study(
                study,
                self._s,
                objects=self.plan.objects,
                listing=self._source,
                right_objects=self._share.right_objects,
            )

        results = await self.checker.twice(studies, inspection)
        self.outcome.studies += len(studies)
        for study, drifts in zip(studies, results, strict=True):
            await self._study_checked(study, drifts, budget, listed=listed, deferring=deferring)

    async def study_again(self, study: StudyRef, budget: Budget) -> None:
        """Compare a study of this round again; it is not counted twice."""
        checking = partial(check_study, objects=self.plan.objects, listing=self._source)
        await self._study_checked(study, await self.checker.with_retries(checking, study, self._s), budget)

    async def _study_checked(
        self, study: StudyRef, drifts: Found, budget: Budget, *, listed: bool = False, deferring: bool = False
    ) -> None:
        if drifts is None:
            self.outcome.busy += 1
            return
        judged = self.judge.with_kept(drifts)
        open_drifts: Sequence[Drift] = judged
        if judged and self.repairs:
            repair = self._repairing.of_study
            open_drifts = await self.checker.with_retries(repair, study, drifts, budget, listed=listed)
        later = [drift for drift in open_drifts if deferring and is_removable(drift)]
        await self.record(study.key, judged, open_drifts, later=later)

    def _report(
        self, subject: str, drifts: Sequence[Drift], open_drifts: Sequence[Drift], later: Collection[Identity]
    ) -> tuple[Sequence[Drift], Sequence[Drift]]:
        """
        Report each drift once, whichever subjects share the resource; return this subject's notes and remaining drifts.

        Repeating a part of the round gives the same result.
        """
        remaining = {identity(drift): drift for drift in open_drifts}
        every = {**{identity(drift): drift for drift in drifts}, **remaining}
        us = hash(subject)
        ours = {key: drift for key, drift in every.items() if self._share.told.get(hash(key), (us, ""))[0] == us}
        for key, drift in ours.items():
            if key in later:
                self._share.told.setdefault(hash(key), (us, ""))
                self.outcome.deferred += 1
                continue
            if self._share.told.get(hash(key), (us, ""))[1] not in {"", self._share.at}:
                continue
            self._share.told[hash(key)] = (us, self._share.at)
            self.outcome.found[drift.kind] += 1
            self.outcome.repaired[drift.kind] += key not in remaining
            self.outcome.kept += drift.kept and key in remaining
            self._audience.report(drift, repaired=key not in remaining)
        return list(ours.values()), [drift for key, drift in ours.items() if key in remaining]

    async def record(
        self, subject: str, drifts: Sequence[Drift], open_drifts: Sequence[Drift], *, later: Sequence[Drift] = ()
    ) -> None:
        """
        Report and store the drifts that are new to this round, and keep those that it cannot detect.

        Parameters
        ----------
        later
            Drifts that are stored now and reported later.
        """
        new, remaining = self._report(subject, drifts, open_drifts, {identity(drift) for drift in later})
        recorded = self.judge.known(subject)
        unasked = [] if self.plan.objects else [drift for drift in recorded if drift.kind in OF_OBJECTS]
        await self.judge.conclude(subject, new, [*remaining, *unasked])

    async def page(self, resource_type: str, link: str | None) -> FhirPage:
        """Read a page of FHIR's list, as the port does; retry while FHIR does not answer."""
        await self._waited()
        return await self.checker.with_retries(self._s.fhir.page, resource_type, link)

    async def resources(self, listed: Sequence[Resource]) -> None:
        """Compare a page of FHIR's list with the records; with ``repair`` orphans are reported later."""

        async def inspection(one: Resource) -> Found:
            return await check_orphan(one, self._s, objects=self.plan.objects)

        for resource, drifts in zip(listed, await self.checker.twice(listed, inspection), strict=True):
            await self.of_listed(resource, drifts)

    async def of_listed(self, listed: Resource, drifts: Found) -> None:
        """Note what `check_orphan` found about a resource."""
        if not drifts:
            self.outcome.busy += drifts is None
            return
        [first, *_] = drifts
        if first.subject != first.resource:
            await self._study_checked(
                _known_study(listed), drifts, Budget(0)
            )  # its record was lost, its ledger was not
            return
        judged = self.judge.with_kept(drifts)
        await self.record(first.subject, judged, judged, later=judged if self.plan.repair else ())


def is_removable(drift: Drift) -> bool:
    """Return whether it is a second ImagingStudy that a repair may delete."""
    return drift.kind is DriftKind.DOUBLED and drift.detail in REMOVABLE


def _known_study(listed: Resource) -> StudyRef:
    study = study_of(listed)
    assert study is not None, "drifts of a study were found by its name"
    return study
