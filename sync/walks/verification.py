"""
A comparison of everything, by any number of processes: a kind of `sync.walks.sharing`.

    slices of the containers  ->  ranges of study keys  ->  FHIR's list, a type a slice  ->  the end of the round

What a slice finds is noted in table ``drifts`` under the name of the run, so that a slice that is done twice notes the
same rows, and the last slice counts each of them once. A round that repairs goes in the order of the parts, each after
the one before is done. One that only compares begins with the containers, because a listing tells which objects of
studies need not be looked up, and ends with the end; the rest has no order.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sync.config import Settings
from sync.errors import FhirRejected, SourceGone
from sync.model import CHECKS, Batch, Drift, DriftKind
from sync.operators.audit import OperatorAction
from sync.operators.pause import projection_pause
from sync.operators.walks import NewWalk
from sync.ports import MarkDirty, ObjectListing, Verify
from sync.protocol.walk_rows import Slice, WalkRow, read_board
from sync.verify.batches import RightObjects
from sync.verify.checking import Checker
from sync.verify.closing import DOUBLES, Removable, close_round, noted_removable, remove_doubles, remove_orphans
from sync.verify.full_scan import CHUNK, Place, Plan, Round, ScanObserver, ScanOutcome
from sync.verify.orphans import LISTED
from sync.verify.repair import Budget
from sync.verify.source import PAGE
from sync.walks.by_run import ByRun
from sync.walks.cutting import Cut, Listing, cut_listing, slice_pages
from sync.walks.handed import Handed
from sync.walks.key_ranges import bound, expected_studies, kind_for, studies_between
from sync.walks.pacing import PacedMarks
from sync.walks.without_changes import WithoutChanges
from sync.words import noun_of

KIND = "verify"
"""Name of this kind of walk; of its rows, how the kind begins."""

NAMES = 5000
"""Objects of a slice at least: a request compares a thousand."""

STUDIES_A_SLICE = 100
"""Studies of a slice, as far as their number can be told."""

MOST_RANGES = 512
"""Ranges of study keys at most: with more, the rows of slices would be much to read."""

REPAIRED_AT_ONCE = 20
"""Studies of a batch where they are repaired, which takes seconds each; an interruption loses the count of a batch."""

PACED_SECONDS = 10.0
"""Seconds that a batch takes at the rate that is set: a longer one would not end in the turn of a function."""

OBJECTS, STUDIES, LIST, REMOVE, CLOSE = "objects", "studies", "list", "remove", "close"
"""Parts of a round."""

T = TypeVar("T")

_WORTH_STUDY, _WORTH_RESOURCE = 100, 10
_PREFIX = "repaired_"


def new_verification(plan: Plan, settings: Settings, *, rate: float | None = None) -> NewWalk:
    """Return the walk to begin; equal plans have one name. ``rate`` as in `WalkRow`: studies that are compared."""
    kind = kind_for(KIND, settings)
    options = [f"repair {plan.removals}"] if plan.repair else []
    options += [] if plan.objects else ["without source"]
    request = {
        "repair": plan.repair,
        "objects": plan.objects,
        "removals": plan.removals,
        "containers": sorted(settings.containers),
    }
    return NewWalk(
        name=" ".join([kind, *options]),
        kind=kind,
        request=request,
        action=action_of(plan),
        subject="everything",
        why=reason_of(plan),
        unit=CHECKS,
        rate=rate,
    )


def action_of(plan: Plan) -> OperatorAction:
    """Return what the audit trail calls it: a repair may delete resources."""
    return OperatorAction.REPAIR if plan.repair else OperatorAction.COMPARE


def reason_of(plan: Plan) -> str:
    """Say in the audit trail how much a repair may delete."""
    return f"at most {plan.removals} {noun_of(plan.removals, 'orphan')} deleted" if plan.repair else ""


def plan_of(row: WalkRow) -> Plan:
    """Return what a walk's row asks for. Inverse of `new_verification`."""
    request = row.request
    return Plan(repair=request["repair"], objects=request["objects"], removals=request["removals"])


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
    """Return the name that counts have for a kind."""
    return kind.value.removeprefix("drift.")


def counts_of(outcome: ScanOutcome, **more: int) -> dict[str, int]:
    """Return what a batch adds: what is left is counted at the end of the round, from what is noted."""
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
    """Hears nothing: in a function, what is found is only noted."""

    def report(self, drift: Drift, *, repaired: bool) -> None:
        """Receive a drift."""

    def progress(self, phase: str, completed: int, fraction: float | None) -> None:
        """Receive how many of a phase are done."""


