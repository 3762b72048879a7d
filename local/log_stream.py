"""
A log stream that never makes its writers wait.

One thread writes the lines of all parts to one file descriptor. When nothing reads the other end (a script that
pipes our standard error and forgets it), lines are dropped, and counted, instead of stopping the functions host, whose
output would no longer be read.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading

_KEPT = 10_000
"""Lines that may wait to be written."""


class LogStream:
    """
    A text stream for loggers and child output; safe in several threads.

    Parameters
    ----------
    descriptor
        Where the lines go, such as 2 for standard error.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(_KEPT)
        threading.Thread(target=self._write_all, daemon=True, name="log-stream").start()

    def write(self, text: str) -> int:
        """Take some text, at once."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: writing continues by itself."""

    def _write_all(self) -> None:
        while True:
            data = self._lines.get().encode(errors="replace")
            with contextlib.suppress(OSError):  # the other end is closed
                while data:
                    data = data[os.write(self._descriptor, data) :]
