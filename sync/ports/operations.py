"""What operators see: measurements, history, counts, notifications, events."""

from __future__ import annotations

import enum
import heapq
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from sync.model import (
    AuditEntry,
    DeadLetterEntry,
    StudyEvent,
    StudyRef,
)
from sync.model.result_events import ResultEvent
from sync.model.timestamps import Timestamp
from sync.telemetry.measurements import MetricRow


class AuditTrail(Protocol):
    """What operators did."""

    async def add(self, entry: AuditEntry) -> None:
        """Keep the entry; one that is equal in all but the reason is replaced, so it may be repeated."""
        ...

    async def newest(self, limit: int) -> Sequence[AuditEntry]:
        """Return at most that many, the newest first."""
        ...


class StudyHistory(Protocol):
    """The recent processing history of studies, for the dashboard. No work depends on it; a crash may lose an entry."""

    async def add(self, event: StudyEvent) -> None:
        """Keep an event; the same one again is one."""
        ...

    async def of_study(self, study: StudyRef, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of a study, newest first."""
        ...

    async def latest(self, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of all studies, newest first."""
        ...

    async def discard(self, before: datetime, most: int) -> int:
        """Delete at most that many events that are older, and return how many; oldest first or not."""
        ...


class MetricHistory(Protocol):
    """Measurements over time: a row for each minute of each worker, and rows of longer times."""

    async def write(self, row: MetricRow) -> None:
        """Insert or replace the row of this worker and time."""
        ...

    def between(self, seconds: int, start: datetime, end: datetime) -> AsyncIterator[MetricRow]:
        """Iterate over the rows of that length with ``start <= row.start < end``, oldest first."""
        ...

    async def drop(self, rows: Sequence[MetricRow]) -> None:
        """Delete these rows; one that is gone already is fine."""
        ...

    async def discard(self, seconds: int, before: datetime, most: int) -> int:
        """Delete up to ``most`` rows of that length that start earlier, oldest first; return their number."""
        ...


class Outbox(Protocol):
    """Result events that were not delivered yet; few, unless the topic does not answer."""

    async def put(self, event: ResultEvent) -> None:
        """Insert or replace, by id."""
        ...

    async def delete(self, event: ResultEvent) -> None:
        """Delete; a missing row is fine."""
        ...

    async def waiting(self, limit: int) -> Sequence[ResultEvent]:
        """Return at most that many, in no particular order."""
        ...


class ResultEvents(Protocol):
    """Where result events go."""

    async def publish(self, events: Sequence[ResultEvent]) -> None:
        """
        Send the events, all or none; sent again, they have the same ids.

        Raises
        ------
        EventsUnavailable
            The topic did not answer.
        EventsRefused
            It never will take them.
        """


class Counted(enum.Enum):
    """What is counted without being read."""

    DIRTY = "dirty"
    PROJECTIONS = "projections"
    DEAD_LETTERS = "deadletters"
    DRIFTS = "drifts"

    @property
    def cursor(self) -> str:
        """Name of the cursor that keeps its last count."""
        return f"count:{self.value}"


NEWEST = 3
"""Letters of a code that a tally names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """The letters of one code: when the first of them came, and the newest few, newest first."""

    oldest: Timestamp
    newest: tuple[DeadLetterEntry, ...]

    def __add__(self, other: DeadLetterGroup) -> DeadLetterGroup:
        return DeadLetterGroup(oldest=min(self.oldest, other.oldest), newest=_newest((*self.newest, *other.newest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    The counts of one page of a table.

    Words: ``studies`` of outstanding studies; ``studies`` and ``instances`` of those in FHIR; codes of dead letters;
    kinds of drift, without those that are kept on purpose.
    """

    counts: Mapping[str, int]
    oldest: Timestamp | None = None
    """When the page's oldest row came, for outstanding studies and dead letters."""
    groups: Mapping[str, DeadLetterGroup] = field(default_factory=dict)
    """Of dead letters, by code."""
    token: str | None = None
    """Where the next page begins; None at the end of the table."""

    def __add__(self, following: Tally) -> Tally:
        """Add the next page, whose token counts."""
        groups = dict(self.groups)
        for code, group in following.groups.items():
            groups[code] = groups[code] + group if code in groups else group
        return Tally(
            counts=Counter(self.counts) + Counter(following.counts),
            oldest=min(filter(None, (self.oldest, following.oldest)), default=None),
            groups=groups,
            token=following.token,
        )

    @classmethod
    def of_letters(cls, entries: Iterable[DeadLetterEntry], token: str | None = None) -> Tally:
        """Count some dead letters."""
        by_code: defaultdict[str, list[DeadLetterEntry]] = defaultdict(list)
        for entry in entries:
            by_code[entry.code].append(entry)
        groups = {
            code: DeadLetterGroup(oldest=min(letter.first_at for letter in some), newest=_newest(some))
            for code, some in by_code.items()
        }
        oldest = min((group.oldest for group in groups.values()), default=None)
        return cls(
            counts={code: len(some) for code, some in by_code.items()}, oldest=oldest, groups=groups, token=token
        )


def _newest(entries: Iterable[DeadLetterEntry]) -> tuple[DeadLetterEntry, ...]:
    return tuple(heapq.nlargest(NEWEST, entries, key=lambda entry: (entry.last_at, entry.subject)))


class Tallies(Protocol):
    """Counts of rows, a page at a time: small and quick however much the rows hold."""

    async def page(self, table: Counted, token: str | None = None) -> Tally:
        """Count about a thousand rows; from the beginning without a token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    What is sent when an alert is raised or cleared: codes and figures, no name and no key.

    ``id`` is the same whenever this notice is sent again; ``alert`` is common to a raising and its clearing.
    """

    id: str
    alert: str
    step: str
    """``raised`` or ``cleared``."""
    code: str
    severity: str
    """``critical`` or ``warning``."""
    text: str
    at: Timestamp
    value: float
    threshold: float

    def as_json(self) -> dict[str, Any]:
        """Return it as channels and commands tell it."""
        document: dict[str, Any] = _NOTICE.dump_python(self, mode="json")
        return document


_NOTICE = TypeAdapter(Notice)


class AlertChannel(Protocol):
    """A way to reach people or programs."""

    async def send(self, notice: Notice) -> None:
        """
        Send a notice; sent again, it has the same id.

        Raises
        ------
        TransientError
            Not sent, after the adapter's own short retries.
        """
        ...


class ExportFiles(Protocol):
    """Files of exports in one container, by name; what stands before the slash names the export."""

    async def ensure(self) -> None:
        """Create the container if it is missing; `StoreUnavailable` where that is refused."""
        ...

    async def create(self, name: str, path: Path) -> bool:
        """Copy a file of this machine, whole or not at all; False when there is one of this name, which stays."""
        ...

    async def fetch(self, name: str, path: Path, *, start: int = 0, size: int | None = None) -> bool:
        """
        Copy a file to this machine; False when there is none.

        Parameters
        ----------
        start, size
            First byte and number of bytes to copy, all by default; a file that ends before is `StoreUnavailable`.
        """
        ...

    def names(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the names that begin so."""
        ...

    async def remove(self, name: str) -> None:
        """Delete; a missing file is fine."""
        ...
