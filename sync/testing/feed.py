"""A blob change feed in memory: segments by the hour, records in shards, readable up to a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sync.errors import FeedMissing
from sync.model import FeedSegment
from sync.ports import BlobFeed


class MemoryBlobFeed(BlobFeed):
    """The change feed; ``present`` false stands for an account without one."""

    def __init__(self, *, portion: int = 1000) -> None:
        self.present = True
        self.last_consumable = datetime.max.replace(tzinfo=UTC)
        self._portion = portion
        self._segments: dict[datetime, tuple[FeedSegment, Mapping[str, Sequence[Mapping[str, Any]]]]] = {}

    def put(self, begin: datetime, shards: Mapping[str, Sequence[Mapping[str, Any]]], *, finished: bool = True) -> None:
        """Write a segment: records by shard."""
        segment = FeedSegment(begin=begin, finished=finished, shards=tuple(shards))
        self._segments[begin] = (segment, shards)

    async def segments(self, start: datetime, end: datetime) -> AsyncIterator[FeedSegment]:
        """Iterate over segments; see `sync.ports.BlobFeed.segments`."""
        if not self.present:
            raise FeedMissing("there is no change feed")
        for begin in sorted(self._segments):
            if start <= begin < end and begin <= self.last_consumable:
                yield self._segments[begin][0]

    async def records(self, segment: FeedSegment) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Iterate over records; see `sync.ports.BlobFeed.records`."""
        shards = self._segments[segment.begin][1]
        for shard in sorted(shards):
            for first in range(0, len(shards[shard]), self._portion):
                yield shards[shard][first : first + self._portion]
