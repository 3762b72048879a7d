"""Walks that several processes share, taken to their end as one command would."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sync.operators.walks import begin_walk, walks_on
from sync.ports import ObjectListing
from sync.protocol.walk_rows import WalkRow, WalkState, read_board, read_walk
from sync.replay.jobs import begin_replay, kinds_of
from sync.replay.requests import ReplayRequest, cursor_of
from sync.replay.sources import Source
from sync.verify.checking import Checker
from sync.verify.full_scan import Plan, ScanObserver, ScanOutcome
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.sharing import Kinds, Worker, cut_walk, end_walks
from sync.walks.verification import Verification, new_verification, outcome_of

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


async def one_batch(name: str, kinds: Kinds, s: Any) -> None:
    """Deal with one batch of a free slice of a walk, as a worker whose time is over."""
    board = await read_board(s)
    row = board.walks[name]
    piece = next(piece for piece in board.of_walk(row) if not piece.done)
    await Worker(kinds=kinds, s=s)._take(row, piece, board, until=0)


async def replayed(
    w: Any, request: ReplayRequest, sources: Mapping[str, Source], *, parallel: int = 4
) -> tuple[WalkRow, dict[str, int]]:
    """Begin a replay and take it to its end; return its row, and what was counted."""
    await begin_replay(request, w.services, who="ada")
    counts = await finished(cursor_of(request), kinds_of(sources), w.services, parallel=parallel)
    row = await read_walk(cursor_of(request), w.services)
    assert row is not None
    return row, {name: number for name, number in counts.items() if number}


async def backfilled(
    w: Any, scope: Scope = EVERYTHING, *, listing: ObjectListing | None = None, parallel: int = 4
) -> dict[str, int]:
    """Begin a backfill and take it to its end; return what was counted."""
    await begin_walk(new_backfill(scope), w.services, who="ada")
    kinds = {KIND: Backfill(listing=listing or w.store.objects)}
    return await finished(scope.cursor, kinds, w.services, parallel=parallel)


async def verified(w: Any, plan: Plan, audience: ScanObserver, checker: Checker) -> ScanOutcome:
    """Begin a comparison of everything and take it to its end; return what it came to."""
    asked = new_verification(plan, w.services.settings)
    await begin_walk(asked, w.services, who="ada")
    kind = Verification(listing=w.store.objects, services=w.services, audience=audience, checker=checker)
    return outcome_of(await finished(asked.name, {asked.kind: kind}, w.services))


async def list_walks(s):
    """All walks, as operators see them."""
    return walks_on(await read_board(s), s.clock.now())
