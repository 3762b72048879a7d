"""
The phases of a timer: each runs within a budget, even if an earlier one failed, and each run is measured.

    timer  ->  phase: done | failed | too long  ->  metric dicom_sync.timer.runs  ->  alert.timer when none succeeds

A run whose lease another process holds counts as none of these: that process measures it. A failed phase must not keep
the next one from running: a FHIR service whose list cannot be read is no reason to leave studies unswept. The first
failure is raised at the end, so that the host counts the run as failed too; every failure is logged and measured.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sync.errors import PhaseTooLong, SyncError
from sync.ports import Core
from sync.protocol.leases import asked_for_leases
from sync.telemetry.budgets import cut_off_after
from sync.telemetry.defects import only_sync_errors
from sync.telemetry.instruments import FAILURES, TIMER_RUNS

BUDGET = 120.0
"""Seconds that a phase may take by default; below the limit of a function in any plan."""

_OUTAGES = (".unavailable", ".throttled")
"""Suffixes of codes of transient failures: they count as failed runs, not as failed deliveries."""

Work = Callable[[], Awaitable[object]]
"""Begins the work of a phase; its return value is ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """
    One part of a timer's work, which must be idempotent: a phase that takes too long is cancelled.

    ``name`` consists of lower-case letters and underscores, because it becomes a metric's attribute.
    """

    name: str
    work: Work
    seconds: float = BUDGET


async def run_phases(timer: str, phases: Sequence[Phase], s: Core) -> None:
    """
    Run the phases one after the other, each within its budget, whatever other phases raise.

    Idempotent if the phases are. When the process is stopped, the running phase is cancelled and no other begins.

    Parameters
    ----------
    timer
        Name of the timer, for logs, metrics and the alert.

    Raises
    ------
    SyncError
        The first failure of a phase, after all have run.
    """
    failures = [failure for phase in phases if (failure := await _run(timer, phase, s)) is not None]
    if failures:
        raise failures[0]


async def _run(timer: str, phase: Phase, s: Core) -> SyncError | None:
    try:
        async with only_sync_errors():
            with asked_for_leases() as asked:
                too_long = PhaseTooLong(f"{phase.name}: more than {phase.seconds:g} s")
                await cut_off_after(phase.seconds, phase.work(), too_long)
    except SyncError as failure:
        note_run(timer, phase.name, s, failure=failure)
        return failure
    # If several hosts fire a timer, one does the work: the others must not report its failures as successes.
    if asked != {False}:
        note_run(timer, phase.name, s)
    return None


def note_run(timer: str, phase: str, s: Core, *, failure: SyncError | None = None) -> None:
    """Measure one run of a phase, and log it if it failed; for work that has its own phases."""
    outcome = "failed" if failure is not None else "done"
    s.telemetry.measure(TIMER_RUNS, timer=timer, phase=phase, outcome=outcome)
    if failure is not None:
        if not failure.code.endswith(_OUTAGES):
            s.telemetry.measure(FAILURES, code=failure.code)
        s.telemetry.event("timer.failed", logging.WARNING, timer=timer, phase=phase, code=failure.code)
