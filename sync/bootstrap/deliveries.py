"""
Protects messages from our own outages: a start that cannot finish, or tables that do not answer.

    message  ->  start, handle  ->  done
                 state account does not answer, or a setting is wrong  ->  the same message again, delayed  ->  done

When a queue function raises, its message has used up a delivery, and after ``maxDequeueCount`` deliveries (host.json)
the host moves it to the poison queue; a minute-long outage did that to eight of ten messages. So the message is sent
again, visible after a delay, and this delivery ends without a failure. The function raises only when the queue does not
accept messages either; then the host could not deliver any. A crash between sending and ending leaves the message
twice, which is harmless: every step is idempotent.

Poison queues are treated alike: a message on which their function gives up would end where no code of ours reads it.

Source: Azure Functions, "Azure Queue storage trigger" (poison messages, ``maxDequeueCount``).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from sync.bootstrap import process
from sync.bootstrap.clients import Clients
from sync.bootstrap.wiring import Running
from sync.config import state_settings
from sync.errors import ConfigError, DeliveryTooLong, StoreUnavailable, SyncError
from sync.events import redelivered_message
from sync.model import Delivered
from sync.telemetry.instruments import DELIVERIES
from sync.telemetry.telemetry import Telemetry

SHORTEST_DELAY, LONGEST_DELAY = 20.0, 40.0
"""Seconds until the message comes back; spread, so that messages that failed together do not return together."""

logger = logging.getLogger(__name__)

PutBack = Callable[[str, str, float], Awaitable[None]]
"""Sends a text to one of our queues, visible after that many seconds; `StoreUnavailable` if refused."""


async def take(queue: str, text: str, handle: Callable[[Running], Awaitable[None]]) -> None:
    """
    Start if necessary and handle one message; put it back when the state account or a setting prevents that.

    Idempotent if ``handle`` is.

    Parameters
    ----------
    queue
        Queue of the message.
    text
        The message, decoded.

    Raises
    ------
    ConfigError, StoreUnavailable
        As raised by the start or the handling; the message could not be put back, so let the host deliver it again.
    SyncError
        Every other failure of the handling: it uses up a delivery.
    """
    outcome = Delivered.FAILED
    try:
        await handle(await process.running())
        outcome = Delivered.DONE
    except (ConfigError, StoreUnavailable) as outage:
        if not await _put_back(queue, text, outage):
            raise
        outcome = Delivered.PUT_BACK
    except DeliveryTooLong:
        outcome = Delivered.TOO_LONG
        raise
    finally:
        if (built := process.built()) is not None:
            built.services.telemetry.measure(DELIVERIES, queue=queue, outcome=outcome.value)


async def _put_back(queue: str, text: str, outage: ConfigError | StoreUnavailable) -> bool:
    delay = random.uniform(SHORTEST_DELAY, LONGEST_DELAY)  # noqa: S311 -- spreads load, guards nothing
    try:
        await _sender()(queue, redelivered_message(text), delay)
    except (ConfigError, SyncError) as failure:
        logger.warning("message.not_put_back queue=%s code=%s because=%s", queue, outage.code, failure.code)
        return False
    logger.warning("message.put_back queue=%s code=%s seconds=%.0f", queue, outage.code, delay)
    return True


def _sender() -> PutBack:
    """Return the sender, even if settings are wrong: the host has read the queue, so its account is right."""
    if (built := process.built()) is not None:
        return built.put_back
    return _send_alone


async def _send_alone(queue: str, text: str, delay: float) -> None:
    clients = Clients(state_settings(), Telemetry())
    try:
        await clients.queues().put_back(queue, text, delay)
    finally:
        await clients.close()
