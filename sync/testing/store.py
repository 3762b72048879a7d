"""A whole store in memory."""

from __future__ import annotations

from sync.adapters.clocks import SystemClock
from sync.ports import Clock
from sync.testing.dead_letters import MemoryAuditTrail, MemoryDeadLetters
from sync.testing.drifts import MemoryDrifts
from sync.testing.history import MemoryHistory
from sync.testing.metric_history import MemoryMetricHistory
from sync.testing.objects import MemoryObjects
from sync.testing.queues import MemoryDepths, MemoryObjectQueue, MemorySliceQueue, MemoryStudyQueue
from sync.testing.results import MemoryOutbox
from sync.testing.state import (
    MemoryCursors,
    MemoryDirtyStudies,
    MemoryLedger,
    MemoryLocators,
    MemoryPatientRows,
    MemoryProjections,
)
from sync.testing.tallies import MemoryTallies


class MemoryStore:
    """One of each store, under the names that `sync.ports.Services` uses."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.objects = MemoryObjects(self.clock)
        self.locators = MemoryLocators()
        self.ledger = MemoryLedger()
        self.dirty = MemoryDirtyStudies()
        self.projections = MemoryProjections()
        self.patients = MemoryPatientRows()
        self.dead_letters = MemoryDeadLetters()
        self.drifts = MemoryDrifts()
        self.cursors = MemoryCursors()
        self.metrics = MemoryMetricHistory()
        self.audit = MemoryAuditTrail()
        self.history = MemoryHistory()
        self.outbox = MemoryOutbox()
        self.tallies = MemoryTallies(self.dirty, self.projections, self.dead_letters, self.drifts)
        self.study_queue = MemoryStudyQueue(self.clock)
        self.object_queue = MemoryObjectQueue(self.clock)
        self.slice_queue = MemorySliceQueue(self.clock)
        self.queues = MemoryDepths(self.study_queue, self.object_queue, self.slice_queue)
