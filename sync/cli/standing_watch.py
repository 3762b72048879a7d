"""Stands watch from outside the function app, for the commands that need it."""

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
    Return an event that Ctrl-C or SIGTERM sets, so that work can end in order; a second signal ends it at once.

    Needs a running loop in the main thread. Uses the interpreter's handlers, because on Windows the loop has none.
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
    Watch until ``stop`` is set: once at the start, then at each interval. A round that has begun is finished.

    A failure of storage does not end the watch: it is reported, and the next round tries again.

    Parameters
    ----------
    tell
        Receives the alerts that a round raised or cleared; an empty sequence for none, or if another watcher held the
        lease.
    warn
        Receives the failure that ended a round.
    """
    async for _ in rounds(every, stop):
        try:
            tell(await watch_once(running))
        except SyncError as failure:
            warn(failure)


async def watch_once(running: Running) -> Sequence[Notice]:
    """
    Do one round; return the alerts raised or cleared. Idempotent, even with several watchers.

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
