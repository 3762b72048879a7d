"""
Queue triggers: the listener of the storage extension, as the real host has it.

A message is received under a lease, its function runs while the lease is renewed, then it is deleted. After a failure
it becomes visible again, until it was delivered ``maxDequeueCount`` times and is moved to ``<queue>-poison``. A message
that cannot be decoded goes there without a run. A poison queue has none of its own: there a failed message stays
invisible until its lease ends, so that it cannot spin.

Leases are renewed between requests and a renewal is never cancelled: one that was cut off would leave an unknown pop
receipt, the delete would fail, and the message would run twice.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import random
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
)
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host.messages import TypedData
from local.host.settings import QueueSettings
from local.host.worker import Function, FunctionError, Invoker

logger = logging.getLogger(__name__)

POISON_SUFFIX = "-poison"

_SHORTEST_WAIT = 0.05
_QUIET_WAIT = 0.25
_LONGEST_WAIT = 1.0
"""
Seconds between polls of a queue: after a message, after a second without one, and after half a minute or so.

host.json may only shorten the last: a person waits for what the world on this machine does next. A poll takes 3 ms of
processor time, here and in the emulator, and several worlds may be idle at once.
"""

_BACKOFF, _SLOW_BACKOFF = 1.5, 1.03
"""Factors of the wait, below and above `_QUIET_WAIT`."""


REFUSED_FOR = 30.0
"""Seconds after which a host ends that its storage refuses; the real one takes 25 to 40."""


class StorageRefusedError(Exception):
    """Storage does not take this host: no connection, no token, or no role. The process ends."""


def _is_refusal(problem: AzureError) -> bool:
    """Return whether storage refused, rather than hung or failed: a time-out and a 5xx are waited for."""
    if isinstance(problem, ClientAuthenticationError):
        return True
    if isinstance(problem, HttpResponseError):
        return problem.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return isinstance(problem, ServiceRequestError) and not isinstance(problem, ServiceRequestTimeoutError)


class QueueListener:
    """
    Delivers the messages of one queue to one function.

    Parameters
    ----------
    lease
        Seconds that a received message stays invisible unless renewed. The real host has ten minutes, fixed.
    """

    def __init__(
        self, function: Function, worker: Invoker, service: QueueServiceClient, settings: QueueSettings, *, lease: float
    ) -> None:
        name = str(function.trigger["queueName"])
        self.function = function
        self._worker = worker
        self._settings = settings
        self._lease = lease
        self._queue = service.get_queue_client(name)
        self._poison = None if name.endswith(POISON_SUFFIX) else service.get_queue_client(name + POISON_SUFFIX)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._fewer = asyncio.Event()
        self._stopping = asyncio.Event()
        self._refused_since = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a message is in flight."""
        return bool(self._in_flight)

    def stop(self) -> None:
        """Receive no more; `run` returns once every message in flight is done."""
        self._stopping.set()
        self._fewer.set()

    async def run(self) -> None:
        """
        Receive and deliver until stopped, then finish what is in flight.

        Raises
        ------
        StorageRefusedError
            Storage has refused for `REFUSED_FOR` seconds.
        """
        wait = _SHORTEST_WAIT
        while not self._stopping.is_set():
            received = await self._receive()
            for message in received:
                self._start(message)
            if received:
                wait = _SHORTEST_WAIT
                await self._room()
            else:
                await self._idle(wait)
                wait = min(_longer(wait), self._settings.max_polling_interval)
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _receive(self) -> list[QueueMessage]:
        """Return up to a batch of messages, now leased; none when the queue is missing or does not answer."""
        size = self._settings.batch_size
        try:
            pages = self._queue.receive_messages(messages_per_page=size, visibility_timeout=int(self._lease)).by_page()
            received = [message async for message in await anext(pages)]
        except (StopAsyncIteration, ResourceNotFoundError):
            received = []
        except AzureError as problem:
            logger.warning("queue of %s: %s", self.function.name, type(problem).__name__)
            self._judge(problem)
            return []
        self._refused_since = 0.0
        return received

    def _judge(self, problem: AzureError) -> None:
        """Raise `StorageRefusedError` once storage has refused for too long; one that hangs is waited for."""
        if not _is_refusal(problem):
            return
        now = asyncio.get_running_loop().time()
        self._refused_since = self._refused_since or now
        if now - self._refused_since >= REFUSED_FOR:
            raise StorageRefusedError(f"storage refused for {REFUSED_FOR:g} s: {type(problem).__name__}")

    def _start(self, message: QueueMessage) -> None:
        delivery = _Delivery(self._queue, self._poison, message, lease=self._lease)
        task = asyncio.create_task(self._deliver(delivery))
        self._in_flight.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._fewer.set()
        if not task.cancelled() and (problem := task.exception()):
            logger.critical("%s: a defect of this host", self.function.name, exc_info=problem)

    async def _room(self) -> None:
        """Wait until few enough messages are in flight to receive more."""
        while len(self._in_flight) > self._settings.new_batch_threshold and not self._stopping.is_set():
            self._fewer.clear()
            await self._fewer.wait()

    async def _idle(self, wait: float) -> None:
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads polls, protects nothing
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait * jitter)

    async def _deliver(self, delivery: _Delivery) -> None:
        """Deliver one message until it is deleted, visible again, or poison."""
        try:
            await self._finish(delivery)
        except AzureError as problem:
            name = self.function.name
            logger.warning("%s: %s; the message comes back after its lease", name, type(problem).__name__)

    async def _finish(self, delivery: _Delivery) -> None:
        count, most = int(delivery.message.dequeue_count or 1), self._settings.max_dequeue_count
        body = self._decode(str(delivery.message.content))
        if body is None or (count > most and self._poison):
            logger.error("%s: a message cannot be decoded, or came too often", self.function.name)
            await delivery.give_up()
        elif await self._succeeds(delivery, body):
            await delivery.delete()
        elif count >= most:
            await delivery.give_up()
        elif self._poison:
            await delivery.release(self._settings.visibility_timeout)

    async def _succeeds(self, delivery: _Delivery, body: str) -> bool:
        """Run the function, renewing the lease at half time."""
        metadata = _metadata(delivery.message, body)
        running = asyncio.create_task(self._worker.invoke(self.function, TypedData(string=body), metadata))
        while not (await asyncio.wait({running}, timeout=self._lease / 2))[0]:
            with contextlib.suppress(AzureError):  # the next round tries again; at worst the message runs twice
                await delivery.renew()
        try:
            running.result()
        except FunctionError as failure:
            count = delivery.message.dequeue_count
            logger.error("%s failed, delivery %s: %s", self.function.name, count, failure)  # noqa: TRY400 - its trace
            return False
        return True

    def _decode(self, content: str) -> str | None:
        """Return the body; None if it does not have the encoding of host.json."""
        if not self._settings.base64:
            return content
        try:
            return base64.b64decode(content, validate=True).decode()
        except ValueError:
            return None


