"""Two clocks: the system's, and one that tests turn by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sync.ports import Clock


class SystemClock(Clock):
    """The computer's clock."""

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC)


class ManualClock(Clock):
    """Stands still until it is turned."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Turn the clock forward."""
        self._now += timedelta(seconds=seconds)
