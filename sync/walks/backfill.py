"""
A walk over all objects of a container: to begin with, or after events were lost for longer than any feed lasts.

A listing names each object with its ETag, so one that is known as it is costs no byte of the object, and a thousandth
of a request where its folder is small enough (`sync.walks.known`), else one row read. The walk's cursor keeps the
listing's token: killed and started again, it goes on where it was. What FHIR then has to show is for the projection, in
the running functions or in this process (`sync.walks.inline_projection`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.delivery.handlers import dead_letter_delivery, handle_change
from sync.errors import PermanentError, StaleToken
from sync.model import Action, Batch, Change, Ingested, Page, digest
from sync.ports import Ingest, ObjectListing
from sync.protocol.claims import is_repeat
from sync.walks.known import without_known
from sync.walks.walk import Walk, Work, retry_then_dead_letter, run_walk

PAGE = 1000
"""Objects a page: the position moves a page at a time, so this many are inspected again at most twice after a kill."""


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


async def backfill(
    scope: Scope,
    walk: Walk,
    listing: ObjectListing,
    s: Ingest,
    *,
    parallel: int,
    dry_run: bool = False,
    until: float | None = None,
) -> bool:
    """
    Inspect every object of the scope that is not known as it is. Idempotent; safe to interrupt and run beside events.

    Parameters
    ----------
    walk
        Of `sync.walks.walk.walk_of`; counts by outcome are added to it, and its position is moved. A finished walk
        begins again.
    dry_run
        Only count what would be inspected, ``new`` and ``changed``. The walk should then be one of its own.

    Returns
    -------
    bool
        Whether it came to the end.

    Raises
    ------
    SourceGone
        There is no such container.
    TransientError
        Storage did not answer; start again, and it goes on from here.
    """
    work = _compare(walk, s) if dry_run else _inspect(walk, s)
    batches = without_known(listed(scope, listing, walk.position), s)

    async def aside(change: Change, refusal: PermanentError) -> None:
        walk.count(Ingested.DEAD_LETTERED.counted)
        if not dry_run:
            await dead_letter_delivery(change, refusal, s)

    longest = s.settings.longest_wait_seconds
    tried = retry_then_dead_letter(work, walk, aside, longest_wait=longest, until=until)
    ended = await run_walk(batches, tried, walk, parallel=parallel, until=until)
    if ended:
        await walk.advance({"finished": True})
    return ended


async def listed(scope: Scope, listing: ObjectListing, position: Mapping[str, Any]) -> AsyncIterator[Batch]:
    """
    List the scope from a position on, a page a batch; a token that the store no longer takes begins again.

    What was not changed since ``scope.since`` is passed over. Only reads.
    """
    token = None if position.get("finished") else position.get("token")
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


def _compare(walk: Walk, s: Ingest) -> Work:
    async def work(change: Change) -> None:
        stored = await s.locators.read(change.object)
        if stored is None:
            walk.count("new")
        else:
            walk.count(Ingested.REPEAT.counted if is_repeat(stored.value, change) else "changed")

    return work
