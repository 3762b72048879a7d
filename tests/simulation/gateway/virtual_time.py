"""An event loop whose time leaps to the next timer, and a clock that goes with it."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sync.ports import Clock

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


class NothingWillHappen(Exception):
    """Everything waits, and nothing that is under way can end the waiting."""


class _Leaping(selectors.SelectSelector):
    leap: Callable[[float], None]

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise NothingWillHappen
        if not ready and timeout:
            self.leap(timeout)
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """Never waits: when nothing is left to do at a time, it is the time of the next timer."""

    def __init__(self) -> None:
        selector = _Leaping()
        selector.leap = self._leap
        self._passed = 0.0
        super().__init__(selector)

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._passed

    def _leap(self, seconds: float) -> None:
        self._passed += seconds


class LoopClock(Clock):
    """The time of the loop that runs."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, seconds: float) -> None:
        """Let the loop leap."""
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, T], *, seed: int = 0) -> T:
    """Run a coroutine to its end in leaps; jitter of ours and of libraries is that of the seed."""
    random.seed(seed)
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(work)
