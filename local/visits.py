"""
A visit to a world that is made for it: what ``python -m local up`` and ``demo`` do once all parts run.

Apart from the commands: a world takes two seconds of processor time to load, which the others need not wait for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from local.settings_file import settings_file
from local.world import Plan, World, world

Visit = Callable[[World, Path], Coroutine[Any, Any, int | None]]
"""What is done in a world, given its file of settings; returns the exit status, or None to stay."""

_INTERRUPTED = 130


async def announce(running: World, _: Path) -> int | None:
    """Print the addresses as one JSON line, and stay."""
    print(running.addresses.line(), flush=True)
    return None


async def visiting(plan: Plan, log: Callable[[str], object], visit: Visit) -> int:
    """Run the world around a visit to it, and on to a signal if the visit wants to stay; return the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # While servers start there is nothing to stop in good order; they end with us.
        loop.add_signal_handler(number, os._exit, _INTERRUPTED)
    async with world(plan, log) as running:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        with settings_file(running.addresses) as settings:
            return await _stay(running, settings, visit, stop)


async def _stay(running: World, settings: Path, visit: Visit, stop: asyncio.Event) -> int:
    visiting = asyncio.create_task(visit(running, settings))
    stopped = asyncio.create_task(stop.wait())
    died = asyncio.create_task(running.until_a_part_ends())
    try:
        await asyncio.wait({visiting, stopped, died}, return_when=asyncio.FIRST_COMPLETED)
        if visiting.done():
            status = visiting.result()
            if status is not None:
                return status
            await asyncio.wait({stopped, died}, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            print(f"{died.result()} ended unexpectedly", file=sys.stderr)
            return 1
        return 0 if visiting.done() else _INTERRUPTED
    finally:
        for task in (visiting, stopped, died):
            task.cancel()
