"""
Operator actions on walks: begin, pause, resume, cancel. Each is recorded before it is done.

A paused walk keeps its progress, and its workers stop within seconds. A cancelled walk is over: a new one starts from
the beginning, and finds the objects that were done before unchanged.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from sync.errors import SyncError
from sync.model import Cursor, Json, Stored
from sync.operators.audit import OperatorAction, record_action
from sync.ports import CallWorkers, Control, Jobs
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.walk_rows import (
    Board,
    WalkProgress,
    WalkRow,
    WalkState,
    new_run,
    read_board,
    read_walk,
    remove_leftovers,
    write_walk,
)
from sync.protocol.walk_states import change_state, delete_unreadable_slices, reopen_growing


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWalk:
    """
    A request to begin a walk.

    ``name`` is the name of its cursor, the same for equal requests, so that asking twice begins one walk. The audit
    trail records the name, or ``subject`` if given; neither holds a prefix or a UID. ``why`` is its reason there.
    ``unit`` is the unit of slice sizes.
    """

    name: str
    kind: str
    request: Json
    action: OperatorAction
    subject: str = ""
    why: str = ""
    unit: str = "objects"
    rate: float | None = None


class Deed(enum.Enum):
    """An action on a walk that is not over: the states that it applies to, and its audit entry."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"

    @property
    def states(self) -> Mapping[WalkState, WalkState]:
        """States before -> state after."""
        return {
            Deed.PAUSE: {WalkState.RUNNING: WalkState.PAUSED},
            Deed.RESUME: {WalkState.PAUSED: WalkState.RUNNING},
            Deed.CANCEL: {WalkState.RUNNING: WalkState.CANCELLED, WalkState.PAUSED: WalkState.CANCELLED},
        }[self]

    @property
    def action(self) -> OperatorAction:
        """Action in the audit trail."""
        return {
            Deed.PAUSE: OperatorAction.WALK_PAUSE,
            Deed.RESUME: OperatorAction.WALK_RESUME,
            Deed.CANCEL: OperatorAction.WALK_CANCEL,
        }[self]


async def begin_walk(asked: NewWalk, s: Control, *, who: str) -> bool:
    """
    Begin a walk for all workers. Idempotent: a running walk continues, a paused one is resumed.

    A given rate replaces that of a running walk. Slices of such a walk that may have grown are reopened, so that it
    covers changes until now.

    Returns
    -------
    bool
        False when it is running already.
    """

    async def begin() -> bool:
        stored = await s.cursors.read(asked.name)
        before = WalkRow.of(stored.value) if stored is not None else None
        if before is not None and before.state.is_open:
            await _go_on(before, stored, asked, s, who=who)
            return False
        await record_action(asked.action, s, who=who, subject=asked.subject or asked.name, why=asked.why)
        now = s.clock.now()
        row = WalkRow(
            name=asked.name,
            kind=asked.kind,
            request=asked.request,
            run=new_run(),
            began=now,
            since=now,
            unit=asked.unit,
            rate=asked.rate,
        )
        await write_walk(row, stored, s)
        return True

    return await retry_on_conflict(begin, subject="a walk")


async def _go_on(before: WalkRow, stored: Stored[Cursor] | None, asked: NewWalk, s: Control, *, who: str) -> None:
    await reopen_growing(before, s)
    # After the slices: a worker that finds them done and has not seen this write must not end the walk.
    rate = asked.rate if asked.rate is not None else before.rate
    await write_walk(replace(before, rate=rate, asked=before.asked + 1), stored, s)
    if before.state is WalkState.PAUSED:
        await control_walk(before.name, Deed.RESUME, s, who=who)


async def call_worker(s: CallWorkers) -> None:
    """Call a worker to begin at once; if this fails, the timer does so within half a minute."""
    with suppress(SyncError):
        await s.slice_queue.call()


async def control_walk(name: str, deed: Deed, s: Control, *, who: str) -> bool:
    """
    Pause, resume or cancel a walk. Idempotent. A cancelled walk leaves no slices, not even unreadable ones.

    Returns
    -------
    bool
        Whether the call changed the walk: False when it is over, or in the desired state already.
    """
    await record_action(deed.action, s, who=who, subject=name)
    changed = await change_state(name, deed.states, s)
    row = await read_walk(name, s) if deed is Deed.CANCEL else None
    if row is not None and not row.state.is_open:
        board = await read_board(s)
        await remove_leftovers(board, s)
        await delete_unreadable_slices(board, row.run, s)
    if changed:
        s.telemetry.event("walk.changed", walk=name, deed=deed.value)
    return changed


def as_json(progress: WalkProgress) -> dict[str, object]:
    """Return a walk as operators see it: its progress and workers, without token or prefix."""
    row = progress.row
    return {
        "id": row.id,
        "kind": row.what,
        "state": row.state.value,
        "container": row.asked_for.container,
        "began": row.began.isoformat(),
        "share": round(progress.share, 4) if progress.share is not None else None,
        "seconds_left": round(progress.seconds_left) if progress.seconds_left is not None else None,
        "size": row.size if row.planned else None,
        "unit": row.unit,
        "slices": progress.slices,
        "slices_done": progress.slices_done,
        "workers": progress.workers,
        "rate": row.rate,
        "counts": dict(progress.counts),
        "problem": progress.problem or None,
    }


def walk_with_id(walk_id: str, board: Board) -> WalkRow | None:
    """Return the walk with this id as operators see it; None when there is none. Pure."""
    return next((row for row in board.walks.values() if row.id == walk_id), None)


async def read_progress(name: str, s: Jobs) -> WalkProgress:
    """Return the progress of the walk of that name, which must exist. Only reads."""
    board = await read_board(s)
    return board.progress(board.walks[name], s.clock.now())


def title_of(row: WalkRow) -> str:
    """Return a short title of a walk: its kind, whether it repairs and, if it has one, its container."""
    repairs = "with repair" if row.asked_for.repair else ""
    return " ".join(filter(None, (row.what, repairs, row.asked_for.container)))


def walks_on(board: Board, now: datetime) -> list[WalkProgress]:
    """List all walks, those that are not over first, then the latest. Pure."""
    rows = sorted(board.walks.values(), key=lambda row: (row.state.is_open, row.began), reverse=True)
    return [board.progress(row, now) for row in rows]
