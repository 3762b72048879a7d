"""Queues of outstanding work. Messages are hints; rows are the truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from sync.model import (
    StudyRef,
)


class StudyQueue(Protocol):
    """The queue ``studies``: hints that a study is outstanding. The dirty row is the truth."""

    async def enqueue(self, study: StudyRef, delay: float = 0.0, *, redelivered: bool = False) -> None:
        """
        Send a message that becomes visible after ``delay`` seconds (at most 7 days).

        ``redelivered``: it replaces a message that may have been delivered to a process that died.
        """
        ...

    async def length(self) -> int:
        """Return the approximate number of messages, invisible ones included."""
        ...

    async def has_visible(self) -> bool:
        """Return whether a message waits for a worker now; leased and delayed ones do not."""
        ...


class ObjectQueue(Protocol):
    """The queue ``objects``: Event Grid delivers events into it, and the sync sends objects to inspect again."""

    async def send(self, text: str, delay: float = 0.0) -> None:
        """
        Send a message that becomes visible after ``delay`` seconds (at most 7 days).

        Raises
        ------
        MessageTooLarge
            The message exceeds the size limit of queues.
        """
        ...

    async def is_empty(self) -> bool:
        """Return whether no message is there, leased and delayed ones included."""
        ...


class SliceQueue(Protocol):
    """The queue ``slices``: each message calls one worker for walks. The rows of the slices are the truth."""

    async def call(self, delay: float = 0.0) -> None:
        """Send a message that becomes visible after ``delay`` seconds."""
        ...

    async def has_waiting(self) -> bool:
        """Return whether a message waits for a worker now; leased and delayed ones do not."""
        ...


class UndeliveredEvents(Protocol):
    """Event Grid's dead-letter container: blobs with events that it could not deliver."""

    async def names(self, most: int) -> Sequence[str]:
        """Return at most that many names of blobs that are not marked; none when there is no container."""
        ...

    async def read(self, name: str, most: int) -> str | None:
        """Return the text of a blob, cut at that many bytes; None when it is gone."""
        ...

    async def remove(self, name: str) -> None:
        """Delete; a missing blob is fine."""
        ...

    async def mark(self, name: str) -> None:
        """Keep the blob, but leave it out of `names` from now on."""
        ...


class QueueDepths(Protocol):
    """Lengths of all our queues, for status."""

    async def depths(self) -> dict[str, int]:
        """Return queue name -> approximate number of messages, invisible ones included."""
        ...

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """
        Return queue name -> when the first waiting message was sent; queues where no message waits are left out.

        Parameters
        ----------
        among
            Names of the queues to inspect: those that `depths` reports as not empty.
        """
        ...
