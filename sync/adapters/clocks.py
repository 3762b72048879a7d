"""
The system's clock, without its jumps.

A machine's clock is set while processes run: by an operator, by a time service that was away, after a pause of the
virtual machine. Marks, leases and delays that were written in the minute after would be wrong by as much. So a process
reads the clock once, at its start, and counts from there; the storage's time corrects what was wrong at the start, see
`sync.monitoring.clock`.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from sync.ports import Clock


def _elapsed() -> float:
    """Return the seconds since some time in the past, those of a suspended machine included where it counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_ELAPSED_BEFORE, _STARTED = _elapsed(), datetime.now(UTC)


def steady_now() -> datetime:
    """Return the time by the clock at this process's start and the time elapsed since; aware, UTC."""
    return _STARTED + timedelta(seconds=_elapsed() - _ELAPSED_BEFORE)


def seconds_set() -> float:
    """Return by how many seconds the machine's clock was set since this process's start; negative if set back."""
    return (datetime.now(UTC) - steady_now()).total_seconds()


class SystemClock(Clock):
    """The computer's clock as it was at the process's start, and the time elapsed since."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return steady_now()

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for that time."""
        await asyncio.sleep(seconds)
