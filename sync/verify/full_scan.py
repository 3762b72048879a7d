"""
One round over everything, for the command line: the source's list, studies by key, FHIR's own list.

    a chunk of studies at once  ->  the doubtful ones, after a pause, once more  ->  repair, or only note

Memory is that of one chunk, and of what was found. What is found is noted in table ``drifts``, and what is right again
is taken out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from sync.errors import SourceGone
from sync.model import Drift, DriftKind, ListedObject, Projection, Resource, StudyRef
from sync.ports import ObjectListing, Verify
from sync.protocol.known_rows import inspected_of
from sync.verify.checking import Checker, Found
from sync.verify.judge import Judge, identity
from sync.verify.orphans import LISTED, check_orphan, study_of
from sync.verify.repair import OF_OBJECTS, Budget, remove_orphan, repair_study
from sync.verify.source import PAGE, check_listed_object, repair_object
from sync.verify.studies import check_study

CHUNK = 200
"""Studies inspected before the next are fetched."""

_KEY_DIGITS = 8
_KEYS = 16.0**_KEY_DIGITS


class ScanObserver(Protocol):
    """Who hears of it while it goes on."""

    def found(self, drift: Drift, *, repaired: bool) -> None:
        """Receive a drift, and whether it is repaired."""
        ...

    def progress(self, phase: str, completed: int, fraction: float | None) -> None:
        """Receive how many of a phase are done; the fraction is None if unknown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a round is to do.

    ``objects``: ask the source for each object too. ``sample``: check that many studies only, from the study key
    ``start`` on, and list nothing. ``removals``: how many resources that no study stands for may be deleted.
    """

    repair: bool = False
    objects: bool = True
    sample: int | None = None
    start: str = ""
    removals: int = 10


@dataclass
class ScanOutcome:
    """What a round came to; a resource counts once, whichever studies it belongs to."""

    studies: int = 0
    busy: int = 0
    found: Counter[DriftKind] = field(default_factory=Counter)
    repaired: Counter[DriftKind] = field(default_factory=Counter)
    kept: int = 0
    not_removed: int = 0
    """Resources without a record that were left alone, because there were more of them than may be removed."""

    @property
    def left(self) -> int:
        """Drifts that are there still, but for what has to stay."""
        return self.found.total() - self.repaired.total() - self.kept


class Round:
    """One round; use it once."""

    def __init__(
        self,
        plan: Plan,
        s: Verify,
        listing: ObjectListing,
        audience: ScanObserver,
        checker: Checker | None = None,
    ) -> None:
        self.outcome = ScanOutcome()
        self._plan = plan
        self._s = s
        self._source = listing
        self._audience = audience
        self._checker = checker or Checker()
        self._budget = Budget(plan.removals)
        self._listed = False
        self._reported: set[int] = set()
        self._judge = Judge(s, found_in=s.clock.now().isoformat())

    async def over_everything(self) -> ScanOutcome:
        """
        Inspect what the source lists, all studies, and what FHIR lists; or a sample of the studies.

        Idempotent and safe to interrupt.

        Raises
        ------
        TransientError
            A service did not answer for longer than some tries take.
        """
        await self._judge.load()
        if self._plan.sample is None and self._plan.objects:
            self._listed = True
            for container in self._s.settings.containers:
                try:
                    await self._container(container)
                except SourceGone:
                    self._listed = False  # there is none (yet), or none any more: its list proves nothing of its blobs
        async for chunk in self._chunks():
            await self._studies([projection.study for projection in chunk])
            self._audience.progress("studies", self.outcome.studies, self._fraction(chunk[-1].study.key))
        if self._plan.sample is None:
            for resource_type in LISTED:
                await self._orphans(resource_type)
            for subject in self._judge.unmet:
                await self._record(subject, [], [])  # not met in a whole round: it is gone
        return self.outcome

    async def over_one(self, study: StudyRef) -> ScanOutcome:
        """Inspect one study only, known or not."""
        await self._judge.load(study.key)
        await self._studies([study])
        return self.outcome

    async def _container(self, container: str) -> None:
        async def inspection(listed: ListedObject) -> Found:
            return await check_listed_object(listed, self._s)

        objects, token = 0, None
        while True:
            page = await self._source.page(container, token=token, size=PAGE)
            right = await inspected_of(page.objects, self._s)
            doubtful = [listed for listed in page.objects if listed.object.key not in right]
            for listed, drifts in zip(doubtful, await self._checker.twice(doubtful, inspection), strict=True):
                if drifts:
                    await self._of_source(listed, drifts)
            objects += len(page.objects)
            self._audience.progress(f"objects of container {container}", objects, None)
            if (token := page.token) is None:
                return

    async def _of_source(self, listed: ListedObject, drifts: Sequence[Drift]) -> None:
        open_drifts = drifts
        if self._plan.repair:
            await self._checker.with_retries(repair_object, listed.object, self._s)
            now = replace(listed, etag=await self._etag(listed))
            open_drifts = await check_listed_object(now, self._s) if now.etag else []
        await self._record(drifts[0].subject, drifts, open_drifts)

    async def _etag(self, listed: ListedObject) -> str:
        try:
            return await self._s.objects.etag(listed.object)
        except SourceGone:
            return ""

    async def _chunks(self) -> AsyncIterator[Sequence[Projection]]:
        """Walk the records by study key. A sample may start at any key: keys are hashes, so ranges are alike."""
        key, remaining, ends = self._plan.start, self._plan.sample, not self._plan.start
        while remaining is None or remaining > 0:
            chunk = await self._s.projections.after(key, CHUNK if remaining is None else min(CHUNK, remaining))
            if ends and self._plan.start:
                chunk = [row for row in chunk if row.study.key <= self._plan.start]
            if not chunk and ends:
                return
            if not chunk:
                key, ends = "", True  # round the end of the keys, to where the sample began
                continue
            yield chunk
            key, remaining = chunk[-1].study.key, None if remaining is None else remaining - len(chunk)

    def _fraction(self, key: str) -> float:
        if self._plan.sample is not None:
            return self.outcome.studies / self._plan.sample
        return int(key[:_KEY_DIGITS], 16) / _KEYS

    async def _studies(self, studies: Sequence[StudyRef]) -> None:
        async def inspection(study: StudyRef) -> Found:
            return await check_study(study, self._s, objects=self._plan.objects, listing=self._source)

        results = await self._checker.twice(studies, inspection)
        self.outcome.studies += len(studies)
        for study, drifts in zip(studies, results, strict=True):
            await self._study_checked(study, drifts)

    async def _study_checked(self, study: StudyRef, drifts: Found) -> None:
        if drifts is None:
            self.outcome.busy += 1
            return
        judged = self._judge.with_kept(drifts)
        open_drifts: Sequence[Drift] = judged
        if judged and self._plan.repair:
            repairing = partial(repair_study, listed=self._listed)
            open_drifts = await self._checker.with_retries(repairing, study, drifts, self._budget, self._s)
        await self._record(study.key, judged, open_drifts)

    def _report(self, drifts: Sequence[Drift], open_drifts: Sequence[Drift]) -> tuple[Sequence[Drift], Sequence[Drift]]:
        """Tell each drift once, whichever studies share the resource; return which are told now, and left."""
        remaining = {identity(drift): drift for drift in open_drifts}
        every = {**{identity(drift): drift for drift in drifts}, **remaining}
        new = {key: drift for key, drift in every.items() if hash(key) not in self._reported}
        for key, drift in new.items():
            self._reported.add(hash(key))
            self.outcome.found[drift.kind] += 1
            self.outcome.repaired[drift.kind] += key not in remaining
            self.outcome.kept += drift.kept and key in remaining
            self._audience.found(drift, repaired=key not in remaining)
        return list(new.values()), [drift for key, drift in new.items() if key in remaining]

    async def _record(self, subject: str, drifts: Sequence[Drift], open_drifts: Sequence[Drift]) -> None:
        """Report and store what is new to this round, and keep what it does not ask the source about."""
        new, remaining = self._report(drifts, open_drifts)
        recorded = self._judge.known(subject)
        unasked = [] if self._plan.objects else [drift for drift in recorded if drift.kind in OF_OBJECTS]
        await self._judge.conclude(subject, new, [*remaining, *unasked])

    async def _orphans(self, resource_type: str) -> None:
        """List a type; what no record knows is removed at the end of the list, unless there is too much of it."""

        async def inspection(listed: Resource) -> Found:
            return await check_orphan(listed, self._s, objects=self._plan.objects)

        orphans: list[tuple[Drift, StudyRef | None]] = []
        checked = 0
        async for listed in self._listing(resource_type):
            for resource, drifts in zip(listed, await self._checker.twice(listed, inspection), strict=True):
                await self._of_listed(resource, drifts, orphans)
            checked += len(listed)
            self._audience.progress(resource_type, checked, None)
        await self._remove(orphans)

    async def _listing(self, resource_type: str) -> AsyncIterator[Sequence[Resource]]:
        link: str | None = None
        while True:
            page = await self._checker.with_retries(self._s.fhir.page, resource_type, link)
            yield page.resources
            if (link := page.following) is None:
                return

    async def _of_listed(self, listed: Resource, drifts: Found, orphans: list[tuple[Drift, StudyRef | None]]) -> None:
        if not drifts:
            self.outcome.busy += drifts is None
            return
        [first, *_] = drifts
        if first.subject != first.resource:
            await self._study_checked(_known_study(listed), drifts)  # its record was lost, its ledger was not
        elif self._plan.repair and len(orphans) <= self._plan.removals:
            orphans.append((first, study_of(listed) if listed["resourceType"] == "ImagingStudy" else None))
        else:
            judged = self._judge.with_kept(drifts)
            await self._record(first.subject, judged, judged)

    async def _remove(self, orphans: Sequence[tuple[Drift, StudyRef | None]]) -> None:
        many = len(orphans) > max(self._budget.left, 0)
        for drift, study in orphans:
            judged = self._judge.with_kept([drift])
            open_drifts: Sequence[Drift] = judged
            if not many and self._budget.take():
                open_drift = await self._checker.with_retries(remove_orphan, drift, study, self._s)
                open_drifts = [open_drift] if open_drift is not None else []
            self.outcome.not_removed += many
            await self._record(drift.subject, judged, open_drifts)


def _known_study(listed: Resource) -> StudyRef:
    study = study_of(listed)
    assert study is not None, "drifts of a study were found by its name"
    return study
