"""The services of this process, built once."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import time

from sync.bootstrap.wiring import Running, connect
from sync.config import Settings
from sync.errors import ConfigError, StoreUnavailable
from sync.telemetry.loop_watch import LoopWatch

ENSURED_AGAIN_AFTER = 5.0
"""Seconds after which creating missing tables and queues is tried again."""

YOUNG_OBJECTS = 50_000
"""Objects above which Python searches for cycles. The messages in hand hold some ten thousand, so with its default of
two thousand every burst is searched again and again, for a few objects that are in a cycle."""

_background: set[asyncio.Task[None]] = set()
"""Tasks of this process that never end; the event loop itself holds only weak references to them."""

logger = logging.getLogger(__name__)


def _spare_the_collector() -> None:
    gc.freeze()  # what is loaded by now stays: looking through it took 130 ms, in the middle of any message
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


class _Process:
    """The services that this process has built, and whether its tables and queues exist."""

    def __init__(self) -> None:
        self.built: Running | None = None
        self.failure: StoreUnavailable | None = None
        self.is_ensured = False
        self._attempt: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def build(self) -> Running:
        """Return the services, not yet connected. Without an await in between, so they are built once."""
        if self.built is None:
            try:
                self.built = connect(Settings.load())
            except ConfigError as problem:
                logger.critical("%s %s: no message is processed or lost until it is corrected", problem.code, problem)
                raise
            importlib.import_module("sync.dicom.header")  # the first message needs it; loaded later it is not frozen
            _spare_the_collector()
            _background.add(asyncio.create_task(_recording(self.built)))
            LoopWatch(self.built.services.telemetry).start()
        return self.built

    async def ensure(self, built: Running) -> None:
        """Create missing tables and queues, once; concurrent calls share an attempt; a failed one is repeated later."""
        if self.is_ensured or (self._attempt is None and time.monotonic() < self._not_before):
            return
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._try(built))
        await asyncio.shield(self._attempt)

    async def _try(self, built: Running) -> None:
        try:
            await built.ensure()
        except StoreUnavailable as outage:
            self.failure = outage
            self._not_before = time.monotonic() + ENSURED_AGAIN_AFTER
            logger.warning("start.unfinished code=%s: tables and queues are tried again", outage.code)
        else:
            self.failure, self.is_ensured = None, True
        finally:
            self._attempt = None


async def _recording(running: Running) -> None:
    await running.recorder.run(running.services.settings.metrics_interval_seconds)


_process = _Process()


async def running() -> Running:
    """
    Return the services of this process, building them on the first call.

    Missing tables and queues are created. An outage does not prevent the start: code that needs a table meets the
    outage there, where it is handled, and the next calls try to create the tables again.

    Raises
    ------
    ConfigError
        A setting is missing or wrong; logged too, as critical.
    """
    built = _process.build()
    await _process.ensure(built)
    return built


async def ready() -> Running:
    """
    Return the services once all tables and queues are known to be there.

    Raises
    ------
    ConfigError
        As `running`.
    StoreUnavailable
        The state account did not answer when they were to be created.
    """
    process = await running()
    if not _process.is_ensured:
        raise _process.failure or StoreUnavailable("tables and queues are not created yet")
    return process


def built() -> Running | None:
    """Return the services if they are built; None before that, or when a setting is wrong."""
    return _process.built
