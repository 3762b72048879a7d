"""
Child processes that are ready before they are used, never block on their own output, and never outlive us.

A command goes in; out comes a running child once one of its lines said that it is ready. Every later line goes to a
callback, or nowhere, but is always read: a full pipe would stop the child. The child's standard input is a pipe that
we hold and never write to. Its end tells the child that we are gone, also after SIGKILL; `leash.cjs` watches it in Node
programs, `local.leash` in everything else. Children get a process group of their own, so that Ctrl-C reaches us alone
and we stop them in our order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, TypeVar

T = TypeVar("T")

STOP_SECONDS = 10.0
"""A child that has not ended this long after SIGTERM is killed."""

PORT_REFUSALS = {
    errno.EADDRINUSE: "the port is taken",
    errno.EACCES: "the system lets only root take this port",
}
"""What a refusal to listen on a port of this machine means, by its number."""


class StartError(RuntimeError):
    """A part of the local world did not start; the text names the part and its last output."""


@dataclass(frozen=True, slots=True)
class Child(Generic[T]):
    """A running child process and its ready line."""

    name: str
    process: subprocess.Popen[str]
    announced: T

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None


class _Output:
    """Reads a child's output to its end, in a thread of its own."""

    def __init__(
        self, stream: IO[str], ready: Callable[[str], object], on_line: Callable[[str], object] | None
    ) -> None:
        self.announced: object = None
        self.settled = threading.Event()
        self.tail: deque[str] = deque(maxlen=40)
        self._ready, self._on_line = ready, on_line
        self._thread = threading.Thread(target=self._pump, args=(stream,), daemon=True, name="child-output")
        self._thread.start()

    def _pump(self, stream: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed while reading: the child is being stopped
            for line in stream:
                self._take(line)
        self.settled.set()

    def _take(self, line: str) -> None:
        if self.announced is None:
            self.tail.append(line)
            self.announced = self._ready(line)
            if self.announced is not None:
                self.settled.set()
        elif self._on_line is not None:
            self._on_line(line)

    def join(self) -> None:
        """Wait until the last line was handed on."""
        self._thread.join(STOP_SECONDS)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    name: str,
    ready: Callable[[str], T | None],
    on_line: Callable[[str], object] | None = None,
    env: Mapping[str, str] | None = None,
    errors_too: bool = True,
    seconds: float = 60.0,
) -> Iterator[Child[T]]:
    """
    Run a command for the length of a ``with`` block.

    Parameters
    ----------
    command
        Program and arguments; it must end by itself when its standard input ends (see `local.leash`).
    name
        For error texts.
    ready
        Called with each line until it returns something else than None; that becomes `Child.announced`.
    on_line
        Called with each later line, from a thread of our own; must not block for long.
    env
        Added to our environment.
    errors_too
        Whether standard error is read with the output; otherwise it goes where ours goes.
    seconds
        How long the ready line may take.

    Raises
    ------
    StartError
        The command is missing, ended early or was not ready in time.
    """
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors_too else None,
            env={**os.environ, **(env or {})},
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as problem:
        raise StartError(f"{name} could not be started: {problem}") from problem
    assert process.stdout is not None
    output = _Output(process.stdout, ready, on_line)
    try:
        yield Child(name, process, _await(output, name, seconds))  # type: ignore[arg-type]  # ready's own type
    finally:
        stop(process)
        output.join()
        process.stdout.close()


def _await(output: _Output, name: str, seconds: float) -> object:
    ended = output.settled.wait(seconds)
    if output.announced is None:
        fate = "ended" if ended else f"was not ready after {seconds:.0f} s"
        raise StartError(f"{name} {fate}; it printed:\n{''.join(output.tail) or '(nothing)'}")
    return output.announced


def stop(process: subprocess.Popen[str]) -> None:
    """End a child and its process group: SIGTERM, then SIGKILL; idempotent, also for one that has ended."""
    signal_group(process.pid, signal.SIGTERM)
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a port of this machine that is free now, for a program that must be given one; another may take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal a process group of ours; one that is gone is fine (macOS says so with EPERM for zombies)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
