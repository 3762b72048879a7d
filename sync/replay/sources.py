"""
Where the changes of a replay come from: one entry a source, each a function of request and position.

Blobs come from the account's change feed; where there is none, from a listing, which cannot see what was deleted. The
first batch says which it was: `ROUTE` in its position.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sync.errors import FeedMissing, NothingStored, SourceGone, StudyUnlisted
from sync.events import Sources
from sync.feeds import next_timestamp, replay_window
from sync.feeds.blob import feed_batches
from sync.model import Action, Batch, Change, ObjectRef, StudyRef
from sync.ports import BlobFeed, Ingest, ObjectListing, ReadFeeds
from sync.replay.requests import ReplayRequest
from sync.walks.backfill import Scope, listed

ROUTE = "route"
FEED, LISTING, STUDY = "feed", "listing", "study"

SPAN = timedelta(hours=6)
"""Time of a DICOM service's feed that is read as a whole."""

IN_ONE_GO = frozenset({"orthanc"})
"""Sources whose changes can only be read from their beginning."""

_EVER, _FOREVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)

Source = Callable[[ReplayRequest, Mapping[str, Any]], AsyncIterator[Batch]]
"""Gives the changes of a request from a position on."""


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """The blobs of the configured containers."""

    feed: BlobFeed
    listing: ObjectListing
    allowed: Sources

    async def __call__(self, request: ReplayRequest, position: Mapping[str, Any]) -> AsyncIterator[Batch]:
        """Iterate over the changes of the window; fall back to a listing when there is no feed."""
        start, end = request.start or _EVER, request.end or _FOREVER
        if position.get(ROUTE) != LISTING:
            try:
                async for batch in feed_batches(self.feed, self.allowed, start, end, position):
                    yield replace(batch, position={**batch.position, ROUTE: FEED})
            except FeedMissing:
                position = {ROUTE: LISTING}
                yield Batch(position=position)
            else:
                return
        async for batch in self._listed(start, position):
            yield batch

    async def _listed(self, start: datetime, position: Mapping[str, Any]) -> AsyncIterator[Batch]:
        """List what changed since ``start``, container by container; later changes come along, and do no harm."""
        for name in sorted(self.allowed.containers):
            reached = position.get("container", "")
            if name < reached or (name == reached and position.get("over")):
                continue
            inner = position if name == reached else {}
            with suppress(SourceGone):  # a container that is configured and not there holds nothing
                async for batch in listed(Scope(container=name, since=start), self.listing, inner):
                    over = batch.position["token"] is None
                    yield replace(batch, position={**batch.position, "container": name, "over": over, ROUTE: LISTING})


@dataclass(frozen=True, kw_only=True)
class DicomServiceSource:
    """
    The instances of a DICOM service, by its change feed: a few hours at a time, so that a replay can go on there.

    Hours in which nothing happened cost one request, however many they are.
    """

    services: ReadFeeds

    async def __call__(self, request: ReplayRequest, position: Mapping[str, Any]) -> AsyncIterator[Batch]:
        """Iterate over the changes of the window."""
        at = datetime.fromisoformat(position["until"]) if "until" in position else request.start or _EVER
        end = request.end or self.services.clock.now() + timedelta(minutes=1)
        # hours that were left in the middle are those of then: the last portion may have grown since
        until = datetime.fromisoformat(position["to"]) if "to" in position else min(at + SPAN, end)
        skip = int(position.get("portions", 0))
        while at < end:
            portions, silent = 0, True
            async for batch in replay_window("dicom", self.services, start=at, end=until):
                portions, silent = portions + 1, silent and not batch.changes
                if portions > skip:
                    remaining = {"until": at.isoformat(), "to": until.isoformat(), "portions": portions}
                    yield replace(batch, position={ROUTE: FEED, **remaining})
            at, skip = await self._next(until, end) if silent else until, 0
            until = min(at + SPAN, end)
            yield Batch(position={ROUTE: FEED, "until": at.isoformat()})

    async def _next(self, at: datetime, end: datetime) -> datetime:
        feed = self.services.dicom_feed
        return at if feed is None or at >= end else await next_timestamp(feed, at, end)


@dataclass(frozen=True, kw_only=True)
class OrthancSource:
    """The instances of an Orthanc. Its changes cannot be begun in the middle: each run reads all of them."""

    services: ReadFeeds

    async def __call__(self, request: ReplayRequest, position: Mapping[str, Any]) -> AsyncIterator[Batch]:  # noqa: ARG002
        """Iterate over the changes of the window."""
        async for batch in replay_window("orthanc", self.services, start=request.start, end=request.end):
            yield replace(batch, position={ROUTE: FEED})


def sources_of(blobs: Blobs, s: ReadFeeds) -> dict[str, Source]:
    """Return the sources that are configured, by the names that requests call them."""
    sources: dict[str, Source] = {"blob": blobs}
    if s.dicom_feed is not None:
        sources["dicom"] = DicomServiceSource(services=s)
    if s.orthanc is not None:
        sources["orthanc"] = OrthancSource(services=s)
    return sources


async def of_study(study: StudyRef, s: Ingest) -> AsyncIterator[Batch]:
    """Yield every known object of a study, and every one that a DICOM service lists. Only reads."""
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
    changes = tuple(Change(object=ref, action=Action.CREATED) for ref in objects)
    yield Batch(changes=changes, position={ROUTE: STUDY})
