"""Result events in memory: the outbox, and a topic that keeps all events."""

from __future__ import annotations

from collections.abc import Sequence

from sync.errors import SyncError
from sync.model.result_events import ResultEvent
from sync.ports import Outbox, ResultEvents
from sync.testing.table import MemoryTable


class MemoryOutbox(Outbox):
    """Events that were not delivered yet."""

    def __init__(self) -> None:
        self.table: MemoryTable[str, ResultEvent] = MemoryTable()

    async def put(self, event: ResultEvent) -> None:
        """Insert or replace."""
        self.table.upsert(event.id, event)

    async def delete(self, event: ResultEvent) -> None:
        """Delete; a missing row is fine."""
        self.table.discard(event.id)

    async def waiting(self, limit: int) -> Sequence[ResultEvent]:
        """Return at most that many."""
        return self.table.values()[:limit]


class MemoryTopic(ResultEvents):
    """A topic; tests read ``events`` directly; the next calls raise ``failures``, one each."""

    def __init__(self) -> None:
        self.events: list[ResultEvent] = []
        self.failures: list[SyncError] = []
        self.outage: SyncError | None = None

    async def publish(self, events: Sequence[ResultEvent]) -> None:
        """Keep the events."""
        if self.failures:
            raise self.failures.pop(0)
        if self.outage is not None:
            raise self.outage
        self.events += events
