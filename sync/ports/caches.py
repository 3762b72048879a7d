"""
What a process may keep between messages: lost when it ends, and only the load on services depends on it.

`Caches` is one object of `sync.ports.services.Core`; tests give each process one of its own.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from weakref import WeakValueDictionary

from sync.errors import StoreUnavailable
from sync.model import ObjectKey, StudyRef
from sync.model.result_events import ResultEvent
from sync.ports.operations import Counted

_REMEMBERED, _RECENT = 2_000, 32
"""Studies whose arrivals a process keeps, and of how many objects of each."""

_MANY = 8
"""Messages that a process handles at once in a burst."""


@dataclass(kw_only=True)
class Novelty:
    """
    How many of the last objects that were likely to be new were so, as a moving average over about sixteen.

    A claim that conflicts counts twice, for itself and for the read after it: where more than a quarter conflict, rows
    are read first, which shows when objects are new again.
    """

    share: float = 1.0

    def note(self, *, new: bool) -> None:
        """Take one more object into account."""
        self.share += (new - self.share) / 16

    @property
    def is_usual(self) -> bool:
        """Whether it pays to claim an object without a read before."""
        return self.share > 0.8  # noqa: PLR2004 -- a conflict costs about what four reads cost


@dataclass(kw_only=True)
class DeletionsInHand:
    """The deletions that this process has begun and not ended, and the row that names them; see `sync.delivery`."""

    counts: Counter[str] = field(default_factory=Counter)
    version: int = 0
    """Grows with each change of ``counts``; ``written`` is the one that the row holds."""
    written: int = 0
    name: str = ""
    etag: str | None = None
    failed: int = 0
    """Version that could not be written, and why."""
    failure: StoreUnavailable | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, text: str) -> None:
        """Take one in hand."""
        self.counts[text] += 1
        self.version += 1

    def remove(self, text: str) -> None:
        """Release one; it stays while another delivery has the same object in hand."""
        self.counts[text] -= 1
        if self.counts[text] <= 0:
            del self.counts[text]
        self.version += 1


@dataclass(kw_only=True)
class Company:
    """
    Whether a row that waits for others may still get company.

    Where blobs or processor are slow, rows come one by one though many deliveries are on their way, and each would go
    out alone. Messages of a queue moreover come by themselves, while a walk continues only as it gets rows written.
    """

    at_work: int = 0
    """Deliveries at work, less those that wait for a write."""
    from_queue: int = 0
    """Deliveries of queue messages, those that wait included."""

    @contextmanager
    def joined(self, *, from_queue: bool = False) -> Iterator[None]:
        """Be at work for the length of the block: the delivery is going to write rows."""
        self.at_work += 1
        self.from_queue += from_queue
        try:
            yield
        finally:
            self.at_work -= 1
            self.from_queue -= from_queue

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for a write for the length of the block; who is not at work counts for no one."""
        self.at_work -= 1
        try:
            yield
        finally:
            self.at_work += 1

    @property
    def may_come(self) -> bool:
        """Whether a delivery is on its way to its next write."""
        return self.at_work > 0

    @property
    def may_be_sent(self) -> bool:
        """Whether messages are being handled, after which others may come."""
        return self.from_queue > 0

    @property
    def is_many(self) -> bool:
        """Whether messages are handled in such a number that others are likely to come."""
        return self.from_queue >= _MANY


@dataclass(kw_only=True)
class Arrivals:
    """When the last objects of each study arrived, of those that this process marked: seconds, in order of time."""

    _seen: dict[str, list[float]] = field(default_factory=dict)

    def longest_gap(self, key: str, arrived: datetime) -> float | None:
        """
        Note an object of a study; return the longest gap between the last ones, in seconds, None for the first.

        Objects are marked in no order: one that is marked later, and arrived between two others, makes their gap
        shorter. Forgetting has a study wait longer, so all may be forgotten at will.
        """
        if len(self._seen) >= _REMEMBERED and key not in self._seen:
            self._seen.clear()
        last = self._seen.setdefault(key, [])
        insort(last, arrived.timestamp())
        del last[:-_RECENT]
        return max((later - earlier for earlier, later in pairwise(last)), default=None)


@dataclass(kw_only=True)
class ClockOffset:
    """How far the clock of this process is from that of the storage, as an answer of the last minute told."""

    seconds_ahead: float | None = None
    """Negative where it is behind; None before the first answer."""

    def note(self, told: datetime, *, sent: datetime, received: datetime) -> None:
        """
        Note an answer's own time, and ours around it.

        The answer was made at some time in between, so that a slow one, or a process that stood still, is no wrong
        clock: only what lies outside counts.
        """
        early, late = (sent - told).total_seconds(), (received - told).total_seconds()
        self.seconds_ahead = max(early, 0.0) or min(late, 0.0)


@dataclass(kw_only=True)
class Caches:
    """What one process remembers, and loses when it ends; the only mutable part of a bundle. No rule depends on it."""

    verified_resources: set[str] = field(default_factory=set)
    """Hashes of shared resources that this process has read as they should be, so that not every study reads them."""
    unsent_events: dict[str, ResultEvent] = field(default_factory=dict)
    """Events that this process has put into the outbox and not sent yet, by id."""
    hints: dict[str, str] = field(default_factory=dict)
    """What to do about dead letters, by code, as the first dead letter of each code that this process has read says."""
    novelty: Novelty = field(default_factory=Novelty)
    """Whether objects that are likely to be new have been so."""
    company: Company = field(default_factory=Company)
    """How many deliveries are on their way to a write."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    """How quickly the objects of each study arrive."""
    object_locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Locks of the objects that this process is inspecting; an entry ends with its last holder."""
    deletions: DeletionsInHand = field(default_factory=DeletionsInHand)
    """Deletions that this process has in hand."""
    clock_offset: ClockOffset = field(default_factory=ClockOffset)
    """How far our clock is from that of the storage."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a message is handled that was delivered before; see `sync.delivery.isolation`."""
    whole_pages: dict[Counted, datetime] = field(default_factory=dict)
    """When a page was last all of a table, by what `sync.monitoring.counts` has read, and its stored count young."""
    rescues: dict[StudyRef, tuple[datetime, float]] = field(default_factory=dict)
    """When studies with leased messages alone may be enqueued once more, and the seconds waited for it."""
    walking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while this process works on slices of walks: one at a time, so that others get some too."""
    slots: asyncio.Semaphore | None = None
    """Slots for projections; see `projecting`."""

    def projecting(self, most: int) -> asyncio.Semaphore:
        """
        Return what a projection holds while it runs, so that at most ``most`` of this process ask FHIR at once.

        Nothing depends on it but the load: instances of the app are many, and the FHIR service is one.
        """
        if self.slots is None:
            self.slots = asyncio.Semaphore(most)
        return self.slots
