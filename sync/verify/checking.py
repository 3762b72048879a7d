"""Runs many inspections concurrently, doubtful ones twice, with retries while the FHIR service does not answer."""

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
"""Result of a check: drifts, an empty list, or None while work was pending."""

AT_ONCE = 8
"""Concurrent inspections; more would only make the FHIR service slower."""

PAUSE = 2.0
"""Seconds between the two inspections that must both see a drift."""

TRIES = 7
"""Attempts for an inspection while the FHIR service does not answer: about a minute."""


@dataclass(frozen=True, kw_only=True)
class Checker:
    """
    Inspects subjects, many at once.

    Parameters
    ----------
    pause
        Seconds between the two inspections.
    tries
        Attempts for an inspection while the FHIR service does not answer.
    sleep
        Waits that many seconds; tests do not wait.
    """

    pause: float = PAUSE
    tries: int = TRIES
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def twice(self, items: Sequence[Item], inspection: Callable[[Item], Awaitable[Found]]) -> list[Found]:
        """
        Inspect all subjects, and those with drifts again after a pause. Only a drift that both inspections saw counts.

        Raises
        ------
        TransientError
            A service did not answer for longer than all attempts take.
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
        """Call, and retry while the FHIR service does not answer or races are lost; the call must be idempotent."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.tries),
            wait=wait_random_exponential(multiplier=1, max=20),
            retry=retry_if_exception_type((FhirUnavailable, Throttled, Contention, Conflict)),
            sleep=self.sleep,
            reraise=True,
        )
        result: T = await retrying(call, *args, **kwargs)
        return result
