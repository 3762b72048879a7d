"""The services of this process, built once."""

from __future__ import annotations

import asyncio
import gc
import logging

from sync.bootstrap.wiring import Running, start
from sync.config import Settings
from sync.errors import ConfigError

_running: asyncio.Task[Running] | None = None
_background: set[asyncio.Task[None]] = set()
"""Tasks of this process that never end; the loop itself would not keep them."""

logger = logging.getLogger(__name__)


async def running() -> Running:
    """
    Return the services of this process, building them on the first call.

    Concurrent first calls share one start; a failed start is tried again by the next call.

    Raises
    ------
    ConfigError
        A setting is missing or wrong; logged too, as critical.
    StoreUnavailable
        The state account did not answer.
    """
    global _running  # noqa: PLW0603 -- one per process is the point
    if _running is None or (_running.done() and (_running.cancelled() or _running.exception() is not None)):
        _running = asyncio.create_task(_start())
    return await asyncio.shield(_running)


async def _start() -> Running:
    try:
        built = await start(Settings.load())
    except ConfigError as problem:
        logger.critical("%s %s: nothing is synced and no message is lost until it is mended", problem.code, problem)
        raise
    gc.freeze()  # what is loaded by now stays: looking through it for garbage took 130 ms, in the middle of any message
    _background.add(asyncio.create_task(built.recorder.run(built.services.settings.metrics_interval_seconds)))
    return built
