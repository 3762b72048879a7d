"""
A walk over all objects of a container: for a new installation, or after a loss of events that no feed covers.

A listing names each object with its ETag, so one that is known as it is costs no byte of the object, and a thousandth
of a request where its folder is small enough (`sync.walks.known`), else one row read. The listing is cut into slices
(`sync.walks.cutting`) that commands and functions share (`sync.walks.sharing`). What FHIR then has to show is for the
projection, in the running functions or in this process (`sync.walks.inline_projection`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sync.delivery.handlers import dead_letter_delivery, handle_change
from sync.errors import PermanentError, StaleToken
from sync.model import Action, Batch, Change, Ingested, Page, digest
from sync.model.timestamps import timestamp_from
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk
from sync.ports import Ingest, Locate, ObjectListing, ReadFeeds
from sync.protocol.claims import is_repeat
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import Cut, Listing, cut_listing, slice_pages
from sync.walks.handed import Handed
from sync.walks.known import without_known
from sync.walks.walk import Walk, Work, retry_then_dead_letter, run_walk

PAGE = 1000
"""Objects a page: the position moves a page at a time, so this many are inspected again at most twice after a kill."""

KIND = "backfill"
"""Name of this kind of walk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a backfill covers: a container, names that begin with ``prefix``, changes since ``since``."""

    container: str
    prefix: str = ""
    since: datetime | None = None

    @property
    def cursor(self) -> str:
        """Name of the walk's cursor; the prefix, which may name a patient, only as a hash."""
        more = digest(self.prefix, self.since.isoformat() if self.since else "", length=12)
        return f"backfill {self.container} {more}" if self.prefix or self.since else f"backfill {self.container}"

    @property
    def request(self) -> dict[str, Any]:
        """What the walk's row keeps. Inverse of `of`."""
        since = self.since.isoformat() if self.since else None
        return {"container": self.container, "prefix": self.prefix, "since": since}

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Scope:
        """Return the scope that a walk's row keeps."""
        since = timestamp_from(request["since"])
        return cls(container=request["container"], prefix=request["prefix"], since=since)


def new_backfill(scope: Scope, *, rate: float | None = None) -> NewWalk:
    """Return the walk to begin for a scope; ``rate`` as in `WalkRow`."""
    action = OperatorAction.BACKFILL
    return NewWalk(name=scope.cursor, kind=KIND, request=scope.request, action=action, rate=rate)


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """
    Walks over the objects of a container, by any number of workers: a kind of `sync.walks.sharing`.

    Inspects every object of the scope that is not known as it is. Idempotent; may be interrupted and run beside
    events.
    """

    listing: ObjectListing
    handed: Handed = field(default_factory=Handed)

    def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """Cut the listing; see `cut_listing`."""
        return cut_listing(self._source(row), row.plan)

    def batches(self, row: WalkRow, piece: Slice, after: Sequence[Slice], s: ReadFeeds) -> AsyncIterator[Batch]:
        """Iterate over what a slice names and the table does not know."""
        return without_known(listed_slice(Scope.of(row.request), self._source(row), piece, after), s)

    def work(self, row: WalkRow, walk: Walk, s: ReadFeeds) -> Work:  # noqa: ARG002 -- as each kind is asked
        """Inspect an object."""
        return _inspect(walk, s)

    async def give_up(self, walk: Walk, s: ReadFeeds, change: Change, refusal: PermanentError) -> None:
        """Keep a dead letter of an object that alone keeps failing."""
        walk.count(Ingested.DEAD_LETTERED.counted)
        await dead_letter_delivery(change, refusal, s)

    def _source(self, row: WalkRow) -> Listing:
        scope = Scope.of(row.request)
        return Listing(
            container=scope.container, prefix=scope.prefix, pages=self.listing, handed=self.handed, run=row.run
        )


async def preview_backfill(scope: Scope, walk: Walk, listing: ObjectListing, s: Ingest, *, parallel: int) -> None:
    """
    Only count what a backfill would inspect: ``new``, ``changed``, ``unchanged``. Only reads.

    Parameters
    ----------
    walk
        Counts; one without a lease.

    Raises
    ------
    SourceGone
        There is no such container.
    TransientError
        Storage did not answer.
    """

    async def pass_over(change: Change, refusal: PermanentError) -> None:  # noqa: ARG001 -- nothing is written
        walk.count(Ingested.DEAD_LETTERED.counted)

    batches = without_known(listed(scope, listing, {}), s)
    longest = s.settings.longest_wait_seconds
    await run_walk(
        batches,
        retry_then_dead_letter(_compare(walk, s), walk, pass_over, longest_wait=longest),
        walk,
        parallel=parallel,
    )


async def listed_slice(scope: Scope, source: Listing, piece: Slice, after: Sequence[Slice]) -> AsyncIterator[Batch]:
    """List a slice, a page a batch. What was not changed since ``scope.since`` is passed over. Only reads."""
    async for page, following in slice_pages(source, piece, after, size=min(PAGE, piece.size + 1)):
        yield replace(_batch(page, scope), position=following)


async def listed(scope: Scope, listing: ObjectListing, position: Mapping[str, Any]) -> AsyncIterator[Batch]:
    """
    List the scope from a position on, a page a batch; a token that the store no longer takes begins again.

    What was not changed since ``scope.since`` is passed over. Only reads.
    """
    token = position.get("token")
    while True:
        try:
            page = await listing.page(scope.container, prefix=scope.prefix, token=token, size=PAGE)
        except StaleToken:
            token = None
            continue
        yield _batch(page, scope)
        if page.token is None:
            return
        token = page.token


def _batch(page: Page, scope: Scope) -> Batch:
    listed = [item for item in page.objects if scope.since is None or item.last_modified >= scope.since]
    changes = [Change(object=item.object, action=Action.CREATED, etag=item.etag) for item in listed]
    return Batch(changes=changes, position={"token": page.token}, passed=len(page.objects) - len(listed))


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
