"""
Limits the load that a walk puts on FHIR: studies are marked no faster than the rate that an operator set.

Each mark of a new study waits for its turn; a study that was just marked needs no turn, because its marks are projected
together. Workers divide the rate by their number.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import datetime

from sync.model import DirtyStudy, Stored, StudyRef
from sync.ports import DirtyStudies

SLOWEST, FASTEST = 0.01, 10_000.0
"""Bounds of the rate, in studies a second: more is no limit, and less is a pause."""

REMEMBERED = 1000
"""Studies whose further marks need no turn."""

_STEP = 1.0
"""Seconds after which the wait for a turn is recomputed: the rate may have changed."""


class Pace:
    """Turns of one worker. ``rate`` is in turns a second, None for no limit, and may change at any time."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._next = time.monotonic()

    async def turn(self) -> None:
        """Wait for the next turn."""
        while self.rate is not None:
            now = time.monotonic()
            if self._next <= now:
                self._next = max(self._next, now - _STEP) + 1.0 / self.rate
                return
            # At most one turn away at the present rate: after the rate is raised, no wait is computed from the old one.
            self._next = min(self._next, now + 1.0 / self.rate)
            await asyncio.sleep(min(self._next - now, _STEP))


class PacedMarks(DirtyStudies):
    """The list of outstanding studies, for a walk with a rate."""

    def __init__(self, inner: DirtyStudies, pace: Pace) -> None:
        self._inner, self._pace = inner, pace
        self._marked: OrderedDict[StudyRef, None] = OrderedDict()

    async def turn(self) -> None:
        """Wait for the turn of a study that is read from FHIR and may never be marked."""
        await self._pace.turn()

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        return await self._inner.read(study)

    async def mark(
        self, study: StudyRef, now: datetime, *, bypass_cache: bool = False, longest_gap: float | None = None
    ) -> bool:
        """Mark the study when it is its turn."""
        if study not in self._marked:
            await self._pace.turn()
        self._marked[study] = None
        self._marked.move_to_end(study)
        while len(self._marked) > REMEMBERED:
            self._marked.popitem(last=False)
        return await self._inner.mark(study, now, bypass_cache=bypass_cache, longest_gap=longest_gap)

    async def postpone(self, dirty: DirtyStudy, etag: str) -> None:
        """Postpone the row."""
        await self._inner.postpone(dirty, etag)

    async def delete(self, study: StudyRef, etag: str) -> None:
        """Delete the row."""
        await self._inner.delete(study, etag)

    def all(self) -> AsyncIterator[DirtyStudy]:
        """Iterate over every outstanding study."""
        return self._inner.all()
