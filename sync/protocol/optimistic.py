"""Writing under an ETag: who loses a race looks again, a few times."""

from __future__ import annotations

from collections.abc import Awaitable

from sync.errors import StoreConflict

MAX_ROUNDS = 12
"""Races that one delivery loses before it gives up and is delivered again."""


async def unless_conflict(write: Awaitable[object]) -> bool:
    """Make the write; False when somebody else wrote in between."""
    try:
        await write
    except StoreConflict:
        return False
    return True
