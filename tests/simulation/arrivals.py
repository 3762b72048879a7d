"""
Studies whose objects arrive in patterns: how often is FHIR written, and how soon after the last object.

Time is turned by hand, from one event to the next: an object arrives in a process, a message becomes visible, the lease
of a delivery that died runs out, the sweep. Queues count in whole seconds, as the service does. A delivery that sleeps
lets the others happen meanwhile.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import ModuleType
from typing import Any

from sync.delivery import handlers
from sync.errors import FhirUnavailable
from sync.events import study_message
from sync.model import Action, Change, StudyRef
from sync.testing.clock import ManualClock
from sync.testing.queues import MemoryObjectQueue, MemoryStudyQueue
from tests.worlds import MemoryWorld, dicom, run

MAX_EVENTS = 2_000
LEASE, SWEEP = 600.0, 60.0
"""Seconds until a message of a killed host comes again, and between sweeps."""


@dataclass(frozen=True)
class Pattern:
    """When objects arrive, in seconds, and the number of the process that takes each."""

    arrivals: Sequence[tuple[float, int]]
    killed: frozenset[int] = frozenset()
    """Deliveries of the study that die, by number: before their first step."""
    lost_answers: int = 0
    """Writes that take effect and whose answer does not arrive."""
    backlog: float = 0.0
    """Seconds after which all objects that arrived meanwhile are ingested at once, the last first; 0: each at once."""
    lingering: float = 0.0
    """Seconds that messages stay in the queue after their objects were marked."""

    def __add__(self, later: Pattern) -> Pattern:
        killed, lost_answers = self.killed | later.killed, self.lost_answers + later.lost_answers
        return Pattern([*self.arrivals, *later.arrivals], killed, lost_answers, self.backlog, self.lingering)


def evenly(number: int, seconds: float, *, start: float = 0.0, process: int = 0) -> Pattern:
    """Spread a number of objects evenly over a time."""
    return Pattern([(start + seconds * message / number, process) for message in range(number)])


def at_random(seed: int) -> Pattern:
    """Generate bursts, trickles and pauses in several processes, with deliveries that die."""
    rng, now, arrivals = random.Random(seed), 0.0, list[tuple[float, int]]()
    processes = rng.choice((1, 1, 2, 4))
    for _ in range(rng.randint(1, 6)):
        pause, step = rng.choice((0.5, 1.2, 3.0, 4.5, 7.0, 40.0)), rng.choice((0.02, 0.15, 0.4, 1.0, 2.5))
        now += rng.uniform(0.5, 1.0) * pause
        for _ in range(rng.choice((1, 2, 8, 20))):
            arrivals.append((now, rng.randrange(processes)))
            now += rng.uniform(0.1, 1.9) * step
    killed = frozenset(rng.sample(range(4), rng.choice((0, 0, 1))))
    return Pattern(arrivals, killed=killed, lost_answers=rng.choice((0, 0, 1)))


@dataclass(kw_only=True)
class Played:
    """What a pattern led to."""

    writes: int
    delay: float
    """Seconds from the last object to the write after which FHIR was right, for good."""
    messages: int
    right: bool


class WholeSeconds(MemoryStudyQueue):
    """A queue whose delays are rounded up."""

    sent = 0

    async def enqueue(self, study: StudyRef, delay: float = 0.0, *, redelivered: bool = False) -> None:
        """Send a message."""
        self.sent += 1
        await super().enqueue(study, math.ceil(delay), redelivered=redelivered)


class Backlog(MemoryObjectQueue):
    """The queue of objects, of which this world keeps the messages."""

    play: ArrivalWorld

    async def is_empty(self) -> bool:
        """Return whether all arrived objects were ingested."""
        return not self.play.backlog() and not self.play.is_lingering()


class Events(ManualClock):
    """A clock whose sleepers let happen what happens meanwhile."""

    play: ArrivalWorld

    async def sleep(self, seconds: float) -> None:
        """Let everything happen until then."""
        self.play.play(self.now() + timedelta(seconds=seconds))


@dataclass(kw_only=True)
class ArrivalWorld:
    """Processes, a store and what is going to happen."""

    pattern: Pattern
    shortest: float = 1.0
    handling: ModuleType = handlers
    _returning: list[tuple[Any, StudyRef, int]] = field(default_factory=list)
    _deliveries: int = 0

    def __post_init__(self) -> None:
        self.w = MemoryWorld()
        self.w.clock = self.clock = Events()
        self.clock.play = self
        self.began = self.clock.now()
        self.queue = self.w.store.study_queue = WholeSeconds(self.clock)
        self.w.store.object_queue = waiting = Backlog(self.clock)
        waiting.play = self
        self.w.services = self.w.process()
        processes = max(process for _, process in self.pattern.arrivals) + 1
        self.processes = [
            self.w.process(shortest_quiet_period_seconds=self.shortest) for _ in range(processes)
        ]  # each has caches of its own
        every = self.pattern.backlog
        self.arrivals = [self._since(seconds) for seconds, _ in sorted(self.pattern.arrivals)]
        parts = [(seconds // every + 1) * every if every else seconds for seconds, _ in sorted(self.pattern.arrivals)]
        self.ingested = [self._since(seconds) for seconds in parts]
        self.takers = [process for _, process in sorted(self.pattern.arrivals)]
        self.last = self.arrivals[-1]
        self.lost = self.pattern.lost_answers
        self.written: list[Any] = []
        self.next_sweep = self.began + timedelta(seconds=SWEEP)
        self.number = 0
        self._transact = self.w.fhir.transact
        self.w.fhir.transact = self._noted  # type: ignore[method-assign]  # this world counts writes

    async def _noted(self, writes: Any) -> Any:
        answer = await self._transact(writes)
        self.written.append(self.clock.now())
        if self.lost:
            self.lost -= 1
            raise FhirUnavailable("the answer was lost, the write was not")
        return answer

    def end(self) -> Played:
        """Play the schedule to its end."""
        self.play(None)
        imaging_study = self.w.imaging_study() or {}
        right = imaging_study.get("numberOfInstances") == len(self.arrivals) and not self.w.outstanding()
        delay = (self.written[-1] - self.last).total_seconds() if self.written else math.inf
        return Played(writes=len(self.written), delay=delay, messages=self.queue.sent, right=right)

    def play(self, until: Any) -> None:
        """Let happen what happens until then, or to the end."""
        for _ in range(MAX_EVENTS):
            now, act = self._next()
            if now is None or (until is not None and now > until):
                break
            self.clock.advance(max((now - self.clock.now()).total_seconds(), 0.0))
            act()
        else:
            raise AssertionError("events without end")
        if until is not None:
            self.clock.advance(max((until - self.clock.now()).total_seconds(), 0.0))

    def _next(self) -> tuple[Any, Any]:
        happenings: list[tuple[Any, int, Any]] = []
        if self.number < len(self.arrivals):
            happenings.append((self.ingested[self.number], 0, self._arrive))
        if self.queue.messages:
            first = min(message.visible_at for message in self.queue.messages)
            happenings.append((max(first, self.clock.now()), 1, self._take))
        if self._returning:
            happenings.append((self._returning[0][0], 2, self._return))
        if happenings or self.w.outstanding():
            happenings.append((self.next_sweep, 3, self._sweep))
        at, _, act = min(happenings, key=lambda happening: happening[:2], default=(None, 0, None))
        return at, act

    def backlog(self) -> Sequence[int]:
        """Return the numbers of the objects that arrived and are not ingested."""
        now = self.clock.now()
        return [number for number in range(self.number, len(self.arrivals)) if self.arrivals[number] <= now]

    def is_lingering(self) -> bool:
        """Return whether the message of the last ingested object is still in the queue."""
        if not self.number:
            return False
        done = self.ingested[self.number - 1] + timedelta(seconds=self.pattern.lingering)
        return self.clock.now() < done

    def _since(self, seconds: float) -> datetime:
        return self.began + timedelta(seconds=seconds)

    def _arrive(self) -> None:
        numbers = self.backlog()
        self.number += len(numbers)
        for number in reversed(numbers):
            self._ingest(number)

    def _ingest(self, number: int) -> None:
        happened, process = self.arrivals[number], self.takers[number]
        ref = self.w.ref(f"f/{number}")
        self.w.store.objects.put(ref, _file(number))
        change = Change(object=ref, action=Action.CREATED, happened=happened, likely_new=True)
        run(self.handling.handle_change(change, self.processes[process]))

    def _take(self) -> None:
        for study in self.queue.take():
            self._deliver(study, 1)

    def _return(self) -> None:
        _, study, attempt = self._returning.pop(0)
        self._deliver(study, attempt)

    def _deliver(self, study: StudyRef, attempt: int) -> None:
        self._deliveries += 1
        if self._deliveries - 1 in self.pattern.killed:
            self._returning.append((self.clock.now() + timedelta(seconds=LEASE), study, attempt + 1))
            return
        process = self.processes[self._deliveries % len(self.processes)]
        with suppress(FhirUnavailable):
            run(self.handling.handle_study_message(study_message(study), process, attempt=attempt))

    def _sweep(self) -> None:
        self.next_sweep += timedelta(seconds=SWEEP)
        run(self.handling.sweep(self.processes[0]))


@cache
def _file(number: int) -> bytes:
    return dicom(sop=f"2.25.{1000 + number}")
