"""
The jobs of a timer function: each starts when it is due, and none waits for another.

    tick  ->  begin the jobs that are due  ->  while one runs, begin what becomes due  ->  all have ended

Where each function has instances of its own, a timer more is an instance more (ADR 0049). A slow job must not keep the
others from running, as it does not where each has a timer: a tick lasts until its last job has ended, and goes on to
begin the others meanwhile, until so little time is left that one begun now could not end.
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
"""Seconds that a tick and all that it begins may take; the host ends a function after ten minutes (host.json)."""

SHORTEST = 60.0
"""Seconds that a job has at least: one that is due later in a tick begins in the next."""

LOOK = 1.0
"""Seconds between two looks for what is due, while something runs."""

EARLY = 3.0
"""Seconds, and a tenth of its period at most, by which a job may begin early: timers fire some milliseconds early, and
what a tick began was late by what its process took to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    The work that a timer of its own would do.

    ``timer`` names it in metrics, logs and ``alert.timer``; ``every`` is the time between two beginnings, and ``least``
    the time that it needs at least to be begun, both in seconds.
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
    Run every job that is due, and what becomes due while one of them runs.

    Idempotent if the phases are. No job runs twice at once. A process that is being stopped cancels what runs.

    Parameters
    ----------
    begun
        When this process last began each job, by ``now``; a new process begins all of them. Changed here.
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
            for task in [task for task in running if task in ended]:  # the first begun that failed stands for all
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
    """Run one job within what is left of the tick; what a phase raises keeps no other job from running."""
    share = left / len(job.phases)
    try:
        await run_phases(job.timer, [replace(phase, seconds=min(phase.seconds, share)) for phase in job.phases], s)
    except SyncError as failure:
        return failure
    return None
