"""Walks that several processes share, taken to their end as one command would."""

from __future__ import annotations

import math
from typing import Any

from sync.operators.walks import begin_walk
from sync.ports import ObjectListing
from sync.protocol.walk_rows import WalkState, read_walk
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.sharing import Kinds, Worker, cut_walk, end_walks

EVERYTHING = Scope(container="dicom")


async def finished(name: str, kinds: Kinds, s: Any, *, parallel: int = 4) -> dict[str, int]:
    """Take a walk that was begun to its end; return what all workers counted."""
    for _ in range(1000):
        row = await read_walk(name, s)
        assert row is not None
        if row.state is not WalkState.RUNNING:
            return dict(row.counts)
        await cut_walk(row, kinds, s, until=math.inf, most=2)
        await Worker(kinds=kinds, s=s, parallel=parallel).work(until=math.inf)
        await end_walks(s)
    raise AssertionError("a walk without an end")


async def backfilled(
    w: Any, scope: Scope = EVERYTHING, *, listing: ObjectListing | None = None, parallel: int = 4
) -> dict[str, int]:
    """Begin a backfill and take it to its end; return what was counted."""
    await begin_walk(new_backfill(scope), w.services, who="ada")
    kinds = {KIND: Backfill(listing=listing or w.store.objects)}
    return await finished(scope.cursor, kinds, w.services, parallel=parallel)
