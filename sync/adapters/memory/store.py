"""A whole store in memory."""

from __future__ import annotations

from sync.adapters.clocks import SystemClock
from sync.adapters.memory.drifts import MemoryDrifts
from sync.adapters.memory.history import MemoryHistory
from sync.adapters.memory.letters import MemoryAuditTrail, MemoryDeadLetters
from sync.adapters.memory.objects import MemoryObjects
from sync.adapters.memory.queues import MemoryDepths, MemoryObjectQueue, MemoryStudyQueue
from sync.adapters.memory.results import MemoryOutbox
from sync.adapters.memory.series import MemorySeries
from sync.adapters.memory.state import (
    MemoryCursors,
    MemoryDirtyStudies,
    MemoryLedger,
    MemoryLocators,
    MemoryPatientRows,
    MemoryProjections,
)
from sync.adapters.memory.tallies import MemoryTallies
from sync.ports import Clock


class MemoryStore:
    """One of each, under the names that `sync.ports.Services` uses."""

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
        self.series = MemorySeries()
        self.audit = MemoryAuditTrail()
        self.history = MemoryHistory()
        self.outbox = MemoryOutbox()
        self.tallies = MemoryTallies(self.dirty, self.projections, self.dead_letters, self.drifts)
        self.study_queue = MemoryStudyQueue(self.clock)
        self.object_queue = MemoryObjectQueue(self.clock)
        self.queues = MemoryDepths(self.study_queue, self.object_queue)
