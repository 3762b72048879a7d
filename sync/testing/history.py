"""The recent processing history of studies, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sync.model import StudyEvent, StudyRef
from sync.ports import StudyHistory


class MemoryHistory(StudyHistory):
    """A list of events."""

    def __init__(self) -> None:
        self._events: dict[tuple[datetime, str], StudyEvent] = {}

    async def add(self, event: StudyEvent) -> None:
        """Keep an event; adding it again has no effect."""
        self._events[event.at, event.study.key] = event

    async def of_study(self, study: StudyRef, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of a study."""
        return [event for event in self._newest_first() if event.study == study][:most]

    async def latest(self, most: int) -> Sequence[StudyEvent]:
        """Return the newest events of all studies."""
        return self._newest_first()[:most]

    async def discard(self, before: datetime, most: int) -> int:
        """Delete at most ``most`` events that are older than ``before``."""
        old = [key for key in self._events if key[0] < before][:most]
        for key in old:
            del self._events[key]
        return len(old)

    def _newest_first(self) -> list[StudyEvent]:
        return [self._events[key] for key in sorted(self._events, reverse=True)]
