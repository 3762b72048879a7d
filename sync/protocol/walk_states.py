"""
Changes that operators make to a walk: its state, and slices to work on again.

Called by `sync.operators.walks`. Each change writes one row under its ETag, so a worker that holds the row's lease
notices at its next write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from sync.model import Cursor
from sync.ports import Jobs
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.unreadable_walks import UnreadableWalk
from sync.protocol.walk_rows import Board, Slice, WalkRow, WalkState, read_board, write_walk


async def change_state(name: str, states: Mapping[WalkState, WalkState], s: Jobs) -> bool:
    """
    Change the state of a walk from one of the given states; return whether it was in one of them. Idempotent.

    Raises
    ------
    Contention
        Other writers kept coming first.
    """

    async def change() -> bool:
        stored = await s.cursors.read(name)
        row = WalkRow.of(stored.value) if stored is not None else None
        if row is None or row.state not in states:
            return False
        board = await read_board(s)
        await write_walk(_brought(row, states[row.state], board, s.clock.now()), stored, s)
        return True

    return await retry_on_conflict(change, subject="a walk")


def _brought(row: WalkRow, state: WalkState, board: Board, now: datetime) -> WalkRow:
    if state is WalkState.RUNNING:
        return replace(row, state=state, since=now, before=board.units_done(row))
    if state is WalkState.PAUSED:
        return replace(row, state=state, since=None)
    return replace(row, state=state, counts=board.progress(row, now).counts)


async def end_unreadable(walk: UnreadableWalk, s: Jobs) -> bool:
    """
    Empty a walk's row that this version does not understand; return whether it was such a row. Idempotent.

    What stays in the row is which walk it was. The write is under the row's ETag, so that a process of the version that
    wrote it loses the lease. The row is not deleted, because a walk that begins meanwhile writes the same row.

    Raises
    ------
    Contention
        Other writers kept coming first.
    """

    async def end() -> bool:
        stored = await s.cursors.read(walk.name)
        if stored is None or not _is_unreadable(stored.value):
            return False
        await s.cursors.write(replace(walk.row_when_ended, advanced_at=s.clock.now()), stored.etag)
        return True

    return await retry_on_conflict(end, subject="a walk")


async def ended_unreadable(run: str, s: Jobs) -> UnreadableWalk | None:
    """Return the walk of that run that `end_unreadable` ended, as long as none has begun in its row since."""
    async for cursor in s.cursors.all():
        walk = UnreadableWalk.ended_in(cursor)
        if walk is not None and walk.run == run:
            return walk
    return None


def _is_unreadable(cursor: Cursor) -> bool:
    return bool(Board.of([cursor]).unreadable)


async def delete_unreadable_slices(board: Board, run: str, s: Jobs) -> None:
    """Delete the unreadable slices of a run that is over; no other run uses their names."""
    await s.cursors.delete_all([one.name for one in board.unreadable_of(run) if one.is_slice])


async def reopen_growing(row: WalkRow, s: Jobs) -> None:
    """
    Reopen the slices of a walk that may have grown; work continues at their positions. Idempotent.

    A worker on such a slice loses it at its next batch, because its last read may lack entries that came since.

    Raises
    ------
    Contention
        Other writers kept coming first.
    """

    async def reopen(name: str) -> None:
        stored = await s.cursors.read(name)
        piece = Slice.of(stored.value) if stored is not None else None
        if stored is not None and piece is not None and (piece.done or piece.holder):
            position = replace(piece, done=False).position
            await s.cursors.write(replace(stored.value, position=position, holder="", held_until=None), stored.etag)

    for piece in (await read_board(s)).of_walk(row):
        if piece.grows:
            await retry_on_conflict(partial(reopen, piece.name), subject="a slice")