@dataclass(frozen=True, kw_only=True)
class Verification(WithoutChanges):
    """
    Compares everything, by any number of workers. Idempotent, and may be interrupted.

    ``audience`` hears what this process finds, not what others do.
    """

    listing: ObjectListing
    services: Verify
    audience: ScanObserver = field(default_factory=_Unheard)
    checker: Checker = field(default_factory=Checker)
    told: ByRun[dict[int, Place]] = field(default_factory=lambda: ByRun(dict))
    """What this process has told."""
    handed: Handed = field(default_factory=Handed)
    right_objects: ByRun[list[RightObjects]] = field(default_factory=lambda: ByRun(list))
    """What all processes have found right in listings, once the listings are done."""

    async def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """
        Cut the containers' listings, then the keys of studies, then the rest. Only reads.

        A container that is not there holds nothing (yet), and its list proves nothing of its blobs.
        """
        plan, made = plan_of(row), row.made
        stand = {"container": 0, "at": {}, "listed": plan.objects, "ranges": 0, "range": 0, "step": 0, **row.plan}
        containers = row.request["containers"] if plan.objects else []
        for number in range(stand["container"], len(containers)):
            async for cut in self._container(self._source(containers[number], row), number, stand):
                stand, made = dict(cut.position), made + (cut.scope is not None)
                yield cut
        if not stand["ranges"]:
            stand = {**stand, **await self._ranges(), "before": made}
            yield Cut(position=stand)
        for cut in _cut_keys(stand):
            stand, made = dict(cut.position), made + 1
            yield cut
        for cut in _cut_rest(stand, plan, made):
            yield cut

    async def _right_objects(self, row: WalkRow) -> Sequence[RightObjects]:
        """Return what the listings proved right; read once, for a slice of studies waits for all of them."""
        right = self.right_objects.of(row.run)
        if not right and plan_of(row).objects:
            slices = (await read_board(self.services)).of_walk(row)
            right += [RightObjects.of(slice_.at["right"]) for slice_ in slices if "right" in slice_.at]
        return right

    def _source(self, container: str, row: WalkRow) -> Listing:
        return Listing(container=container, pages=self.listing, handed=self.handed, run=row.run)

    async def _container(self, source: Listing, number: int, stand: Mapping[str, Any]) -> AsyncIterator[Cut]:
        over = {**stand, "container": number + 1, "at": {}}
        try:
            async for cut in cut_listing(source, stand["at"], smallest=NAMES):
                scope = {"part": OBJECTS, "container": source.container, **cut.scope} if cut.scope is not None else None
                yield replace(
                    cut, position=over if cut.last else {**stand, "at": cut.position}, scope=scope, last=False
                )
        except SourceGone:
            yield Cut(position={**over, "listed": False})

    async def _ranges(self) -> dict[str, int]:
        total = await expected_studies(self.services, first=CHUNK)
        return {"studies": total, "ranges": min(max(math.ceil(total / STUDIES_A_SLICE), 1), MOST_RANGES)}

    async def batches(self, row: WalkRow, piece: Slice, after: Sequence[Slice], s: MarkDirty) -> AsyncIterator[Batch]:
        """Iterate over a slice, compared, and repaired if that is asked for and projection is not paused."""
        if piece.at.get("over"):
            return
        services, plan = replace(self.services, dirty=s.dirty), plan_of(row)
        part = _Part(
            row=row,
            piece=piece,
            after=after,
            source=self._source(piece.scope.get("container", ""), row),
            s=services,
            round=Round(
                plan,
                services,
                self.listing,
                audience=self.audience,
                checker=self.checker,
                found_in=row.run,
                at=piece.name,
                told=self.told.of(row.run),
                right_objects=await self._right_objects(row) if piece.scope["part"] == STUDIES else (),
                repairs=plan.repair and await projection_pause(services) is None,
                turn=s.dirty.turn if isinstance(s.dirty, PacedMarks) else None,
            ),
        )
        async for batch in part.batches():
            yield batch


def _cut_keys(stand: Mapping[str, Any]) -> Iterator[Cut]:
    """Cut the keys of studies into ranges of the same length, each without its first key and with its last."""
    ranges = stand["ranges"]
    for number in range(stand["range"], ranges):
        scope = {"part": STUDIES, "from": bound(number, ranges), "to": bound(number + 1, ranges)}
        yield Cut(
            position={**stand, "range": number + 1},
            scope={**scope, "listed": stand["listed"]},
            size=_WORTH_STUDY * stand["studies"] // ranges,
            needs=stand["before"],
        )


