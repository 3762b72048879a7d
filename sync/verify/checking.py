"""Many inspections at once, the doubtful ones twice, with retries while the FHIR service does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from sync.errors import Conflict, Contention, FhirUnavailable, Throttled
from sync.model import Drift

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")

Found = Sequence[Drift] | None
"""What a check found: drifts, nothing, or None while work was pending."""

AT_ONCE = 8
"""Inspections at once; a FHIR service answers more only more slowly."""

PAUSE = 2.0
"""Seconds between the two looks that a drift has to outlast."""

TRIES = 7
"""Times that a look is tried while the FHIR service does not answer: about a minute."""


@dataclass(frozen=True, kw_only=True)
class Checker:
    """
    Inspects subjects, many at once.

    Parameters
    ----------
    pause
        Seconds between two looks.
    tries
        How often a look is tried while the FHIR service does not answer.
    sleep
        Waits that many seconds; tests wait for nothing.
    """

    pause: float = PAUSE
    tries: int = TRIES
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def twice(self, items: Sequence[Item], inspection: Callable[[Item], Awaitable[Found]]) -> list[Found]:
        """
        Inspect each; after a pause, inspect again those that are not right. Only what both inspections saw is a drift.

        Raises
        ------
        TransientError
            A service did not answer for longer than the tries take.
        """
        results = await self._all(items, inspection)
        doubtful = [index for index, drifts in enumerate(results) if drifts is None or drifts]
        if doubtful:
            await self.sleep(self.pause)
            again = await self._all([items[index] for index in doubtful], inspection)
            for index, drifts in zip(doubtful, again, strict=True):
                results[index] = drifts
        return results

    async def _all(self, items: Sequence[Item], inspection: Callable[[Item], Awaitable[Found]]) -> list[Found]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def check_item(item: Item) -> Found:
            async with slots:
                return await self.with_retries(inspection, item)

        return await asyncio.gather(*(check_item(item) for item in items))

    async def with_retries(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call, and again while the FHIR service does not answer, or races are lost; each call must be repeatable."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.tries),
            wait=wait_random_exponential(multiplier=1, max=20),
            retry=retry_if_exception_type((FhirUnavailable, Throttled, Contention, Conflict)),
            sleep=self.sleep,
            reraise=True,
        )
        result: T = await retrying(call, *args, **kwargs)
        return result
