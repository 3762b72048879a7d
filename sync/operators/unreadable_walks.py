"""
Walks that this version does not understand, for operators: shown beside the others, and ended by a cancel.

The command line, ``GET walks`` and the page of jobs show them; all three end a walk by `control_named`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sync.errors import RequestRefused
from sync.operators.audit import record_action
from sync.operators.walks import Deed, as_json, control_walk, walk_with_id
from sync.ports import Control
from sync.protocol.unreadable_walks import UnreadableWalk
from sync.protocol.walk_rows import Board, WalkProgress, WalkState, read_board, remove_leftovers
from sync.protocol.walk_states import delete_unreadable_slices, end_unreadable, ended_unreadable

UNREADABLE = "unreadable"
"""State of such a walk, as operators see it."""

REMEDY = "Let the version that wrote the row finish the walk, or cancel the walk and start it again."


def unreadable_on(board: Board) -> list[UnreadableWalk]:
    """List walks without a readable row, one entry each: the walk's own row, or else its first slice. Pure."""
    readable = {row.run for row in board.walks.values()}
    runs = sorted({one.run for one in board.unreadable} - readable)
    return [board.unreadable_of(run)[0] for run in runs]


def unreadable_as_json(walk: UnreadableWalk, *, state: str = UNREADABLE) -> dict[str, object]:
    """Return such a walk as operators see it, beside those of `sync.operators.walks.as_json`."""
    return {"id": walk.run, "state": state, "problem": walk.problem.code, "detail": walk.problem.detail, "hint": REMEDY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """The result of an action: whether it changed anything, and the walk as it is now, or as it was if unreadable."""

    changed: bool
    walk: WalkProgress | UnreadableWalk

    @property
    def state(self) -> str:
        """State of the walk as operators see it."""
        if not isinstance(self.walk, UnreadableWalk):
            return self.walk.row.state.value
        return WalkState.CANCELLED.value if self.walk.ended else UNREADABLE

    def as_json(self) -> dict[str, object]:
        """Return the walk as operators see it."""
        if isinstance(self.walk, UnreadableWalk):
            return unreadable_as_json(self.walk, state=self.state)
        return as_json(self.walk)


async def control_named(walk_id: str, deed: Deed, s: Control, *, who: str) -> Controlled:
    """
    Pause, resume or cancel the walk with this id. Idempotent.

    An unreadable walk can only be cancelled: its row is emptied, but for which walk it was, and its slices are deleted.

    Raises
    ------
    RequestRefused
        There is no such walk, or it is unreadable and the action is not a cancel.
    """
    board = await read_board(s)
    unreadable = next((walk for walk in unreadable_on(board) if walk.run == walk_id), None)
    if unreadable is not None:
        return await _control_unreadable(unreadable, deed, s, who=who)
    row = walk_with_id(walk_id, board)
    ended = await ended_unreadable(walk_id, s) if row is None else None
    if ended is not None:
        await record_action(deed.action, s, who=who, subject=ended.name)
        return Controlled(changed=False, walk=ended)
    if row is None:
        raise RequestRefused(
            "there is no such walk, or nothing of it is left since it was cancelled",
            code="walk.unknown",
            hint="python -m sync walks list shows all walks.",
        )
    changed = await control_walk(row.name, deed, s, who=who)
    latest = await read_board(s)
    return Controlled(changed=changed, walk=latest.progress(latest.walks.get(row.name, row), s.clock.now()))


async def _control_unreadable(walk: UnreadableWalk, deed: Deed, s: Control, *, who: str) -> Controlled:
    if deed is not Deed.CANCEL:
        raise RequestRefused("this version does not understand the walk", code="store.unreadable", hint=REMEDY)
    await record_action(deed.action, s, who=who, subject=walk.name)
    # The walk's row before its slices: a crash in between leaves slices without a walk, which are listed and cancelled
    # too.
    changed = walk.is_slice or await end_unreadable(walk, s)
    board = await read_board(s)
    await remove_leftovers(board, s)
    await delete_unreadable_slices(board, walk.run, s)
    if changed:
        s.telemetry.event("walk.changed", walk=walk.run, deed=deed.value)
    # Another operator may have cancelled it meanwhile.
    ended = changed or await ended_unreadable(walk.run, s) is not None
    return Controlled(changed=changed, walk=replace(walk, ended=ended))
