"""
The jobs of a timer function: each starts when it is due, and none waits for another.

    tick  ->  begin the jobs that are due  ->  while one runs, begin what becomes due  ->  all have ended

On plans where each function has its own instances, each further timer costs another instance (ADR 0049). As with
separate timers, a slow job must not keep the others from running: a tick lasts until its last job has ended and
meanwhile begins other jobs, unless too little time is left for them to end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace

from sync.errors import SyncError
from sync.monitoring.timers import Phase, run_phases
from sync.ports import Core

LONGEST_TICK = 540.0
"""Seconds that a tick and all its jobs may take; the host ends a function after ten minutes (host.json)."""

SHORTEST = 60.0
"""Minimum seconds that a job needs: a job that becomes due later in a tick begins in the next tick."""

LOOK = 1.0
"""Seconds between two checks for due jobs while a job runs."""

EARLY = 3.0
"""Seconds, but at most a tenth of its period, by which a job may begin early: timers fire some milliseconds early, and
the previous run began late by the start-up time of its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    Periodic work with phases and a budget, which would otherwise have its own timer.

    ``timer`` names the job in metrics, logs and ``alert.timer``; ``every`` is the time between two starts, and
    ``least`` the time that must be left for a start, both in seconds.
    """

    timer: str
    every: float
    phases: Sequence[Phase]
    least: float = SHORTEST


async def run_due(
    jobs: Sequence[Job],
    begun: MutableMapping[str, float],
    s: Core,
    *,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """
    Run every job that is due, and jobs that become due while one of them runs.

    Idempotent if the phases are. No job runs twice at once. When the process is stopped, running jobs are cancelled.

    Parameters
    ----------
    begun
        When this process last began each job, by ``now``; a new process begins all of them. Updated by this function.
    now
        Seconds of a clock that never goes back.

    Raises
    ------
    SyncError
        The first failure of a phase, after all have run.
    """
    started, failures = now(), list[SyncError]()
    running: dict[asyncio.Task[SyncError | None], str] = {}
    try:
        while True:
            left = LONGEST_TICK - (now() - started)
            for job in jobs:
                if job.timer not in running.values() and job.least <= left and _is_due(job, begun, now()):
                    begun[job.timer] = now()
                    running[asyncio.create_task(_run(job, left, s))] = job.timer
            if not running:
                break
            ended, _ = await asyncio.wait(running, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task in ended]:  # the failed job that began first represents all
                del running[task]
                if (failure := task.result()) is not None:
                    failures.append(failure)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if failures:
        raise failures[0]


def _is_due(job: Job, begun: MutableMapping[str, float], now: float) -> bool:
    return job.timer not in begun or now - begun[job.timer] >= job.every - min(EARLY, job.every / 10)


async def _run(job: Job, left: float, s: Core) -> SyncError | None:
    """Run one job within the rest of the tick; an exception of a phase does not prevent other jobs from running."""
    share = left / len(job.phases)
    try:
        await run_phases(job.timer, [replace(phase, seconds=min(phase.seconds, share)) for phase in job.phases], s)
    except SyncError as failure:
        return failure
    return None
