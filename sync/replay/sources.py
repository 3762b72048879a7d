"""
The sources of a replay's changes: one each for blobs, a DICOM service, an Orthanc, and one study.

    request  ->  cuts: which part of the feed each slice covers  ->  batches: the changes of a slice

Blobs come from the account's change feed, cut between its segments of an hour; where there is no feed, from a listing,
which cannot see what was deleted. A DICOM service's feed is cut between windows of time, an Orthanc's changes between
their numbers. Slices follow each other without a gap, whatever is added meanwhile. `ROUTE` says how changes are found.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sync.errors import FeedMissing, NothingStored, PermanentError, ReplayTooLong, SourceGone, StudyUnlisted
from sync.events import Sources
from sync.feeds import changed_instances, deleted_instances, next_timestamp, replay_window
from sync.feeds.blob import FEED_POSITION, feed_batches, segments_of
from sync.feeds.dicom_windows import SKEW
from sync.feeds.orthanc import LIMIT
from sync.feeds.replay_window import BATCH
from sync.model import Action, Batch, Change, Json, ObjectRef, StudyRef
from sync.ports import BlobFeed, Ingest, ObjectListing, OrthancServer, ReadFeeds
from sync.protocol.walk_rows import Slice
from sync.replay.parts import (
    BLOB_PART,
    BLOB_PLAN,
    HOURS,
    NUMBERS_PLAN,
    ORTHANC_PART,
    ORTHANC_POSITION,
    PORTIONS,
    WHOLE_STUDY,
    WINDOWS_PLAN,
    BlobFeedPlan,
    BlobListing,
    BlobListingPlan,
    Deleted,
    Hours,
    Numbers,
    NumbersPlan,
    OrthancPosition,
    Portions,
    WholeStudy,
    WindowsPlan,
    blob_part_of,
)
from sync.replay.requests import ReplayRequest, cursor_of
from sync.walks.backfill import listed_slice
from sync.walks.cutting import PART_POSITION, Cut, Listing, ListingPart, ListingPlan, ListingSlice, cut_listing
from sync.walks.handed import Handed

SPAN = timedelta(hours=6)
"""Minimum time of a DICOM service's feed in a slice."""

SHARE = 16
"""A slice of a feed holds this part of the hours before it: years of a feed are some hundred slices."""

UNITS: Mapping[str, str] = {"blob": "hours", "dicom": "hours"}
"""Unit of slice sizes, by source: hours of a feed with changes, else objects."""

MOST_TRIES = 5
"""Maximum attempts to compare our rows with all instances of an Orthanc."""

_EVER, _FOREVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


class Source(Protocol):
    """Where changes come from."""

    def of_run(self, run: str) -> Source:  # noqa: ARG002 -- only a source that keeps pages distinguishes runs
        """Return the source for one run of a walk, as the walk's row names it."""
        return self

    def cuts(self, request: ReplayRequest, plan: Json) -> AsyncIterator[Cut]:
        """Cut the request into slices, from the position of cutting on; see `sync.walks.sharing.Kind.cuts`."""
        ...

    def batches(
        self, request: ReplayRequest, piece: Slice, after: Sequence[Slice], s: ReadFeeds
    ) -> AsyncIterator[Batch]:
        """Iterate over the changes of a slice; see `sync.walks.sharing.Kind.batches`. Only reads."""
        ...


