"""
The phases of a timer: each runs, even if one before it failed, within a budget, and each run is measured.

    timer  ->  phase: done | failed | too long  ->  metric dicom_sync.timer.runs  ->  alert.timer when none succeeds

A run whose lease another process holds is none of these: that process measures it. A phase that fails must not keep
the next one from running: a FHIR service whose list cannot be read is no reason to leave studies unswept. What failed
is raised in the end, so that the host counts the run as failed too; the first failure stands for all, and each is
logged and measured.
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
"""Seconds that a phase may take, where it says nothing else; below the limit of a function in any plan."""

_OUTAGES = (".unavailable", ".throttled")
"""Ends of codes that pass by themselves: they count as failed runs, not as deliveries that failed."""

Work = Callable[[], Awaitable[object]]
"""Begins the work of a phase; what it returns does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """
    One part of a timer's work, which has to be idempotent: a phase that takes too long is cancelled.

    ``name`` is of lower-case letters and underscores, because it becomes a metric's attribute.
    """

    name: str
    work: Work
    seconds: float = BUDGET


async def run_phases(timer: str, phases: Sequence[Phase], s: Core) -> None:
    """
    Run the phases one after the other, each within its budget, whatever the others raise.

    Idempotent if the phases are. A process that is being stopped cancels the phase that runs and begins no other.

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
    # Where several hosts fire a timer, one does the work: the others must not tell its failures as successes.
    if asked != {False}:
        note_run(timer, phase.name, s)
    return None


def note_run(timer: str, phase: str, s: Core, *, failure: SyncError | None = None) -> None:
    """Measure one run of a phase, and log it if it failed; for work that has phases of its own inside."""
    outcome = "failed" if failure is not None else "done"
    s.telemetry.measure(TIMER_RUNS, timer=timer, phase=phase, outcome=outcome)
    if failure is not None:
        if not failure.code.endswith(_OUTAGES):
            s.telemetry.measure(FAILURES, code=failure.code)
        s.telemetry.event("timer.failed", logging.WARNING, timer=timer, phase=phase, code=failure.code)
