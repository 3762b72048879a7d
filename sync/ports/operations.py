"""Ports for operators and subscribers: measurements, history, counts, notifications, events."""

from __future__ import annotations

import enum
import heapq
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

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
    """The audit trail of operator actions."""

    async def add(self, entry: AuditEntry) -> None:
        """Store the entry; one that differs only in its reason is replaced, so the call is idempotent."""
        ...

    async def newest(self, limit: int) -> Sequence[AuditEntry]:
        """Return at most that many entries, newest first."""
        ...


class StudyHistory(Protocol):
    """The recent processing history of studies, for the dashboard. No work depends on it; a crash may lose an entry."""

    async def add(self, event: StudyEvent) -> None:
        """Store an event. Idempotent: an equal event is stored once."""
        ...

    async def of_study(self, study: StudyRef, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of a study, newest first."""
        ...

    async def latest(self, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of all studies, newest first."""
        ...

    async def discard(self, before: datetime, most: int) -> int:
        """Delete at most that many events that are older, in any order; return their number."""
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
        """Delete these rows; a missing row is fine."""
        ...

    async def discard(self, seconds: int, before: datetime, most: int) -> int:
        """Delete up to ``most`` rows of that length that start earlier, oldest first; return their number."""
        ...


class Outbox(Protocol):
    """Result events that are not delivered yet; there are few unless the topic does not answer."""

    async def put(self, event: ResultEvent) -> None:
        """Insert or replace, by id."""
        ...

    async def delete(self, event: ResultEvent) -> None:
        """Delete; a missing row is fine."""
        ...

    async def waiting(self, limit: int) -> Sequence[ResultEvent]:
        """Return at most that many events, in no particular order."""
        ...


class ResultEvents(Protocol):
    """The destination of result events."""

    async def publish(self, events: Sequence[ResultEvent]) -> None:
        """
        Send all events or none; events that are sent again have the same ids.

        Raises
        ------
        EventsUnavailable
            The topic did not answer.
        EventsRefused
            The topic refuses them for good.
        """


class Counted(enum.Enum):
    """The tables whose rows are counted."""

    DIRTY = "dirty"
    PROJECTIONS = "projections"
    DEAD_LETTERS = "deadletters"
    DRIFTS = "drifts"

    @property
    def cursor(self) -> str:
        """Name of the cursor that keeps its last count."""
        return f"count:{self.value}"


NEWEST = 3
"""Dead letters of each code that a tally names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """The dead letters of one code: when the first one was written, and the newest few, newest first."""

    oldest: Timestamp
    newest: tuple[DeadLetterEntry, ...]

    def __add__(self, other: DeadLetterGroup) -> DeadLetterGroup:
        return DeadLetterGroup(oldest=min(self.oldest, other.oldest), newest=_newest((*self.newest, *other.newest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """
    The counts of one page of a table.

    The keys are ``studies`` for outstanding studies; ``studies`` and ``instances`` for those in FHIR; the codes for
    dead letters; the kinds for drifts, without those kept on purpose.
    """

    counts: Mapping[str, int]
    oldest: Timestamp | None = None
    """When the oldest row of the page was written, for outstanding studies and dead letters."""
    groups: Mapping[str, DeadLetterGroup] = field(default_factory=dict)
    """Groups of dead letters, by code."""
    token: str | None = None
    """Where the next page begins; None at the end of the table."""

    def __add__(self, following: Tally) -> Self:
        """Add the next page, whose token counts."""
        groups = dict(self.groups)
        for code, group in following.groups.items():
            groups[code] = groups[code] + group if code in groups else group
        return replace(
            self,
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
    """Counts of rows, a page at a time: small and quick whatever the size of the rows."""

    async def page(self, table: Counted, token: str | None = None) -> Tally:
        """Count about a thousand rows, from the token on or from the beginning."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    The notification that an alert was raised or cleared: codes and figures, no name and no key.

    ``id`` stays the same when this notice is sent again; a raised notice and its cleared notice share ``alert``.
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
    """A channel that delivers notices to people or programs."""

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
    """Files of exports in one container, by name. The part before the slash names the export."""

    async def ensure(self) -> None:
        """Create the container if it is missing; `StoreUnavailable` when the store refuses."""
        ...

    async def create(self, name: str, path: Path) -> bool:
        """Upload a local file, whole or not at all; False when a file of this name exists, which stays unchanged."""
        ...

    async def fetch(self, name: str, path: Path, *, start: int = 0, size: int | None = None) -> bool:
        """
        Download a file to this machine; False when there is none of this name.

        Parameters
        ----------
        start, size
            First byte and number of bytes to copy, all by default; a file that ends earlier raises `StoreUnavailable`.
        """
        ...

    def names(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the names with this prefix."""
        ...

    async def remove(self, name: str) -> None:
        """Delete the file; a missing file is fine."""
        ...