def _cut_rest(stand: Mapping[str, Any], plan: Plan, made: int) -> Iterator[Cut]:
    lists = [(step, resource_type) for resource_type in LISTED for step in ((LIST, REMOVE) if plan.repair else (LIST,))]
    steps = [*([(REMOVE, DOUBLES)] if plan.repair else []), *lists, (CLOSE, "")]
    for number in range(stand["step"], len(steps)):
        (part, what), last = steps[number], number + 1 == len(steps)
        yield Cut(
            position={**stand, "step": number + 1},
            scope={"part": part, "what": what},
            size=_WORTH_RESOURCE * stand["studies"] if part == LIST else 0,
            # What is removed in one step is no drift in the next; and the end comes after all.
            needs=made if plan.repair or last else 0,
            last=last,
        )
        made += 1


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is done of a slice by one of its holders."""

    row: WalkRow
    piece: Slice
    after: Sequence[Slice]
    round: Round
    source: Listing
    s: Verify

    def batches(self) -> AsyncIterator[Batch]:
        return {
            OBJECTS: self._objects,
            STUDIES: self._studies,
            LIST: self._list,
            REMOVE: self._remove,
            CLOSE: self._close,
        }[self.piece.scope["part"]]()

    async def _with_known(self, read: AsyncIterator[T]) -> AsyncIterator[T]:
        """Iterate over what is read for a part, of which the first is asked for beside the known drifts."""
        loading = asyncio.create_task(self.round.judge.load())
        try:
            async for one in read:
                await loading
                yield one
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    def _batch(self, position: Mapping[str, Any], **more: int) -> Batch:
        return Batch(position=position, counts=counts_of(self.round.take(), **more))

    async def _objects(self) -> AsyncIterator[Batch]:
        container = self.source.container
        after = [slice_ for slice_ in self.after if slice_.scope.get("container") == container]
        size = min(PAGE, self.piece.size + 1)
        # Noted with the position, and moved with it: who goes on with the slice goes on with what it proved.
        noted = self.piece.at.get("right")
        right = RightObjects.of(noted) if noted else RightObjects(since=self.s.clock.now())
        async for page, following in self._with_known(slice_pages(self.source, self.piece, after, size=size)):
            right = right.with_these(await self.round.objects(page.objects))
            yield self._batch({**following, "right": right.as_json()}, objects=len(page.objects))

    async def _studies(self) -> AsyncIterator[Batch]:
        scope, repairs = self.piece.scope, self.round.repairs
        begin, size = self.piece.at.get("after", scope["from"]), REPAIRED_AT_ONCE if repairs else CHUNK
        if self.row.rate is not None:
            size = max(round(min(size, self.row.rate * PACED_SECONDS)), 1)
        async for chunk in self._with_known(studies_between(begin, scope["to"], self.s, size=size)):
            listed, deferring = scope["listed"], self.round.plan.repair
            studies = [record.study for record in chunk]
            await self.round.studies(studies, Budget(0), listed=listed, deferring=deferring)
            yield self._batch({"after": studies[-1].key})

    async def _list(self) -> AsyncIterator[Batch]:
        await self.round.judge.load()
        what, kept = self.piece.scope["what"], self.piece.at.get("link")
        link = kept
        while True:
            try:
                page = await self.round.page(what, link)
            except FhirRejected:
                if link is None or link != kept:
                    raise
                link = kept = None  # the link has expired: from the beginning of the list
                continue
            await self.round.resources(page.resources)
            link = page.following
            yield self._batch({"link": link} if link else {"over": True}, resources=len(page.resources))
            if not link:
                return

    async def _remove(self) -> AsyncIterator[Batch]:
        if not self.round.repairs:
            return  # projection has been paused: what was found is left
        await self.round.judge.load()
        what, after, plan = self.piece.scope["what"], self.piece.at.get("after", ""), self.round.plan
        noted = await noted_removable(self.row.run, self.s, most=plan.removals, after=after)
        removable = noted.get(what, Removable(what=what))
        left, counted = await self._left(noted), await self._counted(what)
        if removable.number > counted:
            # Noted by a worker that had lost its slice, while the other one met the study at work. After a kill it
            # would not show how many of them are gone, so the next round deletes them.
            yield Batch(position={"over": True}, counts={"not_removed": removable.number})
            return
        if what == DOUBLES:
            done = remove_doubles(removable, left - max(counted - removable.number, 0), self.round, self.s)
        elif counted > left:
            yield Batch(position={"over": True}, counts={"not_removed": removable.number})
            return
        else:
            done = remove_orphans(removable, self.round, self.s)
        async for subject in done:
            yield self._batch({"after": subject})

    async def _left(self, noted: Mapping[str, Removable]) -> int:
        """Return how many resources may still be deleted, after the steps before: what was found and is gone counts."""
        order = (DOUBLES, *LISTED)
        before = order[: order.index(self.piece.scope["what"])]
        gone = [await self._counted(step) - (noted[step].number if step in noted else 0) for step in before]
        return self.round.plan.removals - sum(max(number, 0) for number in gone)

    async def _counted(self, what: str) -> int:
        """Return how many the round found; from rows of slices that are done, so that a kill changes nothing."""
        slices = (await read_board(self.s)).of_walk(self.row)
        part = (STUDIES, None) if what == DOUBLES else (LIST, what)
        counted = [slice_ for slice_ in slices if (slice_.scope["part"], slice_.scope.get("what")) == part]
        return sum(slice_.counts.get("deferred", 0) for slice_ in counted)

    async def _close(self) -> AsyncIterator[Batch]:
        await self.round.judge.load()
        left, kept = await close_round(self.row.run, self.round, self.s)
        self.round.outcome.busy = 0  # counted when they were met
        yield self._batch({"over": True}, kept=kept, **{name_of(kind): number for kind, number in left.items()})
