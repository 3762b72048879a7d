"""
State that a process keeps between messages. It is lost when the process ends; only the load on services depends on it.

`sync.ports.services.Core` holds one `Caches`; tests give each simulated process its own.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median
from weakref import WeakValueDictionary

from sync.errors import StoreUnavailable
from sync.model import ObjectKey, StudyRef
from sync.model.result_events import ResultEvent
from sync.ports.operations import Counted

_REMEMBERED, _RECENT = 2_000, 32
"""How many studies a process remembers arrivals of, and how many objects of each."""

_MANY = 8
"""Number of messages handled at once from which a process takes them for a burst."""


@dataclass(kw_only=True)
class Novelty:
    """
    The share of objects expected to be new that were new: a moving average over about the last sixteen.

    A claim that conflicts counts twice, for itself and for the read that follows. When more than a quarter of the
    claims conflict, rows are read first, and these reads show when objects are new again.
    """

    share: float = 1.0

    def note(self, *, new: bool) -> None:
        """Take one more object into account."""
        self.share += (new - self.share) / 16

    @property
    def is_usual(self) -> bool:
        """Whether claiming an object without reading its row first saves requests."""
        return self.share > 0.8  # noqa: PLR2004 -- a conflict costs about what four reads cost


@dataclass(kw_only=True)
class DeletionsInHand:
    """The deletions that this process has begun and not finished, and their row; see `sync.delivery.deletions`."""

    counts: Counter[str] = field(default_factory=Counter)
    version: int = 0
    """Grows with each change of ``counts``; ``written`` is the version that the row holds."""
    written: int = 0
    name: str = ""
    etag: str | None = None
    failed: int = 0
    """Version that could not be written, and why."""
    failure: StoreUnavailable | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, text: str) -> None:
        """Add a deletion that has begun."""
        self.counts[text] += 1
        self.version += 1

    def remove(self, text: str) -> None:
        """Remove a deletion that has ended; it stays while another delivery deletes the same object."""
        self.counts[text] -= 1
        if self.counts[text] <= 0:
            del self.counts[text]
        self.version += 1


@dataclass(kw_only=True)
class Company:
    """
    Tells whether a row that waits to share a write may still be joined by others.

    When blobs or the processor are slow, rows arrive one by one although many deliveries are running, and each row
    would be written alone. Messages of a queue keep arriving by themselves, whereas a walk continues only when its rows
    are written.
    """

    at_work: int = 0
    """Running deliveries, without those that wait for a write."""
    from_queue: int = 0
    """Running deliveries of queue messages, including those that wait."""

    @contextmanager
    def joined(self, *, from_queue: bool = False) -> Iterator[None]:
        """Count a delivery as running during the block: it is going to write rows."""
        self.at_work += 1
        self.from_queue += from_queue
        try:
            yield
        finally:
            self.at_work -= 1
            self.from_queue -= from_queue

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a delivery as waiting for a write during the block."""
        self.at_work -= 1
        try:
            yield
        finally:
            self.at_work += 1

    @property
    def may_come(self) -> bool:
        """Whether a running delivery may still reach a write."""
        return self.at_work > 0

    @property
    def may_be_sent(self) -> bool:
        """Whether queue messages are being handled, so that others may follow."""
        return self.from_queue > 0

    @property
    def is_many(self) -> bool:
        """Whether enough queue messages are being handled that others are likely to follow."""
        return self.from_queue >= _MANY


@dataclass(kw_only=True)
class Arrivals:
    """Arrival times of the last objects of each study that this process marked, in seconds and sorted."""

    _seen: dict[str, list[float]] = field(default_factory=dict)

    def longest_gap(self, key: str, arrived: datetime) -> float | None:
        """
        Record an object of a study; return the longest gap between the last objects in seconds, None for the first.

        Objects are marked in any order: one that arrived between two others and is marked later splits their gap. A
        study whose arrivals were forgotten only waits longer, so they may be forgotten at any time.
        """
        if len(self._seen) >= _REMEMBERED and key not in self._seen:
            self._seen.clear()
        last = self._seen.setdefault(key, [])
        insort(last, arrived.timestamp())
        del last[:-_RECENT]
        return max((later - earlier for earlier, later in pairwise(last)), default=None)


