"""Acting on many things, some at once: how every section fills, uploads and sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def act_on_each(waiting: Iterable[T], act: Callable[[T], Awaitable[object]], *, at_once: int) -> None:
    """Act on each of a sequence, in its order, ``at_once`` at a time; no item is made before its turn."""
    left = iter(waiting)

    async def some() -> None:
        for one in left:
            await act(one)

    await asyncio.gather(*(some() for _ in range(at_once)))