def _longer(wait: float) -> float:
    """Return the wait that follows one after which the queue was still empty; both in seconds."""
    if wait < _QUIET_WAIT:
        return min(wait * _BACKOFF, _QUIET_WAIT)
    return min(wait * _SLOW_BACKOFF, _LONGEST_WAIT)


class _Delivery:
    """One received message and the receipt that owns it."""

    def __init__(self, queue: QueueClient, poison: QueueClient | None, message: QueueMessage, *, lease: float) -> None:
        self.message = message
        self._queue = queue
        self._poison = poison
        self._lease = lease
        self._receipt = message.pop_receipt

    async def renew(self) -> None:
        await self.release(self._lease)

    async def release(self, delay: float) -> None:
        """Make the message visible again after ``delay`` seconds."""
        answer = await self._queue.update_message(self.message.id, self._receipt, visibility_timeout=int(delay))
        self._receipt = answer.pop_receipt

    async def delete(self) -> None:
        await self._queue.delete_message(self.message.id, self._receipt)

    async def give_up(self) -> None:
        """Move the message to the poison queue, made if it is missing; without one leave it to its lease."""
        if self._poison is None:
            return
        try:
            await self._poison.send_message(self.message.content)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):
                await self._poison.create_queue()
            await self._poison.send_message(self.message.content)
        await self.delete()


def _metadata(message: QueueMessage, body: str) -> Mapping[str, TypedData]:
    """Return the metadata of a message as the real host sends them; numbers and times are JSON."""
    return {
        "QueueTrigger": TypedData(string=body),
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "InsertionTime": _time(message.inserted_on),
        "ExpirationTime": _time(message.expires_on),
        "NextVisibleTime": _time(message.next_visible_on),
    }


def _time(when: datetime | None) -> TypedData:
    return TypedData(json=json.dumps(when.isoformat() if when else None))
