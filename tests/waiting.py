"""How tests wait: for a condition, never for a time, and with patience on a machine where much else runs."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 4.0
"""Times a stated limit that a condition is awaited; a test that passes pays nothing for it."""


SLOWER, SLOWEST = 1.2, 4.0
"""Factors of the pause: from one try to the next, and of the longest to the first, for each try costs the world."""


def deadline(seconds: float) -> float:
    """Return the monotonic time at which a wait of `seconds`, as stated for an idle machine, is given up."""
    return time.monotonic() + PATIENCE * seconds


def until(
    true: Callable[[], Any], what: str = "what the test waits for", seconds: float = 15.0, every: float = 0.05
) -> Any:
    """Wait until something is true; return it. The condition is tried after `every` seconds, later less often."""
    end, pause = deadline(seconds), every
    while not (value := true()):
        assert time.monotonic() < end, f"not after {PATIENCE * seconds:.0f} s: {what}"
        time.sleep(pause)
        pause = longer(pause, every)
    return value


def longer(pause: float, first: float) -> float:
    """Return the pause that follows one after which nothing had changed."""
    return min(pause * SLOWER, first * SLOWEST)
