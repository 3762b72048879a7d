"""
Compares source, ledger and FHIR for all studies, by any number of processes: a kind of `sync.walks.sharing`.

    slices of the containers  ->  ranges of study keys  ->  FHIR's list, a type a slice  ->  the end of the round

A slice notes its findings in table ``drifts`` under the name of the run, so that a slice that is done twice notes the
same rows, and the last slice counts each of them once. A round that repairs works on the parts in order, each after the
one before is done. A round that only compares begins with the containers, because a listing shows which objects of
studies need no separate check, and finishes with the end; the other parts have no order.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from sync.config import Settings
from sync.errors import FhirRejected, SourceGone
from sync.model import CHECKS, Batch, Drift, DriftKind
from sync.model.circles import Passed, followed
from sync.operators.audit import OperatorAction
from sync.operators.pause import projection_pause
from sync.operators.walks import NewWalk
from sync.ports import MarkDirty, ObjectListing, Verify
from sync.protocol.walk_rows import Slice, WalkRow, read_board
from sync.verify.batches import RightObjects
from sync.verify.checking import Checker
from sync.verify.closing import DOUBLES, Removable, close_round, noted_removable, remove_doubles, remove_orphans
from sync.verify.full_scan import CHUNK, Place, Plan, Round, ScanObserver, ScanOutcome, Share
from sync.verify.orphans import LISTED
from sync.verify.repair import Budget
from sync.verify.source import PAGE
from sync.walks.by_run import ByRun
from sync.walks.cutting import Cut, Listing, ListingPlan, ListingSlice, cut_listing, slice_pages
from sync.walks.handed import Handed
from sync.walks.key_ranges import expected_studies, kind_for, studies_between
from sync.walks.pacing import PacedMarks
from sync.walks.verification_parts import (
    POSITION,
    REQUEST,
    End,
    Objects,
    Part,
    Position,
    Removal,
    Request,
    Resources,
    Stand,
    Step,
    Studies,
    cut_keys,
    cut_rest,
    part_of,
    position_of,
    request_of,
    stand_of,
)
from sync.walks.without_changes import WithoutChanges
from sync.words import noun_of

KIND = "verify"
"""Name of this kind of walk; its rows' kinds begin with it."""

NAMES = 5000
"""Minimum objects of a slice: a request compares a thousand."""

STUDIES_A_SLICE = 100
"""Approximate number of studies in a slice."""

MOST_RANGES = 512
"""Maximum ranges of study keys: with more, reading all rows of slices would cost too much."""

REPAIRED_AT_ONCE = 20
"""Studies in a batch of a repair, which takes seconds for each; an interruption loses the count of a batch."""

PACED_SECONDS = 10.0
"""Seconds that a batch takes at the configured rate: a longer one would not end within a function's turn."""

T = TypeVar("T")

_PREFIX = "repaired_"


def new_verification(plan: Plan, settings: Settings, *, rate: float | None = None) -> NewWalk:
    """Return the walk to begin; equal plans have one name. ``rate`` as in `WalkRow`, here studies compared a second."""
    kind = kind_for(KIND, settings)
    options = [f"repair {plan.removals}"] if plan.repair else []
    options += [] if plan.objects else ["without source"]
    containers = tuple(sorted(settings.containers))
    request = Request(repair=plan.repair, objects=plan.objects, removals=plan.removals, containers=containers)
    return NewWalk(
        name=" ".join([kind, *options]),
        kind=kind,
        request=REQUEST.write(request),
        action=action_of(plan),
        subject="everything",
        why=reason_of(plan),
        unit=CHECKS,
        rate=rate,
    )


def action_of(plan: Plan) -> OperatorAction:
    """Return the walk's action in the audit trail: a repair may delete resources."""
    return OperatorAction.REPAIR if plan.repair else OperatorAction.COMPARE


def reason_of(plan: Plan) -> str:
    """Return the reason for the audit trail, which says how much a repair may delete."""
    return f"at most {plan.removals} {noun_of(plan.removals, 'orphan')} deleted" if plan.repair else ""


def outcome_of(counts: Mapping[str, int]) -> ScanOutcome:
    """Return the result of a walk that is done."""
    left = Counter({kind: counts[name_of(kind)] for kind in DriftKind if name_of(kind) in counts})
    repaired = Counter(
        {kind: counts[_PREFIX + name_of(kind)] for kind in DriftKind if _PREFIX + name_of(kind) in counts}
    )
    return ScanOutcome(
        studies=counts.get("studies", 0),
        busy=counts.get("busy", 0),
        found=left + repaired,
        repaired=repaired,
        kept=counts.get("kept", 0),
        not_removed=counts.get("not_removed", 0),
    )


def name_of(kind: DriftKind) -> str:
    """Return the name of a kind's count."""
    return kind.value.removeprefix("drift.")


