"""Stands watch from outside the function app, for the commands that need it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sync.errors import SyncError
from sync.monitoring.alerts.evaluation import CURSOR
from sync.monitoring.alerts.watch import watch
from sync.monitoring.clock import StorageClock
from sync.ports import Notice, Services

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


async def by_storage_clock(s: Services) -> Services:
    """
    Return the services with the storage's time, so that ages are right where this machine's clock is wrong.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    await s.cursors.read(CURSOR)  # its answer tells the time
    return replace(s, clock=StorageClock(s.clock, s.caches.clock_offset))


async def watch_once(running: Running) -> Sequence[Notice]:
    """
    Do one round; return the alerts raised or cleared. Idempotent, even with several watchers.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    return await watch(
        await by_storage_clock(running.services),
        recorder=running.recorder,
        channels=running.channels,
        listing=running.listing,
        outside=True,
    )