@dataclass(frozen=True, kw_only=True)
class Blobs(Source):
    """The blobs of the configured containers."""

    feed: BlobFeed
    listing: ObjectListing
    allowed: Sources
    handed: Handed = field(default_factory=Handed)
    run: str = ""

    def of_run(self, run: str) -> Blobs:
        """Return the source whose pages, once read, are kept for slices of that run only."""
        return replace(self, run=run)

    async def cuts(self, request: ReplayRequest, plan: Json) -> AsyncIterator[Cut]:
        """Cut the feed between segments, or the listings of all containers."""
        stand = BLOB_PLAN.read(plan, row=cursor_of(request)) if plan else BlobFeedPlan()
        if isinstance(stand, BlobFeedPlan):
            try:
                async for cut in self._feed_cuts(request, stand):
                    yield cut
            except FeedMissing:
                stand = BlobListingPlan()
                yield Cut(position=BLOB_PLAN.write(stand), unit="objects")
            else:
                return
        async for cut in self._listing_cuts(stand):
            yield cut

    async def batches(
        self,
        request: ReplayRequest,
        piece: Slice,
        after: Sequence[Slice],
        s: ReadFeeds,  # noqa: ARG002 -- as each source is asked
    ) -> AsyncIterator[Batch]:
        """
        Iterate over the records of some segments, or over the objects of a part of a listing.

        A listing gives the objects that changed since the window's start; later changes are included and harmless.

        Raises
        ------
        PermanentError
            The feed that was cut into slices is gone.
        """
        window, part = _window(request), blob_part_of(piece)
        if isinstance(part, Hours):
            segments, at = (part.begin, part.end or _FOREVER), FEED_POSITION.read(piece.at, row=piece.name)
            try:
                async for batch in feed_batches(self.feed, self.allowed, window, segments, at):
                    yield batch
            except FeedMissing as gone:
                raise PermanentError(gone.detail, code=gone.code, hint=gone.hint) from None
            return
        if part.container is None:
            return
        # Names repeat in other containers, so another container's ends must not end this one.
        parts = [blob_part_of(later) for later in after]
        same = [later for later in parts if isinstance(later, BlobListing) and later.container == part.container]
        mine = ListingSlice(part=part, at=PART_POSITION.read(piece.at, row=piece.name), later=same)
        with suppress(SourceGone):  # a configured container that does not exist holds no objects
            source = self._source(part.container)
            async for batch in listed_slice(source, mine, since=window[0], size=piece.size):
                yield batch

    def _source(self, container: str) -> Listing:
        return Listing(container=container, pages=self.listing, handed=self.handed, run=self.run)

    async def _feed_cuts(self, request: ReplayRequest, stand: BlobFeedPlan) -> AsyncIterator[Cut]:
        first, until = segments_of(*_window(request))
        begin, last = stand.begin or first, stand.last
        size, seen = stand.size, stand.seen
        async for segment in self.feed.segments(last or begin, until):
            if segment.begin == last:
                continue
            cut_here = size >= max(1, seen // SHARE)
            part, part_size = _hours(begin, segment.begin), size
            if cut_here:
                begin, size = segment.begin, 0
            size, seen = size + 1, seen + 1
            cut = Cut(position=BLOB_PLAN.write(BlobFeedPlan(begin=begin, last=segment.begin, size=size, seen=seen)))
            yield replace(cut, scope=part, size=part_size) if cut_here else cut
        position = BLOB_PLAN.write(BlobFeedPlan())
        yield Cut(position=position, scope=_hours(begin, until), size=max(size, 1), last=True, grows=True)

    async def _listing_cuts(self, stand: BlobListingPlan) -> AsyncIterator[Cut]:
        names = [name for name in sorted(self.allowed.containers) if name >= stand.container]
        for name, following in zip(names, [*names[1:], None], strict=False):
            inner = stand.inner if name == stand.container else ListingPlan()
            with suppress(SourceGone):
                async for cut in cut_listing(self._source(name), inner):
                    over = cut.last and following is None
                    after = BlobListingPlan(container=name, inner=cut.plan)
                    if cut.last:
                        after = BlobListingPlan(container=following or "")
                    yield _cut_listed(after, name, cut.part, size=cut.size, last=over)
                    if over:
                        return
        # The last one is not there: nothing is left to be cut, which a slice without anything has to tell.
        yield _cut_listed(BlobListingPlan(), None, ListingPart(token=None, ends=()), size=0, last=True)


def _cut_listed(
    plan: BlobListingPlan, container: str | None, part: ListingPart | None, *, size: int, last: bool
) -> Cut:
    position = BLOB_PLAN.write(plan)
    if part is None:
        return Cut(position=position)
    scope = BLOB_PART.write(BlobListing(container=container, token=part.token, ends=part.ends))
    return Cut(position=position, scope=scope, size=size, last=last)


@dataclass(frozen=True, kw_only=True)
class DicomServiceSource(Source):
    """
    The instances of a DICOM service, by its change feed.

    A period without changes costs one request, however long it is.
    """

    services: ReadFeeds

    async def cuts(self, request: ReplayRequest, plan: Json) -> AsyncIterator[Cut]:
        """Cut the time between windows of some hours, which grow with their number."""
        now = self.services.clock.now()
        end, closed = request.end or now + timedelta(minutes=1), now - 2 * SKEW
        stand = WINDOWS_PLAN.read(plan, row=cursor_of(request))
        begin, made = stand.begin or request.start or _EVER, stand.made
        while True:
            at = await self._next(begin, end)
            until = min(at + SPAN * max(1, made // SHARE), end)
            if at < closed < until:
                until = closed  # what may still grow is a slice of its own, because it is read again after a kill
            last, made = until >= end, made + 1
            # The period without changes before it is part of a window: changes that the service adds there late are not
            # lost. The last one ends when it is read.
            scope = _hours(begin, request.end if last else until)
            size = max(round((until - at) / _HOUR), 1)
            position = WINDOWS_PLAN.write(WindowsPlan(begin=until, made=made))
            yield Cut(position=position, scope=scope, size=size, last=last, grows=last)
            if last:
                return
            begin = until

    async def batches(
        self,
        request: ReplayRequest,  # noqa: ARG002 -- as each source is asked
        piece: Slice,
        after: Sequence[Slice],  # noqa: ARG002 -- as each source is asked
        s: ReadFeeds,
    ) -> AsyncIterator[Batch]:
        """Iterate over the changes of a window."""
        now, at = s.clock.now(), PORTIONS.read(piece.at, row=piece.name)
        if at.over:
            return
        part = HOURS.read(piece.scope, row=piece.name)
        start, end = part.begin, part.end
        # A window of now may grow in the middle: its portions are not counted as done, and are read again.
        is_closed = end is not None and end + SKEW < now
        portions = 0
        async for batch in replay_window(s, start=start, end=end or now + timedelta(minutes=1)):
            portions += 1
            if portions > at.portions:
                reached = Portions(portions=portions, over=len(batch.changes) < BATCH)
                yield replace(batch, position=PORTIONS.write(reached if is_closed else Portions()))

    async def _next(self, at: datetime, end: datetime) -> datetime:
        feed = self.services.dicom_feed
        return end if feed is None or at >= end else await next_timestamp(feed, at, end)


@dataclass(frozen=True, kw_only=True)
class OrthancSource(Source):
    """The instances of an Orthanc: its changes by number, and first those that it no longer holds."""

    server: OrthancServer

    async def cuts(self, request: ReplayRequest, plan: Json) -> AsyncIterator[Cut]:
        """Cut the changes between pages; those before and after the window are read here and by no worker."""
        stand = NUMBERS_PLAN.read(plan, row=cursor_of(request))
        if not plan:
            yield Cut(position=NUMBERS_PLAN.write(stand), scope=ORTHANC_PART.write(Deleted(deleted=True)), grows=True)
        while True:
            since = stand.since
            changes, reached = await changed_instances(
                self.server, since, start=request.start, end=request.end, limit=LIMIT
            )
            if reached <= since:
                # Open-ended: changes until it is read belong to it.
                scope = ORTHANC_PART.write(Numbers(begin=stand.begin))
                position = NUMBERS_PLAN.write(NumbersPlan())
                yield Cut(position=position, scope=scope, size=stand.size, last=True, grows=True)
                return
            part, size = Numbers(begin=stand.begin, end=since), stand.size
            cut_here = bool(changes) and size >= max(LIMIT, stand.seen // SHARE)
            if cut_here or not (size or changes):
                stand = replace(stand, begin=since if changes else reached, size=0)
            stand = replace(stand, since=reached, size=stand.size + len(changes), seen=stand.seen + len(changes))
            position = NUMBERS_PLAN.write(stand)
            yield (
                Cut(position=position, scope=ORTHANC_PART.write(part), size=size)
                if cut_here
                else Cut(position=position)
            )

    async def batches(
        self,
        request: ReplayRequest,
        piece: Slice,
        after: Sequence[Slice],  # noqa: ARG002 -- as each source is asked
        s: ReadFeeds,
    ) -> AsyncIterator[Batch]:
        """
        Iterate over the changes of a range of numbers, or over the deletions.

        Raises
        ------
        ReplayTooLong
            No worker had the time to list what the server holds.
        """
        part = ORTHANC_PART.read(piece.scope, row=piece.name)
        at = ORTHANC_POSITION.read(piece.at, row=piece.name)
        if isinstance(part, Deleted):
            tries = at.tries + 1
            if tries > MOST_TRIES:
                raise ReplayTooLong("the list of instances takes longer than a worker has")
            yield Batch(position=ORTHANC_POSITION.write(OrthancPosition(tries=tries)))
            async for batch in deleted_instances(self.server, s):
                yield replace(batch, position=ORTHANC_POSITION.write(OrthancPosition()))
            return
        since, end = part.begin if at.since is None else at.since, part.end
        while end is None or since < end:
            limit = LIMIT if end is None else min(LIMIT, end - since)
            changes, reached = await changed_instances(
                self.server, since, start=request.start, end=request.end, limit=limit
            )
            if reached <= since:
                return
            yield Batch(changes=changes, position=ORTHANC_POSITION.write(OrthancPosition(since=reached)))
            since = reached


@dataclass(frozen=True, kw_only=True)
class OneStudy(Source):
    """Every known object of the requested study, and every one that a DICOM service lists: one slice."""

    async def cuts(
        self,
        request: ReplayRequest,  # noqa: ARG002 -- as each source is asked
        plan: Json,  # noqa: ARG002 -- as each source is asked
    ) -> AsyncIterator[Cut]:
        """Cut nothing."""
        whole = WHOLE_STUDY.write(WholeStudy())
        yield Cut(position=whole, scope=whole, last=True, grows=True)

    async def batches(
        self,
        request: ReplayRequest,
        piece: Slice,  # noqa: ARG002 -- as each source is asked
        after: Sequence[Slice],  # noqa: ARG002 -- as each source is asked
        s: ReadFeeds,
    ) -> AsyncIterator[Batch]:
        """Iterate over the objects of the study."""
        if request.study is not None:
            yield await objects_of(request.study, s)


def sources_of(blobs: Blobs, s: ReadFeeds) -> dict[str, Source]:
    """Return the configured sources, by their names in requests."""
    sources: dict[str, Source] = {"blob": blobs}
    if s.dicom_feed is not None:
        sources["dicom"] = DicomServiceSource(services=s)
    if s.orthanc is not None:
        sources["orthanc"] = OrthancSource(server=s.orthanc)
    return sources


def source_of(request: ReplayRequest, sources: Mapping[str, Source]) -> Source:
    """Return the source of a request's changes."""
    return OneStudy() if request.study is not None else sources[request.source]


async def objects_of(study: StudyRef, s: Ingest) -> Batch:
    """Return every known object of a study, and every one that a DICOM service lists. Only reads."""
    objects: dict[ObjectRef, None] = {}
    for row in await s.ledger.read(study):
        stored = await s.locators.find(row.object_key)
        if stored is not None:
            objects[stored.value.object] = None
    for service in s.instances.values():
        try:
            async for ref in service.objects_of(study):
                objects[ref] = None
        except NothingStored:
            if any(ref.account == service.account for ref in objects):
                raise
        except StudyUnlisted as part:
            s.telemetry.event("study.unlisted", logging.WARNING, study=study.key, code=part.code, instances=part.count)
    return Batch(changes=tuple(Change(object=ref, action=Action.CREATED) for ref in objects))


def _window(request: ReplayRequest) -> tuple[datetime, datetime]:
    return request.start or _EVER, request.end or _FOREVER


def _hours(begin: datetime, end: datetime | None) -> Json:
    return HOURS.write(Hours(begin=begin, end=end))
