"""
Ends a program when the process that started it is gone: ``leash.cjs`` for everything that is not Node.

    python -m local.leash -m MODULE ARGUMENT...    run a Python module, in this very process
    python -m local.leash COMMAND ARGUMENT...      run a command beside it, and end with its exit status

The starter holds the other end of our standard input and never writes to it, so its end is the starter's end, also
after SIGKILL. Then the program gets SIGTERM and, if it does not end, is killed.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

GRACE = 5.0
"""Seconds that a program has to end by itself once its starter is gone."""


def main(arguments: list[str]) -> int:
    """Run what the arguments say; return the exit status."""
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        return _run_module(arguments[1], arguments[2:])
    if arguments:
        return _run_command(arguments)
    print(__doc__, file=sys.stderr)
    return 2


def _run_module(module: str, arguments: list[str]) -> int:
    _at_end_of_input(lambda: _end(os.getpid()))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _run_command(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _at_end_of_input(lambda: _end(process.pid))
    return process.wait()


def _at_end_of_input(act: Callable[[], None]) -> None:
    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        act()

    threading.Thread(target=watch, daemon=True, name="leash").start()


def _end(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGTERM)
        time.sleep(GRACE)
        os.kill(process_id, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
