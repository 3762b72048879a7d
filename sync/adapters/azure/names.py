"""Names of our tables and queues, in one place: the infrastructure templates and the triggers must agree with them."""

from __future__ import annotations

LOCATORS = "locators"
LEDGER = "ledger"
DIRTY = "dirty"
PROJECTIONS = "projections"
PATIENTS = "patients"
DEAD_LETTERS = "deadletters"
DRIFTS = "drifts"
CURSORS = "cursors"
METRICS = "metrics"
AUDIT = "audit"
HISTORY = "history"
OUTBOX = "outbox"

TABLES = (
    LOCATORS,
    LEDGER,
    DIRTY,
    PROJECTIONS,
    PATIENTS,
    DEAD_LETTERS,
    DRIFTS,
    CURSORS,
    METRICS,
    AUDIT,
    HISTORY,
    OUTBOX,
)

OBJECTS_QUEUE = "objects"
STUDIES_QUEUE = "studies"
OBJECTS_POISON_QUEUE = "objects-poison"
STUDIES_POISON_QUEUE = "studies-poison"

SLICES_QUEUE = "slices"

COUNTED_QUEUES = (OBJECTS_QUEUE, STUDIES_QUEUE)
POISON_QUEUES = (OBJECTS_POISON_QUEUE, STUDIES_POISON_QUEUE)
QUEUES = (*COUNTED_QUEUES, *POISON_QUEUES, SLICES_QUEUE)
"""``slices`` is in no count of what waits: its messages only call workers, and walks are counted by their rows."""