@dataclass(kw_only=True)
class ClockOffset:
    """
    The offset of this process's clock from the storage's clock, as the median of the last three compared answers.

    One answer proves nothing: a gateway or a cache may have set its time, and a process that believed it would write
    marks and leases of that time. Before the third answer the process's own clock takes its place.
    """

    seconds_ahead: float | None = None
    """Negative when this process's clock is behind; None before the second answer."""
    seconds_set: float = 0.0
    """By how much the machine's clock was set since this process's start, which the process's own ignores."""
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=3), init=False)

    def note(self, told: datetime, *, sent: datetime, received: datetime, seconds_set: float = 0.0) -> None:
        """
        Record the time that an answer states, and our times of sending and receiving.

        The answer was made at some time in between, so a slow answer, or a process that was suspended, does not prove a
        wrong clock: only a stated time outside that interval counts.
        """
        early, late = (sent - told).total_seconds(), (received - told).total_seconds()
        self._last.append(max(early, 0.0) or min(late, 0.0))
        if len(self._last) > 1:
            self.seconds_ahead = median([*self._last, 0.0][:3])
        self.seconds_set = seconds_set


@dataclass(kw_only=True)
class Backlog:
    """Whether objects wait to be ingested, as the queue has last told."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    answers: int = 0
    waits: bool = False
    told: datetime | None = None


@dataclass(kw_only=True)
class Caches:
    """
    The state that one process keeps until it ends: the only mutable part of a bundle.

    No rule depends on it; the clock uses its offset.
    """

    verified_resources: set[str] = field(default_factory=set)
    """Hashes of shared resources that this process found correct in FHIR, so that not every study reads them again."""
    unsent_events: dict[str, ResultEvent] = field(default_factory=dict)
    """Events that this process has put into the outbox and not sent yet, by id."""
    hints: dict[str, str] = field(default_factory=dict)
    """Hint for operators by code, from the first dead letter of each code that this process has read."""
    novelty: Novelty = field(default_factory=Novelty)
    """Whether objects that were expected to be new were new."""
    company: Company = field(default_factory=Company)
    """How many deliveries may still reach a write."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    """How quickly the objects of each study arrive."""
    backlog: Backlog = field(default_factory=Backlog)
    """Whether objects wait: studies of a burst ask at the same time."""
    object_locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Locks of the objects that this process is inspecting; an entry ends with its last holder."""
    attempts: dict[str, set[str]] = field(default_factory=dict)
    """Ids of the attempts that this process began, by the row that counts them: it has not died of any."""
    deletions: DeletionsInHand = field(default_factory=DeletionsInHand)
    """Deletions that this process has begun and not finished."""
    clock_offset: ClockOffset = field(default_factory=ClockOffset)
    """The offset of our clock from the storage's clock."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a redelivered message is handled; see `sync.delivery.isolation`."""
    whole_pages: dict[Counted, datetime] = field(default_factory=dict)
    """When one page was last found to hold a whole table with a recent stored count; see `sync.monitoring.counts`."""
    rescues: dict[StudyRef, tuple[datetime, float]] = field(default_factory=dict)
    """
    For studies whose only messages are leased: when they may be enqueued again, and the seconds waited until then.
    """
    counting_removals: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a study is counted that loses instances; see `sync.protocol.removals`."""
    walking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while this process works on a slice of a walk: one at a time, so that other processes get some too."""
    slots: asyncio.Semaphore | None = None
    """Slots for projections; see `projecting`."""

    def projecting(self, most: int) -> asyncio.Semaphore:
        """
        Return the semaphore that a projection holds while it runs: at most ``most`` in this process at once.

        It only limits load: the app may have many processes, but there is one FHIR service.
        """
        if self.slots is None:
            self.slots = asyncio.Semaphore(most)
        return self.slots
