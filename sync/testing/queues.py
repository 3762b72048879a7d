"""
Queues in memory.

Actions of the outside world (take a message), which tests call, are plain methods; the sync's own are coroutines of
ports.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync.adapters.clocks import SystemClock
from sync.errors import MessageTooLarge
from sync.model import StudyRef
from sync.model.queues import OBJECTS_QUEUE, SLICES_QUEUE, STUDIES_QUEUE
from sync.ports import Clock, ObjectQueue, QueueDepths, SliceQueue, StudyQueue

_LONGEST_MESSAGE = 48 * 1024


@dataclass(frozen=True, slots=True)
class QueuedStudy:
    """One message of the queue ``studies``, and when it becomes visible."""

    study: StudyRef
    visible_at: datetime
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class QueuedText:
    """One message of the queue ``objects``, and when it becomes visible."""

    text: str
    visible_at: datetime


class MemoryObjectQueue(ObjectQueue):
    """The queue ``objects``; tests access ``messages`` directly."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.messages: list[QueuedText] = []

    async def send(self, text: str, delay: float = 0.0) -> None:
        """Send a message that becomes visible after ``delay`` seconds."""
        if len(text.encode("utf-8", "replace")) > _LONGEST_MESSAGE:
            raise MessageTooLarge(f"more than {_LONGEST_MESSAGE} bytes")
        self.messages.append(QueuedText(text, self._clock.now() + timedelta(seconds=delay)))

    async def is_empty(self) -> bool:
        """Return whether the queue holds no message."""
        return not self.messages

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """Return queue name -> since when its oldest message has been visible."""
        return _oldest(OBJECTS_QUEUE, self.messages, self._clock.now(), among)

    def take(self) -> list[str]:
        """Remove and return what is visible now, oldest first."""
        now = self._clock.now()
        due = [message for message in self.messages if message.visible_at <= now]
        self.messages = [message for message in self.messages if message.visible_at > now]
        return [message.text for message in due]


class MemorySliceQueue(SliceQueue):
    """The queue ``slices``; tests access ``visible_at`` of its messages directly."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.messages: list[datetime] = []

    async def call(self, delay: float = 0.0) -> None:
        """Send a message that becomes visible after ``delay`` seconds."""
        self.messages.append(self._clock.now() + timedelta(seconds=delay))

    async def has_waiting(self) -> bool:
        """Return whether a message is visible now."""
        return any(visible_at <= self._clock.now() for visible_at in self.messages)

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """Return queue name -> since when its oldest message has been visible."""
        waiting = [visible_at for visible_at in self.messages if visible_at <= self._clock.now()]
        return {SLICES_QUEUE: min(waiting)} if waiting and SLICES_QUEUE in among else {}

    def take(self) -> int:
        """Remove the messages that are visible now, and return their number."""
        now = self._clock.now()
        due = sum(visible_at <= now for visible_at in self.messages)
        self.messages = [visible_at for visible_at in self.messages if visible_at > now]
        return due


class MemoryStudyQueue(StudyQueue, QueueDepths):
    """The queue ``studies``; tests access ``messages`` directly."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.messages: list[QueuedStudy] = []

    async def enqueue(self, study: StudyRef, delay: float = 0.0, *, redelivered: bool = False) -> None:
        """Send a message that becomes visible after ``delay`` seconds."""
        self.messages.append(QueuedStudy(study, self._clock.now() + timedelta(seconds=delay), redelivered))

    async def length(self) -> int:
        """Return how many messages there are, invisible ones included."""
        return len(self.messages)

    async def has_visible(self) -> bool:
        """Return whether a message is visible now."""
        return any(message.visible_at <= self._clock.now() for message in self.messages)

    async def depths(self) -> dict[str, int]:
        """Return queue name -> length; this world has only one queue."""
        return {STUDIES_QUEUE: len(self.messages)}

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """Return queue name -> since when its oldest message has been visible."""
        return _oldest(STUDIES_QUEUE, self.messages, self._clock.now(), among)

    def take(self) -> list[StudyRef]:
        """Remove and return what is visible now, oldest first."""
        now = self._clock.now()
        due = [message for message in self.messages if message.visible_at <= now]
        self.messages = [message for message in self.messages if message.visible_at > now]
        return [message.study for message in due]


class MemoryDepths(QueueDepths):
    """Lengths of all three queues."""

    def __init__(self, studies: MemoryStudyQueue, objects: MemoryObjectQueue, slices: MemorySliceQueue) -> None:
        self._studies, self._objects, self._slices = studies, objects, slices

    async def depths(self) -> dict[str, int]:
        """Return queue name -> length, of queues that are not empty, and of ``studies``."""
        lengths = {OBJECTS_QUEUE: len(self._objects.messages), SLICES_QUEUE: len(self._slices.messages)}
        waiting = {name: length for name, length in lengths.items() if length}
        return waiting | await self._studies.depths()

    async def oldest(self, among: Collection[str]) -> dict[str, datetime]:
        """Return queue name -> since when its oldest message has been visible."""
        calls = await self._slices.oldest(among)
        return calls | await self._objects.oldest(among) | await self._studies.oldest(among)


def _oldest(
    queue: str, messages: Sequence[QueuedStudy | QueuedText], now: datetime, among: Collection[str]
) -> dict[str, datetime]:
    waiting = [message.visible_at for message in messages if message.visible_at <= now]
    return {queue: min(waiting)} if waiting and queue in among else {}
