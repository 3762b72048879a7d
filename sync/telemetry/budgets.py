"""
Cuts off work that exceeds its budget: a delivery, a phase of a timer, the answer to a request.

All work that is cut off here is idempotent, and is restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from sync.errors import SyncError

T = TypeVar("T")


async def cut_off_after(seconds: float, work: Awaitable[T], too_long: SyncError) -> T:
    """
    Await work, and cancel it if it takes longer.

    Parameters
    ----------
    too_long
        The error to raise then. A time-out raised by the work itself passes unchanged.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise  # a time-out of the work's own
    raise too_long
