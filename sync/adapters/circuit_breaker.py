"""
Stops calling a service that is down: after several consecutive failures, calls fail at once, for a growing time.

Each process has one breaker per service. When its pause ends, one caller may try; success closes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


class CircuitBreaker:
    """
    Counts failures of one service.

    Parameters
    ----------
    now
        Seconds on a monotonic clock; tests turn it by hand.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._open_until = 0.0
        self._probing = False

    def remaining(self) -> float:
        """
        Return the seconds until the next call may try; 0 if it may try now.

        The caller that gets 0 while the breaker is open is the probe; all others wait for another pause.
        """
        if self._failures < FAILURES_TO_OPEN:
            return 0.0
        seconds = self._open_until - self._now()
        if seconds <= 0:
            self._open_until = self._now() + self._pause
            self._probing = True
            return 0.0
        return seconds

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._probing = False

    def failed(self, retry_after: float | None = None) -> None:
        """
        Count a failure; the fifth consecutive one opens the breaker, at least for the time that the service asked for.

        Only the probe's failure makes the next pause longer: calls that were in flight when it opened fail together,
        and prove no more than the first of them.
        """
        self._failures += 1
        if self._failures < FAILURES_TO_OPEN:
            return
        requested = min(retry_after or 0.0, LONGEST_PAUSE)
        if self._probing or self._failures == FAILURES_TO_OPEN:
            self._open_until = self._now() + max(self._pause, requested)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._probing = False
        else:
            self._open_until = max(self._open_until, self._now() + requested)
