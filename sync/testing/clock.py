"""A clock that tests set by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sync.ports import Clock


class ManualClock(Clock):
    """Stands still until a test advances it."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Advance the clock instead of waiting."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self._now += timedelta(seconds=seconds)
