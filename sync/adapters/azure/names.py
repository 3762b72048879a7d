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
