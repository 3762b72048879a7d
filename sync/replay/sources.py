"""
Where the changes of a replay come from: one source each for blobs, a DICOM service, an Orthanc, and one study.

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
from typing import Any, Protocol

from sync.errors import FeedMissing, NothingStored, PermanentError, ReplayTooLong, SourceGone, StudyUnlisted
from sync.events import Sources
from sync.feeds import changed_instances, deleted_instances, next_timestamp, replay_window
from sync.feeds.blob import feed_batches, segments_of
from sync.feeds.dicom_windows import SKEW
from sync.feeds.orthanc import LIMIT
from sync.feeds.replay_window import BATCH
from sync.model import Action, Batch, Change, ObjectRef, StudyRef
from sync.model.timestamps import timestamp_from
from sync.ports import BlobFeed, Ingest, ObjectListing, OrthancServer, ReadFeeds
from sync.protocol.walk_rows import Slice
from sync.replay.requests import ReplayRequest
from sync.walks.backfill import Scope, listed_slice
from sync.walks.cutting import Cut, Listing, cut_listing
from sync.walks.handed import Handed

ROUTE = "route"
FEED, LISTING, STUDY = "feed", "listing", "study"

SPAN = timedelta(hours=6)
"""Time of a DICOM service's feed that a slice covers at least."""

SHARE = 16
"""A slice of a feed holds this part of the hours before it: years of a feed are some hundred slices."""

UNITS: Mapping[str, str] = {"blob": "hours", "dicom": "hours"}
"""What sizes of slices count, by source: hours of a feed in which something happened; else objects."""

MOST_TRIES = 5
"""Times that the comparison with all that an Orthanc holds is begun."""

_EVER, _FOREVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


