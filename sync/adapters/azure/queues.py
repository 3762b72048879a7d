"""
Our queues in Azure Queue Storage (Azurite locally).

Messages are base64, as Event Grid and the Functions host expect, and never expire. Source: Azure "Put Message".
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from datetime import datetime

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.names_there import names_there
from sync.errors import MessageTooLarge
from sync.events import redelivered_message, study_message
from sync.model import StudyRef
from sync.model.queues import OBJECTS_QUEUE, POISON_QUEUES, QUEUES, SLICES_QUEUE, STUDIES_QUEUE, WORK_QUEUES
from sync.ports import ObjectQueue, QueueDepths, SliceQueue, StudyQueue

LONGEST_DELAY = 7 * 24 * 3600
"""Seconds; the service's limit for a visibility time-out."""

LONGEST_MESSAGE = 48 * 1024
"""Bytes; as base64 they are 64 KiB, the service's limit for a message."""

_NEVER_EXPIRES = -1

_CALL = "{}"
"""The content of every message of ``slices``: without data, because the rows describe the work."""


class AzureQueues(StudyQueue, ObjectQueue, SliceQueue, QueueDepths):
    """
    The queues ``studies``, ``objects`` and ``slices``; the lengths of all, poison queues included.

    Parameters
    ----------
    service
        The queues of the state account.
    traceparent
        Returns the ``traceparent`` of the sending span, which messages of ``studies`` carry.
    """

    def __init__(self, service: QueueServiceClient, *, traceparent: Callable[[], str] = str) -> None:
        self._service = service
        self._traceparent = traceparent
        self._queues = {name: self._client(name) for name in QUEUES}
        self._studies = self._queues[STUDIES_QUEUE]

    def _client(self, name: str) -> QueueClient:
        return self._service.get_queue_client(name, message_encode_policy=TextBase64EncodePolicy())

    async def ensure(self) -> None:
        """Try to create each queue, which also proves the permission to do so. Idempotent."""
        await asyncio.gather(*(self._create(queue) for queue in self._queues.values()))

    async def create_missing(self) -> None:
        """Create the queues that a listing lacks: one request when none is missing. Idempotent."""
        there = await names_there(self._service.list_queues())
        await asyncio.gather(*(self._create(queue) for name, queue in self._queues.items() if name not in there))

    async def _create(self, queue: QueueClient) -> None:
        with state_errors():
            try:
                await queue.create_queue()
            except ResourceExistsError:
                return

    async def enqueue(self, study: StudyRef, delay: float = 0.0, *, redelivered: bool = False) -> None:
        """Send a message that becomes visible after ``delay`` seconds, rounded up."""
        text = study_message(study, self._traceparent())
        await self._send(self._studies, redelivered_message(text) if redelivered else text, delay)

    async def send(self, text: str, delay: float = 0.0) -> None:
        """Send a message to ``objects`` that becomes visible after ``delay`` seconds, rounded up."""
        await self.put_back(OBJECTS_QUEUE, text, delay)

    async def call(self, delay: float = 0.0) -> None:
        """Send a message to ``slices`` that becomes visible after ``delay`` seconds, rounded up."""
        await self.put_back(SLICES_QUEUE, _CALL, delay)

    async def has_waiting(self) -> bool:
        """Return whether a message of queue ``slices`` waits for a worker now."""
        return await self._first_sent(self._queues[SLICES_QUEUE]) is not None

    async def put_back(self, queue: str, text: str, delay: float) -> None:
        """
        Send a message to any of our queues, by name.

        Raises
        ------
        StoreUnavailable
            The queue did not answer.
        MessageTooLarge
            The message exceeds the limit of every queue.
        """
        if len(text.encode("utf-8", "replace")) > LONGEST_MESSAGE:
            raise MessageTooLarge(f"more than {LONGEST_MESSAGE} bytes")
        await self._send(self._queues[queue], text, delay)

    async def _send(self, queue: QueueClient, text: str, delay: float) -> None:
        seconds = min(max(math.ceil(delay), 0), LONGEST_DELAY)
        with state_errors():
            await queue.send_message(text, visibility_timeout=seconds, time_to_live=_NEVER_EXPIRES)

    async def length(self) -> int:
        """Return about how many messages ``studies`` holds, invisible ones included."""
        return await self._length(self._studies)

    async def is_empty(self) -> bool:
        """Return whether ``objects`` holds no message; the service counts too many at worst, never too few."""
        return await self._length(self._queues[OBJECTS_QUEUE]) == 0

    async def has_visible(self) -> bool:
        """Return whether a message of queue ``studies`` waits for a worker now."""
        return await self._first_sent(self._queues[STUDIES_QUEUE]) is not None

    async def depths(self) -> dict[str, int]:
        """
        Return queue name -> about how many messages, invisible ones included.

        Poison queues are read last: messages move to them from the others, so in this order none is overlooked.
        """
        lengths: dict[str, int] = {}
        for some in (WORK_QUEUES, POISON_QUEUES):
            lengths |= zip(
                some, await asyncio.gather(*(self._length(self._queues[name]) for name in some)), strict=True
            )
        return lengths

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """Return queue name -> when the first waiting message was sent; without queues in which none waits."""
        first_sent = await asyncio.gather(*(self._first_sent(self._queues[name]) for name in among))
        return {name: sent for name, sent in zip(among, first_sent, strict=True) if sent is not None}

    async def _first_sent(self, queue: QueueClient) -> datetime | None:
        with state_errors():
            try:
                waiting = await queue.peek_messages(max_messages=1)
            except ResourceNotFoundError:
                return None
        return waiting[0].inserted_on if waiting else None

    async def _length(self, queue: QueueClient) -> int:
        with state_errors():
            try:
                properties = await queue.get_queue_properties()
            except ResourceNotFoundError:
                return 0
        return int(properties.approximate_message_count or 0)

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()
