"""The system's clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sync.ports import Clock


class SystemClock(Clock):
    """The computer's clock."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for that time."""
        await asyncio.sleep(seconds)