class Source(Protocol):
    """Where changes come from."""

    def of_run(self, run: str) -> Source:  # noqa: ARG002 -- only a source that keeps pages distinguishes runs
        """Return the source for one run of a walk, as the walk's row names it."""
        return self

    def cuts(self, request: ReplayRequest, plan: Mapping[str, Any]) -> AsyncIterator[Cut]:
        """Cut what is asked for into slices, from where cutting stands; see `sync.walks.sharing.Kind.cuts`."""
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

    async def cuts(self, request: ReplayRequest, plan: Mapping[str, Any]) -> AsyncIterator[Cut]:
        """Cut the feed between segments, or the listings of all containers."""
        if plan.get(ROUTE) != LISTING:
            try:
                async for cut in self._feed_cuts(request, plan):
                    yield cut
            except FeedMissing:
                plan = {ROUTE: LISTING}
                yield Cut(position=plan, unit="objects")
            else:
                return
        async for cut in self._listing_cuts(plan):
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

        Of a listing it is what changed since the window begins; later changes come along, and do no harm.

        Raises
        ------
        PermanentError
            The feed that was cut into slices is gone.
        """
        window = _window(request)
        if piece.scope[ROUTE] == FEED:
            segments = datetime.fromisoformat(piece.scope["from"]), datetime.fromisoformat(piece.scope["to"])
            try:
                async for batch in feed_batches(self.feed, self.allowed, window, segments, piece.at):
                    yield batch
            except FeedMissing as gone:
                raise PermanentError(gone.detail, code=gone.code, hint=gone.hint) from None
            return
        container = piece.scope["container"]
        if container is None:
            return
        # Names repeat in other containers: their ends would be none of this one.
        same = [later for later in after if later.scope.get("container") == container]
        with suppress(SourceGone):  # a container that is configured and not there holds nothing
            scope, source = Scope(container=container, since=window[0]), self._source(container)
            async for batch in listed_slice(scope, source, piece, same):
                yield batch

    def _source(self, container: str) -> Listing:
        return Listing(container=container, pages=self.listing, handed=self.handed, run=self.run)

    async def _feed_cuts(self, request: ReplayRequest, plan: Mapping[str, Any]) -> AsyncIterator[Cut]:
        first, until = segments_of(*_window(request))
        begin = timestamp_from(plan.get("from")) or first
        last, size, seen = timestamp_from(plan.get("last")), plan.get("size", 0), plan.get("seen", 0)
        async for segment in self.feed.segments(last or begin, until):
            if segment.begin == last:
                continue
            cut_here = size >= max(1, seen // SHARE)
            scope, scope_size = _hours(begin, segment.begin), size
            if cut_here:
                begin, size = segment.begin, 0
            size, seen = size + 1, seen + 1
            stand = {"from": begin.isoformat(), "last": segment.begin.isoformat(), "size": size, "seen": seen}
            yield Cut(position={ROUTE: FEED, **stand}, **({"scope": scope, "size": scope_size} if cut_here else {}))
        yield Cut(position={ROUTE: FEED}, scope=_hours(begin, until), size=max(size, 1), last=True, grows=True)

    async def _listing_cuts(self, plan: Mapping[str, Any]) -> AsyncIterator[Cut]:
        reached = plan.get("container", "")
        names = [name for name in sorted(self.allowed.containers) if name >= reached]
        for name, following in zip(names, [*names[1:], None], strict=False):
            with suppress(SourceGone):
                async for cut in cut_listing(self._source(name), plan["inner"] if name == reached else {}):
                    over = cut.last and following is None
                    stand: dict[str, Any] = {"container": name, "inner": cut.position}
                    if cut.last:
                        stand = {"container": following, "inner": {}} if following is not None else {}
                    scope = {ROUTE: LISTING, "container": name, **cut.scope} if cut.scope is not None else None
                    yield replace(cut, position={ROUTE: LISTING, **stand}, scope=scope, last=over)
                    if over:
                        return
        # The last one is not there: nothing is left to be cut, which a slice without anything has to tell.
        yield Cut(position={ROUTE: LISTING}, scope={ROUTE: LISTING, "container": None, "ends": []}, last=True)


@dataclass(frozen=True, kw_only=True)
class DicomServiceSource(Source):
    """
    The instances of a DICOM service, by its change feed.

    Time in which nothing happened costs one request, however long it is.
    """

    services: ReadFeeds

    async def cuts(self, request: ReplayRequest, plan: Mapping[str, Any]) -> AsyncIterator[Cut]:
        """Cut the time between windows of some hours, which grow with their number."""
        now = self.services.clock.now()
        end, closed = request.end or now + timedelta(minutes=1), now - 2 * SKEW
        begin, made = timestamp_from(plan.get("from")) or request.start or _EVER, plan.get("made", 0)
        while True:
            at = await self._next(begin, end)
            until = min(at + SPAN * max(1, made // SHARE), end)
            if at < closed < until:
                until = closed  # what may still grow is a slice of its own, because it is read again after a kill
            last, made = until >= end, made + 1
            # The time without changes before it is part of a window: what the service adds there late is not lost.
            # The last one ends when it is read.
            scope = _hours(begin, request.end if last else until)
            size = max(round((until - at) / _HOUR), 1)
            stand = {ROUTE: FEED, "from": until.isoformat(), "made": made}
            yield Cut(position=stand, scope=scope, size=size, last=last, grows=last)
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
        now = s.clock.now()
        if piece.at.get("over"):
            return
        start, end = datetime.fromisoformat(piece.scope["from"]), timestamp_from(piece.scope["to"])
        # A window of now may grow in the middle: its portions are not counted as done, and are read again.
        is_closed = end is not None and end + SKEW < now
        portions = 0
        async for batch in replay_window(s, start=start, end=end or now + timedelta(minutes=1)):
            portions += 1
            if portions > piece.at.get("portions", 0):
                over = len(batch.changes) < BATCH
                yield replace(batch, position={"portions": portions, "over": over} if is_closed else {})

    async def _next(self, at: datetime, end: datetime) -> datetime:
        feed = self.services.dicom_feed
        return end if feed is None or at >= end else await next_timestamp(feed, at, end)


@dataclass(frozen=True, kw_only=True)
class OrthancSource(Source):
    """The instances of an Orthanc: its changes by number, and first those that it no longer holds."""

    server: OrthancServer

    async def cuts(self, request: ReplayRequest, plan: Mapping[str, Any]) -> AsyncIterator[Cut]:
        """Cut the changes between pages; those before and after the window are read here and by no worker."""
        stand = {"from": 0, "since": 0, "size": 0, "seen": 0, **plan, ROUTE: FEED}
        if not plan:
            yield Cut(position=stand, scope={ROUTE: FEED, "deleted": True}, grows=True)
        while True:
            since = stand["since"]
            changes, reached = await changed_instances(
                self.server, since, start=request.start, end=request.end, limit=LIMIT
            )
            if reached <= since:
                # Without an end: what changes until it is read belongs to it.
                scope = {ROUTE: FEED, "from": stand["from"], "to": None}
                yield Cut(position={ROUTE: FEED}, scope=scope, size=stand["size"], last=True, grows=True)
                return
            scope, size = {ROUTE: FEED, "from": stand["from"], "to": since}, stand["size"]
            cut_here = bool(changes) and size >= max(LIMIT, stand["seen"] // SHARE)
            if cut_here or not (size or changes):
                stand = {**stand, "from": since if changes else reached, "size": 0}
            stand = {
                **stand,
                "since": reached,
                "size": stand["size"] + len(changes),
                "seen": stand["seen"] + len(changes),
            }
            yield Cut(position=stand, **({"scope": scope, "size": size} if cut_here else {}))

    async def batches(
        self,
        request: ReplayRequest,
        piece: Slice,
        after: Sequence[Slice],  # noqa: ARG002 -- as each source is asked
        s: ReadFeeds,
    ) -> AsyncIterator[Batch]:
        """
        Iterate over the changes of a range of numbers, or over what was deleted.

        Raises
        ------
        ReplayTooLong
            No worker had the time to list what the server holds.
        """
        if piece.scope.get("deleted"):
            tries = piece.at.get("tries", 0) + 1
            if tries > MOST_TRIES:
                raise ReplayTooLong("the list of instances takes longer than a worker has")
            yield Batch(position={"tries": tries})
            async for batch in deleted_instances(self.server, s):
                yield replace(batch, position={"tries": 0})
            return
        since, end = piece.at.get("since", piece.scope["from"]), piece.scope["to"]
        while end is None or since < end:
            limit = LIMIT if end is None else min(LIMIT, end - since)
            changes, reached = await changed_instances(
                self.server, since, start=request.start, end=request.end, limit=limit
            )
            if reached <= since:
                return
            yield Batch(changes=changes, position={"since": reached})
            since = reached


@dataclass(frozen=True, kw_only=True)
class OneStudy(Source):
    """Every known object of the study that is asked for, and every one that a DICOM service lists: one slice."""

    async def cuts(
        self,
        request: ReplayRequest,  # noqa: ARG002 -- as each source is asked
        plan: Mapping[str, Any],  # noqa: ARG002 -- as each source is asked
    ) -> AsyncIterator[Cut]:
        """Cut nothing."""
        yield Cut(position={ROUTE: STUDY}, scope={ROUTE: STUDY}, last=True, grows=True)

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
    """Return the sources that are configured, by the names that requests call them."""
    sources: dict[str, Source] = {"blob": blobs}
    if s.dicom_feed is not None:
        sources["dicom"] = DicomServiceSource(services=s)
    if s.orthanc is not None:
        sources["orthanc"] = OrthancSource(server=s.orthanc)
    return sources


def source_of(request: ReplayRequest, sources: Mapping[str, Source]) -> Source:
    """Return where the changes of a request come from."""
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


def _hours(begin: datetime, end: datetime | None) -> dict[str, Any]:
    return {ROUTE: FEED, "from": begin.isoformat(), "to": end.isoformat() if end is not None else None}
