"""Standing watch from outside the function app, for the commands that do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from sync.errors import SyncError
from sync.monitoring.alerts.watch import watch
from sync.ports import Notice

if TYPE_CHECKING:
    from sync.bootstrap import Running


def stop_by_signal() -> asyncio.Event:
    """
    Return what Ctrl-C or SIGTERM sets, so that work under way is ended in good order; a second one ends it at once.

    Needs a running loop in the main thread. It asks the interpreter, not the loop, which on Windows takes no signals.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        loop.call_soon_threadsafe(stop.set)

    for number in before:
        signal.signal(number, ask)
    return stop


async def rounds(every: float, stop: asyncio.Event) -> AsyncIterator[None]:
    """Iterate at the start and then after each interval, in seconds, until ``stop`` is set; a round is finished."""
    while not stop.is_set():
        yield
        try:
            await asyncio.wait_for(stop.wait(), every)
        except TimeoutError:
            continue


async def stand_watch(
    running: Running,
    *,
    every: float,
    stop: asyncio.Event,
    tell: Callable[[Sequence[Notice]], object],
    warn: Callable[[SyncError], object],
) -> None:
    """
    Watch until ``stop`` is set: once at the start, then at each interval. A round under way is finished.

    A failure of storage does not end the watch: it is reported, and the next round tries again.

    Parameters
    ----------
    tell
        Gets what a round raised or cleared; an empty sequence when nothing, or when another watcher held the lease.
    warn
        Gets what kept a round from being done.
    """
    async for _ in rounds(every, stop):
        try:
            tell(await watch_once(running))
        except SyncError as failure:
            warn(failure)


async def watch_once(running: Running) -> Sequence[Notice]:
    """
    Do one round; return what it raised or cleared. Idempotent, also with several watchers at once.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    return await watch(
        running.services,
        recorder=running.recorder,
        channels=running.channels,
        listing=running.listing,
        outside=True,
    )
