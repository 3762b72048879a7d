"""A few short retries of a request, for failures that pass quickly; longer waits happen in queues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from sync.errors import TransientError

ATTEMPTS = 3
LONGEST_SHORT_WAIT = 2.0
"""Seconds; if a service asks for a longer wait, there is no retry here: the work waits in a queue or for a run."""

LONGEST_FAILURE = 20.0
"""Seconds since the first attempt after which there is no further retry: such a failure does not pass quickly."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits the given seconds; tests do not wait."""


def short_retries(
    is_outage: Callable[[TransientError], bool],
    *,
    sleep: Sleep,
    noted: Callable[[], None] = lambda: None,
    within: float = LONGEST_FAILURE,
) -> AsyncRetrying:
    """
    Return a retrier that calls a coroutine function again after an outage, with a short and growing wait in between.

    Parameters
    ----------
    is_outage
        Distinguishes transient failures from failures that need an operator.
    noted
        Called before each retry.
    within
        Seconds since the first attempt within which another attempt may begin.
    """

    def is_worth_it(problem: BaseException) -> bool:
        wait = problem.retry_after if isinstance(problem, TransientError) else None
        short = wait is None or wait <= LONGEST_SHORT_WAIT
        return isinstance(problem, TransientError) and short and is_outage(problem)

    return AsyncRetrying(
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(within),
        wait=_wait,
        retry=retry_if_exception(is_worth_it),
        sleep=sleep,
        before_sleep=lambda _: noted(),
        reraise=True,
    )


def _wait(state: RetryCallState) -> float:
    """Return the seconds before the next attempt: as the service asked, else growing, with jitter."""
    outage = state.outcome.exception() if state.outcome else None
    wait = outage.retry_after if isinstance(outage, TransientError) else None
    return wait if wait is not None else wait_random_exponential(multiplier=0.2, max=LONGEST_SHORT_WAIT)(state)