def counts_of(outcome: ScanOutcome, **more: int) -> dict[str, int]:
    """Return the counts that a batch adds; remaining drifts are counted at the end of the round, from their rows."""
    numbers = {
        "studies": outcome.studies,
        "busy": outcome.busy,
        "deferred": outcome.deferred,
        "not_removed": outcome.not_removed,
        **{_PREFIX + name_of(kind): number for kind, number in outcome.repaired.items()},
        **more,
    }
    return {name: number for name, number in numbers.items() if number}


class _Unheard:
    """Ignores reports: in a function, findings are only noted."""

    def report(self, drift: Drift, *, repaired: bool) -> None:
        """Receive a drift."""

    def progress(self, phase: str, completed: int, fraction: float | None) -> None:
        """Receive how many of a phase are done."""


@dataclass(frozen=True, kw_only=True)
class Verification(WithoutChanges):
    """
    Compares everything, by any number of workers. Idempotent, and may be interrupted.

    ``audience`` receives the findings of this process, not those of others.
    """

    listing: ObjectListing
    services: Verify
    audience: ScanObserver = field(default_factory=_Unheard)
    checker: Checker = field(default_factory=Checker)
    told: ByRun[dict[int, Place]] = field(default_factory=lambda: ByRun(dict))
    """Findings that this process has reported."""
    handed: Handed = field(default_factory=Handed)
    right_objects: ByRun[list[RightObjects]] = field(default_factory=lambda: ByRun(list))
    """Objects that any process found right in listings, once the listings are done."""

    async def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """
        Cut the containers' listings, then the keys of studies, then the rest. Only reads.

        A missing container holds no objects (yet), and its listing proves nothing about its blobs.
        """
        request, stand, made = request_of(row), stand_of(row), row.made
        containers = request.containers if request.objects else ()
        for container in containers[stand.container :]:
            async for step in self._container(self._source(container, row), stand):
                stand, made = step.stand, made + (step.part is not None)
                yield step.cut
        if not stand.ranges:
            stand = replace(await self._with_ranges(stand), before=made)
            yield Step(stand).cut
        for step in cut_keys(stand):
            stand, made = step.stand, made + 1
            yield step.cut
        for step in cut_rest(stand, request.plan, made):
            yield step.cut

    async def _right_objects(self, row: WalkRow) -> Sequence[RightObjects]:
        """Return the objects that the listings proved right; read once, since slices of studies wait for listings."""
        right = self.right_objects.of(row.run)
        if not right and request_of(row).objects:
            slices = (await read_board(self.services)).of_walk(row)
            right += [noted for piece in slices if (noted := position_of(piece).right) is not None]
        return right

    def _source(self, container: str, row: WalkRow) -> Listing:
        return Listing(container=container, pages=self.listing, handed=self.handed, run=row.run)

    async def _container(self, source: Listing, stand: Stand) -> AsyncIterator[Step]:
        over = replace(stand, container=stand.container + 1, at=ListingPlan())
        try:
            async for cut in cut_listing(source, stand.at, smallest=NAMES):
                after = over if cut.last else replace(stand, at=cut.plan)
                if cut.part is None:
                    yield Step(after)
                else:
                    part = Objects(container=source.container, token=cut.part.token, ends=cut.part.ends)
                    yield Step(after, part, size=cut.size)
        except SourceGone:
            yield Step(replace(over, listed=False))

    async def _with_ranges(self, stand: Stand) -> Stand:
        studies = await expected_studies(self.services)
        ranges = min(max(math.ceil(studies / STUDIES_A_SLICE), 1), MOST_RANGES)
        return replace(stand, studies=studies, ranges=ranges)

    async def batches(self, row: WalkRow, piece: Slice, after: Sequence[Slice], s: MarkDirty) -> AsyncIterator[Batch]:
        """Iterate over a slice: compared, and repaired if requested and projection is not paused."""
        at, part = position_of(piece), part_of(piece)
        if at.over:
            return
        services, plan = replace(self.services, dirty=s.dirty), request_of(row).plan
        work = _Work(
            row=row,
            size=piece.size,
            at=at,
            later=[part_of(later) for later in after],
            source=partial(self._source, row=row),
            s=services,
            round=Round(
                plan,
                services,
                self.listing,
                audience=self.audience,
                checker=self.checker,
                share=Share(
                    found_in=row.run,
                    at=piece.name,
                    told=self.told.of(row.run),
                    right_objects=await self._right_objects(row) if isinstance(part, Studies) else (),
                    repairs=plan.repair and await projection_pause(services) is None,
                    careful=piece.deaths > 0,
                    turn=s.dirty.turn if isinstance(s.dirty, PacedMarks) else None,
                ),
            ),
        )
        async for batch in work.on(part):
            yield batch


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A holder's work on a slice, from its position ``at`` on; ``later`` are the slices behind it."""

    row: WalkRow
    size: int
    at: Position
    later: Sequence[Part]
    round: Round
    source: Callable[[str], Listing]
    s: Verify

    def on(self, part: Part) -> AsyncIterator[Batch]:
        match part:
            case Objects():
                return self._objects(part)
            case Studies():
                return self._studies(part)
            case Resources():
                return self._list(part.what)
            case Removal():
                return self._remove(part.what)
            case End():
                return self._close()

    async def _with_known(self, read: AsyncIterator[T]) -> AsyncIterator[T]:
        """Iterate over the reads of a part; the first is requested concurrently with the known drifts."""
        loading = asyncio.create_task(self.round.judge.load())
        try:
            async for one in read:
                await loading
                yield one
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    def _batch(self, position: Position, **more: int) -> Batch:
        return Batch(position=POSITION.write(position), counts=counts_of(self.round.take(), **more))

    async def _objects(self, part: Objects) -> AsyncIterator[Batch]:
        later = [other for other in self.later if isinstance(other, Objects) and other.container == part.container]
        piece = ListingSlice(part=part, at=self.at, later=later)
        pages = slice_pages(self.source(part.container), piece, size=min(PAGE, self.size + 1))
        # Stored with the position, and moved with it: the next holder of the slice continues with what it proved.
        right = self.at.right or RightObjects(since=self.s.clock.now())
        async for page, at in self._with_known(pages):
            right = right.with_these(await self.round.objects(page.objects))
            yield self._batch(Position(token=at.token, over=at.over, right=right), objects=len(page.objects))

    async def _studies(self, part: Studies) -> AsyncIterator[Batch]:
        size = REPAIRED_AT_ONCE if self.round.repairs else CHUNK
        if self.row.rate is not None:
            size = max(round(min(size, self.row.rate * PACED_SECONDS)), 1)
        async for chunk in self._with_known(studies_between(self.at.after or part.begin, part.end, self.s, size=size)):
            studies = [record.study for record in chunk]
            deferring = self.round.plan.repair
            await self.round.studies(studies, Budget(0), listed=part.listed, deferring=deferring)
            yield self._batch(Position(after=studies[-1].key))

    async def _list(self, what: str) -> AsyncIterator[Batch]:
        await self.round.judge.load()
        link = kept = self.at.link
        passed = Passed()
        while True:
            try:
                page = await self.round.page(what, link)
            except FhirRejected:
                if link is None or link != kept:
                    raise
                passed, link = Passed(), None
                kept = None  # the link has expired: start the list again
                continue
            passed = followed(passed, page.following)
            await self.round.resources(page.resources)
            link = page.following
            yield self._batch(Position(link=link or None, over=not link), resources=len(page.resources))
            if not link:
                return

    async def _remove(self, what: str) -> AsyncIterator[Batch]:
        if not self.round.repairs:
            return  # projection has been paused: what was found is left
        await self.round.judge.load()
        most = self.round.plan.removals
        noted = await noted_removable(self.row.run, self.s, most=most, after=self.at.after)
        removable = noted.get(what, Removable(what=what))
        left, counted = await self._left(what, noted), await self._counted(what)
        if removable.number > counted:
            # Noted by a worker that had lost its slice, while the new holder found the study being processed. After a
            # kill the rows would not show how many of them are gone, so the next round deletes them.
            yield Batch(position=POSITION.write(_OVER), counts={"not_removed": removable.number})
            return
        if what == DOUBLES:
            done = remove_doubles(removable, left - max(counted - removable.number, 0), self.round, self.s)
        elif counted > left:
            yield Batch(position=POSITION.write(_OVER), counts={"not_removed": removable.number})
            return
        else:
            done = remove_orphans(removable, self.round, self.s)
        async for subject in done:
            yield self._batch(Position(after=subject))

    async def _left(self, what: str, noted: Mapping[str, Removable]) -> int:
        """Return how many resources may still be deleted after the earlier steps; deleted findings count."""
        order = (DOUBLES, *LISTED)
        before = order[: order.index(what)]
        gone = [await self._counted(step) - (noted[step].number if step in noted else 0) for step in before]
        return self.round.plan.removals - sum(max(number, 0) for number in gone)

    async def _counted(self, what: str) -> int:
        """Return how many the round found, from rows of finished slices, so that a kill changes nothing."""
        slices = (await read_board(self.s)).of_walk(self.row)
        counted = [piece for piece in slices if _finds(part_of(piece), what)]
        return sum(piece.counts.get("deferred", 0) for piece in counted)

    async def _close(self) -> AsyncIterator[Batch]:
        await self.round.judge.load()
        left, kept = await close_round(self.row.run, self.round, self.s)
        self.round.outcome.busy = 0  # counted when they were found
        yield self._batch(_OVER, kept=kept, **{name_of(kind): number for kind, number in left.items()})


_OVER = Position(over=True)


def _finds(part: Part, what: str) -> bool:
    """Return whether such a part finds the resources that are removed under that name."""
    return isinstance(part, Studies) if what == DOUBLES else part == Resources(what=what)
