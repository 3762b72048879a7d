"""
Compares the local clock with the storage's; if they differ, this process uses the storage's time.

The storage's time comes with each of its answers (`sync.adapters.azure.transport`). `sync.monitoring.verdict` reports
the difference as a reason, `sync.bootstrap.connections` as a failed check.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sync.ports import Clock, ClockOffset

WRONG_SECONDS = 60.0
"""Seconds from which on a difference is reported: less affects no limit of an alert."""

CORRECTED_SECONDS = 5.0
"""
Seconds from which on a process uses the storage's time.

A lease lasts 30: those of a process that is behind by as much have expired when it takes them. An answer states whole
seconds.
"""

CLOCK_HINT = "Synchronise the clock of this machine, for example with chrony or systemd-timesyncd."


class StorageClock(Clock):
    """
    The time of this machine, or of the storage once this machine's clock was wrong.

    Before the storage has answered twice it is this machine's: `sync.bootstrap.start` returns after two answers.
    """

    def __init__(self, clock: Clock, offset: ClockOffset) -> None:
        self._clock, self._offset = clock, offset
        self._was_wrong = False

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ahead = self._offset.seconds_ahead or 0.0
        # Once corrected, always corrected: at the limit the time would jump with each answer.
        self._was_wrong = self._was_wrong or abs(ahead) >= CORRECTED_SECONDS
        return self._clock.now() - timedelta(seconds=ahead if self._was_wrong else 0.0)

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for that time."""
        await self._clock.sleep(seconds)


def clock_problem(offset: ClockOffset) -> str:
    """Return one sentence on how wrong this machine's clock is; empty if it is right, or its offset unknown. Pure."""
    if offset.seconds_ahead is None:
        return ""
    ahead = offset.seconds_ahead + offset.seconds_set
    if abs(ahead) < WRONG_SECONDS:
        return ""
    side = "ahead of" if ahead > 0 else "behind"
    differs = f"The clock of this process is {abs(ahead):,.0f} s {side} the storage's, whose time it uses instead"
    return f"{differs}: sign-in may fail, and its logs show wrong times."
