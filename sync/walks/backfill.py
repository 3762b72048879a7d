"""
A walk over all objects of a container, for a new installation or after a loss of events that no feed covers.

A listing names each object with its ETag, so an unchanged object costs no read of the object: only a thousandth of a
request if its folder is small enough (`sync.walks.known`), else one row read. The listing is cut into slices
(`sync.walks.cutting`) that commands and functions share (`sync.walks.sharing`). The dirty studies are projected by the
running functions or in this process (`sync.walks.inline_projection`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sync.delivery.handlers import dead_letter_delivery, handle_change
from sync.errors import PermanentError, StaleToken
from sync.model import Action, Batch, Change, Ingested, Page, digest
from sync.model.circles import Passed, listed_on
from sync.model.timestamps import Timestamp
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk
from sync.ports import Ingest, Locate, ObjectListing, ReadFeeds
from sync.protocol.claims import is_repeat
from sync.protocol.row_values import RowValue
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import (
    LISTING_PART,
    LISTING_PLAN,
    PART_POSITION,
    Cut,
    Listing,
    ListingPart,
    ListingSlice,
    cut_listing,
    slice_pages,
)
from sync.walks.handed import Handed
from sync.walks.known import without_known
from sync.walks.walk import Walk, Work, retry_then_dead_letter, run_walk

PAGE = 1000
"""Objects on a page. The position moves a page at a time, so after a kill at most twice as many are inspected again."""

KIND = "backfill"
"""Name of this kind of walk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The scope of a backfill: a container, names that begin with ``prefix``, changes since ``since``."""

    container: str
    prefix: str = ""
    since: Timestamp | None = None

    @property
    def cursor(self) -> str:
        """Name of the walk's cursor. It contains the prefix, which may name a patient, only as a hash."""
        more = digest(self.prefix, self.since.isoformat() if self.since else "", length=12)
        return f"backfill {self.container} {more}" if self.prefix or self.since else f"backfill {self.container}"


_SCOPE: RowValue[Scope] = RowValue(Scope)


def new_backfill(scope: Scope, *, rate: float | None = None) -> NewWalk:
    """Return the walk to begin for a scope; ``rate`` as in `WalkRow`."""
    action = OperatorAction.BACKFILL
    return NewWalk(name=scope.cursor, kind=KIND, request=_SCOPE.write(scope), action=action, rate=rate)


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """
    Walks over the objects of a container, by any number of workers: a kind of `sync.walks.sharing`.

    Inspects every object of the scope that changed or is not known. Idempotent; may be interrupted and run beside
    events.
    """

    listing: ObjectListing
    handed: Handed = field(default_factory=Handed)

    async def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """Cut the listing; see `cut_listing`."""
        async for cut in cut_listing(self._source(row), LISTING_PLAN.read(row.plan, row=row.name)):
            scope = LISTING_PART.write(cut.part) if cut.part is not None else None
            yield Cut(position=LISTING_PLAN.write(cut.plan), scope=scope, size=cut.size, last=cut.last)

    def batches(self, row: WalkRow, piece: Slice, after: Sequence[Slice], s: ReadFeeds) -> AsyncIterator[Batch]:
        """Iterate over the objects of a slice whose rows are missing or out of date."""
        mine = ListingSlice(
            part=_part_of(piece),
            at=PART_POSITION.read(piece.at, row=piece.name),
            later=[_part_of(later) for later in after],
        )
        since = _scope_of(row).since
        return without_known(listed_slice(self._source(row), mine, since=since, size=piece.size), s)

    def work(self, row: WalkRow, walk: Walk, s: ReadFeeds) -> Work:  # noqa: ARG002 -- as each kind is asked
        """Inspect an object."""
        return _inspect(walk, s)

    async def give_up(self, walk: Walk, s: ReadFeeds, change: Change, refusal: PermanentError) -> None:
        """Dead-letter an object that alone keeps failing."""
        walk.count(Ingested.DEAD_LETTERED.counted)
        await dead_letter_delivery(change, refusal, s)

    def _source(self, row: WalkRow) -> Listing:
        scope = _scope_of(row)
        return Listing(
            container=scope.container, prefix=scope.prefix, pages=self.listing, handed=self.handed, run=row.run
        )


def _scope_of(row: WalkRow) -> Scope:
    return _SCOPE.read(row.request, row=row.name)


def _part_of(piece: Slice) -> ListingPart:
    return LISTING_PART.read(piece.scope, row=piece.name)


async def preview_backfill(scope: Scope, walk: Walk, listing: ObjectListing, s: Ingest, *, parallel: int) -> None:
    """
    Count the objects that a backfill would inspect: ``new``, ``changed``, ``unchanged``. Only reads.

    Parameters
    ----------
    walk
        Receives the counts; a walk without a lease.

    Raises
    ------
    SourceGone
        The container does not exist.
    TransientError
        Storage did not answer.
    """

    async def pass_over(change: Change, refusal: PermanentError) -> None:  # noqa: ARG001 -- nothing is written
        walk.count(Ingested.DEAD_LETTERED.counted)

    batches = without_known(_listed(scope, listing), s)
    longest = s.settings.longest_wait_seconds
    await run_walk(
        batches,
        retry_then_dead_letter(_compare(walk, s), walk, pass_over, longest_wait=longest),
        walk,
        parallel=parallel,
    )


async def listed_slice(
    source: Listing, piece: ListingSlice, *, since: datetime | None, size: int
) -> AsyncIterator[Batch]:
    """
    List a slice, a page per batch. Objects that have not changed since ``scope.since`` are skipped. Only reads.

    Parameters
    ----------
    size
        How many objects the slice had when it was cut.
    """
    async for page, at in slice_pages(source, piece, size=min(PAGE, size + 1)):
        yield replace(_batch(page, since), position=PART_POSITION.write(at))


async def _listed(scope: Scope, listing: ObjectListing) -> AsyncIterator[Batch]:
    """
    List the scope, a page per batch; if the store no longer accepts a token, the listing starts again.

    Objects that have not changed since ``scope.since`` are skipped. Only reads.
    """
    token, passed = None, Passed()
    while True:
        try:
            page = await listing.page(scope.container, prefix=scope.prefix, token=token, size=PAGE)
        except StaleToken:
            token, passed = None, Passed()
            continue
        passed = listed_on(passed, page.token)
        yield _batch(page, scope.since)
        if page.token is None:
            return
        token = page.token


def _batch(page: Page, since: datetime | None) -> Batch:
    listed = [item for item in page.objects if since is None or item.last_modified >= since]
    changes = [Change(object=item.object, action=Action.CREATED, etag=item.etag) for item in listed]
    return Batch(changes=changes, passed=len(page.objects) - len(listed))


def _inspect(walk: Walk, s: Ingest) -> Work:
    async def work(change: Change) -> None:
        outcome = await handle_change(change, s)
        walk.count(outcome.counted)

    return work


def _compare(walk: Walk, s: Locate) -> Work:
    async def work(change: Change) -> None:
        stored = await s.locators.read(change.object)
        if stored is None:
            walk.count("new")
        else:
            walk.count(Ingested.REPEAT.counted if is_repeat(stored.value, change) else "changed")

    return work
