"""
A thread that notices when the event loop is blocked, and names the function that blocks it.

    every second: a call into the loop  ->  it is made at once  ->  nothing
                                        ->  not within five seconds ->  a log line with the function
                                        ->  made at last            ->  metric dicom_sync.loop.blocked

All messages, timers and requests of a process share one loop. A function that computes or waits without yielding blocks
all of them, and no budget can cut it off, because the loop itself enforces budgets. Only the names of a function and of
its module are logged, never a value.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from types import FrameType

from sync.telemetry.instruments import LOOP_BLOCKED
from sync.telemetry.telemetry import Telemetry

EVERY = 1.0
"""Seconds between two calls into the loop."""

BLOCKED = 5.0
"""Seconds that the loop may take to make a call; the imports of a cold start on a busy machine take less."""

_OURS = ("sync.", "insights.", "function_app")
"""Modules whose functions are named; if none of them is on the stack, the innermost function of any module is."""

_UNKNOWN = "other"


class LoopWatch:
    """
    Watches the event loop in which it is created, from its own daemon thread, until it is stopped.

    Parameters
    ----------
    every, blocked
        As `EVERY` and `BLOCKED`; tests use shorter times.
    """

    def __init__(self, telemetry: Telemetry, *, every: float = EVERY, blocked: float = BLOCKED) -> None:
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._every, self._blocked = every, blocked
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; idempotent."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._every):
            made = threading.Event()
            try:
                self._loop.call_soon_threadsafe(made.set)
            except RuntimeError:
                return  # the loop is closed
            if not made.wait(self._blocked):
                self._report(made)

    def _report(self, made: threading.Event) -> None:
        began = time.monotonic() - self._blocked
        function = function_in(sys._current_frames().get(self._loop_thread))  # noqa: SLF001 -- the documented way
        # Logged now: if the loop never continues, there is no later chance.
        self._telemetry.event("loop.blocked", logging.WARNING, function=function, seconds=self._blocked)
        while not made.wait(self._every):
            if self._stopped.is_set() or self._loop.is_closed():
                return
        seconds = time.monotonic() - began
        # Measured in the loop: all measurements belong to its thread.
        self._loop.call_soon_threadsafe(lambda: self._telemetry.measure(LOOP_BLOCKED, seconds, function=function))


def function_in(frame: FrameType | None) -> str:
    """Return module and name of our innermost function on a stack, else of the innermost one."""
    innermost = _UNKNOWN if frame is None else _name(frame)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_OURS):
            return _name(frame)
        frame = frame.f_back
    return innermost


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', _UNKNOWN)}.{frame.f_code.co_name}".strip("<>").lower()
