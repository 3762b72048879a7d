"""
Keeps the functions host running: started, watched, and started again when it dies, always on one port.

A worker of the real platform may be killed at any time and is replaced; so is this one, after SIGKILL as well, so that
crashes can be tried. Pauses between starts grow while it keeps dying young. The first start is the exception: a host
that cannot start at all is a mistake to be told, not to be repeated.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from local.processes import STOP_SECONDS, Child, StartError, running

_READY = re.compile(r"listening on (http://\S+?:(\d+))/?\s*$")

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
"""Seconds before a start that follows a death."""

_YOUNG = 10.0
"""Seconds; who lived longer gets the shortest pause again."""

_POLL_SECONDS = 0.05
"""Seconds between two looks whether it still lives."""


class Supervised:
    """
    The host under supervision.

    Parameters
    ----------
    command
        Makes the command for a port; with 0 it takes a free one, which it keeps from then on. It must print
        ``listening on http://HOST:PORT`` once it is ready.
    port
        0, or the port to use.
    env
        Added to our environment.
    log
        Gets each line the host prints, and what happens to it; from threads of our own.
    seconds
        How long a start may take.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        port: int,
        env: Mapping[str, str],
        log: Callable[[str], object],
        seconds: float = 60.0,
    ) -> None:
        self.url = ""
        self.starts = 0
        self._command, self._port, self._env, self._log = command, port, dict(env), log
        self._seconds = seconds
        self._child: Child[tuple[str, int]] | None = None
        self._refusal: StartError | None = None
        self._settled = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, daemon=True, name="supervision")

    @property
    def pid(self) -> int:
        """Process id of the present host, or of the last one."""
        return self._child.pid if self._child else 0

    def __enter__(self) -> Self:
        """
        Start the host and wait until it is ready.

        Raises
        ------
        StartError
            It did not start.
        """
        self._thread.start()
        self._settled.wait()
        if self._refusal:
            raise self._refusal
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the host and start it no more."""
        self._stopping.set()
        self._thread.join(2 * STOP_SECONDS)

    def _keep_running(self) -> None:
        pause = _SHORTEST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._run_once()
            except StartError as problem:
                if not self.starts:
                    self._refusal = problem
                    self._settled.set()
                    return
                self._log(f"{problem}\n")
            pause = _SHORTEST_PAUSE if time.monotonic() - began > _YOUNG else min(2 * pause, _LONGEST_PAUSE)
            self._stopping.wait(pause)

    def _run_once(self) -> None:
        command = self._command(self._port)
        starting = running(
            command,
            name="the functions host",
            ready=_address,
            on_line=self._log,
            env=self._env,
            seconds=self._seconds,
        )
        with starting as child:
            self._child = child
            self.starts += 1
            self.url, self._port = child.announced
            if self.starts > 1:
                self._log(f"the functions host is back on port {self._port}, process {child.pid}\n")
            self._settled.set()
            while not (child.ended or self._stopping.wait(_POLL_SECONDS)):
                pass
            if child.ended and not self._stopping.is_set():
                self._log(f"the functions host ended ({child.process.returncode}); starting it again\n")


def _address(line: str) -> tuple[str, int] | None:
    match = _READY.search(line)
    return (match[1], int(match[2])) if match else None
