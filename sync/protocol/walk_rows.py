"""
Rows of a walk that several processes share: the request, and the slices that it is cut into.

    walk row                one per walk: request, state, how far it is cut into slices, final counts
    slice rows              one per slice: its range, its holder's progress, its counts

All are rows of table ``cursors``, and the lease of a row is `sync.protocol.leases`: the holder of a slice's lease works
on it, the holder of the walk's lease cuts slices. A run has a name of its own, so that slices of an earlier run are
never mistaken for those of this one. Operators change a walk's own row under its ETag too; the holder of its lease
notices at the next write.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import uuid4

from sync.errors import UnreadableRow
from sync.model import Cursor, Json, Stored, units_of
from sync.model.timestamps import Timestamp
from sync.ports import Jobs
from sync.protocol.optimistic import unless_conflict
from sync.protocol.row_values import RowValue
from sync.protocol.unreadable_walks import SLICE, UnreadableWalk


class WalkState(enum.StrEnum):
    """The state of a walk."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether the walk is not over."""
        return self in {WalkState.RUNNING, WalkState.PAUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor:
    """The fields that requests of all kinds share, for operators; all others belong to one kind."""

    id: str = ""
    container: str | None = None
    repair: bool = False


_ASKED_FOR: RowValue[AskedFor] = RowValue(AskedFor)


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkRow:
    """
    One walk.

    ``name`` is the name of its cursor; ``request`` and ``plan`` are JSON of the kind's own. ``plan`` is the position of
    cutting, ``made`` the number of slices so far, ``size`` their total in ``unit``; ``planned`` means that cutting is
    finished. ``rate`` limits the studies a second that all workers together mark, None for no limit. ``asked`` counts
    how often the walk was requested while it ran. ``since`` and ``before`` say when the present stretch of work began
    and how much was done by then, so that a pause does not distort the estimate.
    """

    name: str
    kind: str
    request: Json
    run: str
    began: Timestamp
    state: WalkState = WalkState.RUNNING
    unit: str = "objects"
    plan: Json = field(default_factory=dict)
    planned: bool = False
    made: int = 0
    size: int = 0
    rate: float | None = None
    asked: int = 0
    since: Timestamp | None = None
    before: float = 0.0
    problem: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def asked_for(self) -> AskedFor:
        """The fields of its request that all kinds share."""
        return _ASKED_FOR.read(self.request, row=self.name)

    @property
    def id(self) -> str:
        """The name for operators: the one in the request, else the name of the run."""
        return self.asked_for.id or self.run

    @property
    def what(self) -> str:
        """Its kind for operators, without the suffix that separates processes which do not share a walk."""
        return self.kind.partition("@")[0]

    @property
    def position(self) -> Json:
        """The position to store in the cursor. Inverse of `of`."""
        return {name: value for name, value in _WALK.write(self).items() if name != "name"}

    @classmethod
    def of(cls, cursor: Cursor) -> WalkRow | None:
        """
        Return the walk in a row; None for another kind of row.

        Raises
        ------
        UnreadableRow
            The row is a walk's, in a form that this version does not know.
        """
        if "run" not in cursor.position or "kind" not in cursor.position:
            return None
        row = _WALK.read({**cursor.position, "name": cursor.name}, row=cursor.name)
        _ASKED_FOR.read(row.request, row=row.name)  # refused here, not when it is shown
        return row

    def slice_name(self, number: int) -> str:
        """Return the name of the row of a slice of this run."""
        return f"{SLICE}{self.run} {number:05d}"


_WALK: RowValue[WalkRow] = RowValue(WalkRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """
    One slice of a run: ``scope`` is its range, ``at`` its holder's position, both JSON of the kind's own.

    ``following`` is where cutting continues after it: a slice that an earlier version wrote before it was noted in the
    walk's row is found there again and adopted unchanged. ``grows``: its range may receive more, even after it was
    done. ``needs``: how many slices, counted from the first, must be done before this one. ``deaths``: how many holders
    died since its position last moved.
    """

    name: str
    walk: str
    run: str
    scope: Json
    size: int
    following: Json
    last: bool = False
    grows: bool = False
    needs: int = 0
    deaths: int = 0
    at: Json = field(default_factory=dict)
    done: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    holder: str = ""
    held_until: datetime | None = None

    @property
    def position(self) -> Json:
        """The position to store in the cursor."""
        return {name: value for name, value in _SLICE.write(self).items() if name not in _OF_LEASES}

    @classmethod
    def of(cls, cursor: Cursor) -> Slice | None:
        """
        Return the slice in a row; None for another kind of row, and for a deleted one.

        Raises
        ------
        UnreadableRow
            The row is a slice's, in a form that this version does not know.
        """
        if not cursor.name.startswith(SLICE) or "run" not in cursor.position:
            return None
        lease = {"name": cursor.name, "holder": cursor.holder, "held_until": cursor.held_until}
        return _SLICE.read({**cursor.position, **lease}, row=cursor.name)

    def is_free(self, now: datetime) -> bool:
        """Return whether the slice is not done and no process works on it."""
        return not self.done and not self.is_held(now)

    def is_held(self, now: datetime) -> bool:
        """Return whether a process works on the slice."""
        return bool(self.holder) and self.held_until is not None and self.held_until > now

    def units_done(self, unit: str) -> float:
        """Return the finished part of the size; within a slice, only units that are counted one by one are known."""
        return float(self.size) if self.done else min(units_of(self.counts, unit), float(self.size))


_SLICE: RowValue[Slice] = RowValue(Slice)

_OF_LEASES = frozenset({"name", "holder", "held_until"})
"""The fields of a slice's row beside its position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkProgress:
    """
    Progress of a walk over all its slices.

    ``share`` is between 0 and 1. It is None while cutting is unfinished, because the total is unknown, and after the
    walk was cancelled or failed. ``seconds_left`` is None in the same cases, and while nothing is done yet.
    """

    row: WalkRow
    counts: Mapping[str, int]
    share: float | None
    seconds_left: float | None
    slices: int
    slices_done: int
    workers: int
    problem: str = ""
    """Code of the failure that ended it, or that keeps it from ending: one of its slices is unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """
    All walks, and their slices by run, as one scan of the rows found them.

    Rows that this version does not understand are left out, so that they do not hold up other walks. A walk that lacks
    one of its slices does not end.
    """

    walks: Mapping[str, WalkRow]
    slices: Mapping[str, Sequence[Slice]]
    unreadable: Sequence[UnreadableWalk] = ()

    @classmethod
    def of(cls, cursors: Sequence[Cursor]) -> Board:
        """Build the board from rows of table ``cursors``; those of other jobs are left out."""
        walks, unreadable = dict[str, WalkRow](), list[UnreadableWalk]()
        slices: defaultdict[str, list[Slice]] = defaultdict(list)
        for cursor in cursors:
            try:
                row, piece = WalkRow.of(cursor), Slice.of(cursor)
            except UnreadableRow as problem:
                unreadable.append(UnreadableWalk.of(cursor, problem))
                continue
            if row is not None:
                walks[row.name] = row
            if piece is not None:
                slices[piece.run].append(piece)
        in_order = {run: sorted(some, key=lambda piece: piece.name) for run, some in slices.items()}
        return cls(walks=walks, slices=in_order, unreadable=unreadable)

    def of_walk(self, row: WalkRow) -> Sequence[Slice]:
        """Return the slices of a walk's present run, in their order."""
        return self.slices.get(row.run, ())

    def free_of(self, row: WalkRow, now: datetime) -> list[Slice]:
        """Return the slices of a walk that are not done, not held, and need not wait for others."""
        slices = self.of_walk(row)
        # The board is no snapshot: if a slice is missing, those behind it wait.
        done = 0
        while done < len(slices) and slices[done].done and slices[done].name == row.slice_name(done):
            done += 1
        return [piece for piece in slices if piece.is_free(now) and piece.needs <= done]

    def unreadable_of(self, run: str) -> list[UnreadableWalk]:
        """Return the rows of a run that this version does not understand, the walk's own row first."""
        return sorted((one for one in self.unreadable if one.run == run), key=lambda one: (one.is_slice, one.name))

    def units_done(self, row: WalkRow) -> float:
        """Return how much of the walk is done, in its unit."""
        return sum(piece.units_done(row.unit) for piece in self.of_walk(row))

    def is_complete(self, row: WalkRow) -> bool:
        """Return whether cutting is finished and every slice is done."""
        return row.planned and sum(piece.done for piece in self.of_walk(row)) >= row.made

    def progress(self, row: WalkRow, now: datetime) -> WalkProgress:
        """Return the progress of a walk, added up from its slices. Pure."""
        slices = self.of_walk(row)
        counts = Counter(row.counts)
        if row.state.is_open:
            for piece in slices:
                counts.update(piece.counts)
        done = self.units_done(row)
        # A cancelled or failed walk has no slices any more, so how much was done is unknown.
        share = min(done / row.size, 1.0) if row.planned and row.size and row.state.is_open else None
        return WalkProgress(
            row=row,
            counts={name: number for name, number in sorted(counts.items()) if number},
            share=1.0 if row.state is WalkState.DONE else share,
            seconds_left=_seconds_left(row, done, now),
            slices=row.made,
            slices_done=row.made if row.state is WalkState.DONE else sum(piece.done for piece in slices),
            workers=sum(piece.is_held(now) for piece in slices),
            problem=row.problem or next((one.problem.code for one in self.unreadable_of(row.run)), ""),
        )


def _seconds_left(row: WalkRow, done: float, now: datetime) -> float | None:
    """Estimate that the rest is as fast as the present stretch of work."""
    if row.state is not WalkState.RUNNING or not row.planned or row.since is None:
        return None
    here = done - row.before
    return (now - row.since).total_seconds() * (row.size - done) / here if here > 0 else None


async def read_board(s: Jobs) -> Board:
    """Read all walks and slices. Only reads."""
    return Board.of([cursor async for cursor in s.cursors.all()])


async def read_walk(name: str, s: Jobs) -> WalkRow | None:
    """Return a walk, or None. Only reads."""
    stored = await s.cursors.read(name)
    return WalkRow.of(stored.value) if stored is not None else None


def new_run() -> str:
    """Return a unique name for a run."""
    return uuid4().hex[:12]


async def write_walk(row: WalkRow, stored: Stored[Cursor] | None, s: Jobs) -> None:
    """
    Replace a walk's row under its ETag, and revoke its lease: the former holder reads it again.

    Raises
    ------
    StoreConflict
        Another writer came first.
    """
    cursor = Cursor(name=row.name, position=row.position, advanced_at=s.clock.now())
    await s.cursors.write(cursor, stored.etag if stored is not None else None)


async def end_walk(row: WalkRow, state: WalkState, board: Board, s: Jobs, *, problem: str = "") -> bool:
    """
    Record that a run is over, with its total counts. Idempotent; of two simultaneous calls one succeeds.

    Parameters
    ----------
    problem
        Code of the failure that ended it.

    Returns
    -------
    bool
        Whether this call ended the run.
    """
    counts = board.progress(row, s.clock.now()).counts
    stored = await s.cursors.read(row.name)
    latest = WalkRow.of(stored.value) if stored is not None else None
    if latest is None or latest.run != row.run or not latest.state.is_open:
        return False
    if state is WalkState.DONE and latest.asked != row.asked:
        return False  # requested again since the board was read: slices were reopened
    # Sum and state in one write, and the slices are deleted later: so nothing counts twice, whatever crashes in
    # between.
    over = replace(latest, state=state, counts=counts, problem=problem)
    return await unless_conflict(write_walk(over, stored, s))


async def remove_leftovers(board: Board, s: Jobs) -> int:
    """
    Delete slices whose run is over. Idempotent.

    Returns
    -------
    int
        How many were deleted.
    """
    removed = 0
    for run, slices in board.slices.items():
        # Read again: the board is no snapshot, and a run that began while it was read has slices but no walk in it.
        try:
            latest = await read_walk(slices[0].walk, s)
        except UnreadableRow:
            continue  # it may belong to such a walk, for which another version decides
        if latest is not None and latest.run == run and latest.state.is_open:
            continue
        await s.cursors.delete_all([piece.name for piece in slices])
        removed += len(slices)
    return removed
