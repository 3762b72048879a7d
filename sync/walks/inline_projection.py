"""
Projects studies inside a command when no function app runs: the same handlers, woken by this process's own marks.

`HintsHere` replaces the queue ``studies``, so that no message is left there for an app that does not run. The dirty
rows stay the truth: studies that an earlier run left are found at the start, and again at the end.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sync.delivery.handlers import handle_study
from sync.errors import FhirUnavailable, StoreConflict
from sync.model import DirtyStudy, Projected, Stored, StudyRef
from sync.ports import Clock, Deliver, DirtyStudies, StudyQueue
from sync.protocol.dirty_studies import due_at

AT_ONCE = 8
"""Studies projected concurrently; more would only make the FHIR service slower."""

PATIENCE = 180.0
"""Seconds without any success after which an outage of the FHIR service ends the command."""

_POLL_SECONDS = 0.2
"""Seconds between two checks whether a study is due, while no hint arrives."""


class HintsHere(StudyQueue):
    """The hints of one process; a study's earliest hint counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, StudyRef]] = []
        self._due: dict[StudyRef, datetime] = {}
        self.news = asyncio.Event()
        """Set when a hint arrives; the task that waits for one clears it."""

    async def enqueue(
        self,
        study: StudyRef,
        delay: float = 0.0,
        *,
        redelivered: bool = False,  # noqa: ARG002 -- a port's
    ) -> None:
        """Note that the study is outstanding, and when it is due; no earlier delivery exists here."""
        due = self._clock.now() + timedelta(seconds=delay)
        if study not in self._due or due < self._due[study]:
            self._due[study] = due
            heapq.heappush(self._heap, (due, study))
            self.news.set()

    async def length(self) -> int:
        """Return the number of studies with a hint."""
        return len(self._due)

    async def has_visible(self) -> bool:
        """Return whether a study is due now."""
        return any(due <= self._clock.now() for due in self._due.values())

    def take(self, most: int) -> list[StudyRef]:
        """Remove and return the studies that are due, each once."""
        studies: list[StudyRef] = []
        while self._heap and len(studies) < most and self._heap[0][0] <= self._clock.now():
            due, study = heapq.heappop(self._heap)
            if self._due.get(study) == due:
                del self._due[study]
                studies.append(study)
        return studies


class LeftForTheApp(DirtyStudies):
    """
    The list of dirty studies for a command, whose failures must not delay a study for the app.

    A failed write may still have arrived, so the row records that the cached projection must be bypassed. Its due time,
    the number of failures and their start stay as the app left them.
    """

    def __init__(self, inner: DirtyStudies) -> None:
        self._inner = inner

    async def read(self, study: StudyRef) -> Stored[DirtyStudy] | None:
        """Return the row, or None."""
        return await self._inner.read(study)

    async def mark(
        self, study: StudyRef, now: datetime, *, bypass_cache: bool = False, longest_gap: float | None = None
    ) -> bool:
        """Mark the study."""
        return await self._inner.mark(study, now, bypass_cache=bypass_cache, longest_gap=longest_gap)

    async def postpone(self, dirty: DirtyStudy, etag: str) -> None:
        """Make the next attempt bypass the cached projection; the command keeps times and counts to itself."""
        stored = await self._inner.read(dirty.study)
        if stored is None or stored.etag != etag:
            raise StoreConflict("the row has changed")
        await self._inner.postpone(replace(stored.value, bypass_cache=True), etag)

    async def delete(self, study: StudyRef, etag: str) -> None:
        """Delete the row."""
        await self._inner.delete(study, etag)

    def all(self) -> AsyncIterator[DirtyStudy]:
        """Iterate over every outstanding study."""
        return self._inner.all()


@dataclass
class Projector:
    """
    Projects outstanding studies until told that no more will come.

    ``services`` must hold ``hints`` as their queue. ``counts`` are by outcome (``written``, ``unchanged``,
    ``dead_lettered``).
    """

    hints: HintsHere
    services: Deliver
    counts: Counter[str] = field(default_factory=Counter)
    _last_success: float = field(default_factory=time.monotonic)
    _postponed: bool = False

    async def run(self, ended: asyncio.Event) -> None:
        """
        Project until ``ended`` is set and no study is outstanding. May be interrupted, and run beside a function app.

        Raises
        ------
        FhirUnavailable
            The FHIR service has been unreachable for longer than `PATIENCE`.
        TransientError
            Storage did not answer.
        """
        await self._leftovers()
        working = set[asyncio.Task[None]]()
        try:
            while True:
                last_check = ended.is_set()
                self.hints.news.clear()
                working |= {
                    asyncio.create_task(self._project(study)) for study in self.hints.take(AT_ONCE - len(working))
                }
                if working:
                    # The next study begins as soon as one is done, or is marked: a slow one does not hold up others.
                    done, working = await asyncio.wait(
                        working, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        task.result()
                    continue
                if last_check and await self._nothing_left():
                    return
                self._give_up_in_time()
                await self._wait(None if last_check else ended)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _wait(self, ended: asyncio.Event | None) -> None:
        """Wait until a hint arrives, the end is set, or a hint may have become due."""
        if self.hints.news.is_set():
            return
        waiting = [asyncio.create_task(event.wait()) for event in (self.hints.news, ended) if event is not None]
        try:
            await asyncio.wait(waiting, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _project(self, study: StudyRef) -> None:
        outcome = await handle_study(study, self.services)
        if outcome is None:
            self._postponed = True
            return
        self._postponed, self._last_success = False, time.monotonic()
        if outcome is not Projected.NOT_DUE:
            self.counts[outcome.word] += 1

    async def _nothing_left(self) -> bool:
        if await self.hints.length():
            return False
        return await self._leftovers() == 0

    async def _leftovers(self) -> int:
        """Add hints for outstanding studies without one; return their number."""
        leftovers = 0
        async for dirty in self.services.dirty.all():
            wait = (due_at(dirty, self.services) - self.services.clock.now()).total_seconds()
            await self.hints.enqueue(dirty.study, max(wait, 0.0))
            leftovers += 1
        return leftovers

    def _give_up_in_time(self) -> None:
        if self._postponed and time.monotonic() - self._last_success > PATIENCE:
            raise FhirUnavailable(f"no study could be written for {PATIENCE:.0f} s")
