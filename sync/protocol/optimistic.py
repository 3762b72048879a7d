"""
Optimistic concurrency: rows are written under their ETag, and a writer that lost a race reads the row again.

`retry_on_conflict` is the only such loop, with one limit. The two steps of `sync.pipeline` have loops of their own,
because after a conflict they may trust less of what is cached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from sync.errors import Contention, StoreConflict
from sync.model import Cursor, Json
from sync.ports import Jobs

T = TypeVar("T")

MAX_ROUNDS = 12
"""Number of conflicts after which a delivery gives up and is delivered again."""


async def unless_conflict(write: Awaitable[object]) -> bool:
    """Make the write; False when another writer came first."""
    try:
        await write
    except StoreConflict:
        return False
    return True


async def retry_on_conflict(read_and_write: Callable[[], Awaitable[T]], *, subject: str) -> T:
    """
    Read a row, change it and write it under its ETag, until no other writer comes in between.

    Parameters
    ----------
    read_and_write
        Reads the row each time it is called, and raises `StoreConflict` when its write came too late.
    subject
        Names the row in the error.

    Raises
    ------
    Contention
        Another writer came first `MAX_ROUNDS` times.
    """
    for _ in range(MAX_ROUNDS):
        try:
            return await read_and_write()
        except StoreConflict:
            continue
    raise Contention(f"{subject} kept changing")


async def change_position(name: str, change: Callable[[Cursor], Json], s: Jobs, *, subject: str) -> None:
    """
    Set the position of a row of table ``cursors`` to what ``change`` returns; insert the row if it is missing.

    Parameters
    ----------
    change
        Pure: it is called again for each conflict.
    subject
        Names the row in the error.

    Raises
    ------
    Contention
        Another writer came first `MAX_ROUNDS` times.
    """

    async def read_and_write() -> None:
        stored = await s.cursors.read(name)
        before = stored.value if stored is not None else Cursor(name=name)
        await s.cursors.write(replace(before, position=change(before)), stored.etag if stored is not None else None)

    await retry_on_conflict(read_and_write, subject=subject)
