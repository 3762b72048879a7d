"""
Rows of a walk that several processes share: the request, and the slices that it is cut into.

    walk row                one a walk: request, state, how far it is cut, what was counted once it is over
    slice rows              one per slice: its range, how far its holder is, what was counted in it

All are rows of table ``cursors``, and the lease of a row is `sync.protocol.leases`: the holder of a slice's lease works
on it, the holder of the walk's lease cuts slices. A run has a name of its own, so that slices of an earlier run are
never mistaken for those of this one. A walk's own row is changed under its ETag by operators too; who held its lease
then finds out at the next write.
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
        """Whether it is not over."""
        return self in {WalkState.RUNNING, WalkState.PAUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor:
    """What requests of all kinds may say, for operators; all else is the kind's own."""

    id: str = ""
    container: str | None = None
    repair: bool = False


_ASKED_FOR: RowValue[AskedFor] = RowValue(AskedFor)


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkRow:
    """
    One walk.

    ``name`` is that of its cursor; ``request`` and ``plan`` are the kind's own values, as it keeps them. ``plan`` is
    where cutting stands, ``made`` the slices cut so far, ``size`` what they hold together in ``unit``; ``planned``:
    there will be no more. ``rate``: studies a second that all workers together may mark at most, None for no limit.
    ``asked`` counts how often it was asked for while it ran. ``since`` and ``before`` are when the present stretch of
    work began and how much was done by then: a pause counts in no estimate.
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
        """What its request says in the way of all kinds."""
        return _ASKED_FOR.read(self.request, row=self.name)

    @property
    def id(self) -> str:
        """What operators call it: the name that the request gives itself, else that of the run."""
        return self.asked_for.id or self.run

    @property
    def what(self) -> str:
        """What operators call its kind: without what tells processes apart that do not share a walk."""
        return self.kind.partition("@")[0]

    @property
    def position(self) -> Json:
        """What the cursor keeps. Inverse of `of`."""
        return {name: value for name, value in _WALK.write(self).items() if name != "name"}

    @classmethod
    def of(cls, cursor: Cursor) -> WalkRow | None:
        """
        Return the walk of a row; None where it is of something else.

        Raises
        ------
        UnreadableRow
            It is of a walk, in a form that this version does not know.
        """
        if "run" not in cursor.position or "kind" not in cursor.position:
            return None
        row = _WALK.read({**cursor.position, "name": cursor.name}, row=cursor.name)
        _ASKED_FOR.read(row.request, row=row.name)  # refused here rather than where it is shown
        return row

    def slice_name(self, number: int) -> str:
        """Name of the row of a slice of this run."""
        return f"{SLICE}{self.run} {number:05d}"


_WALK: RowValue[WalkRow] = RowValue(WalkRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """
    One slice of a run: ``scope`` is what it covers, ``at`` how far its holder came, both the kind's own values.

    ``following`` is where cutting continues after it: a slice that an earlier version wrote before the walk's row noted
    it is found there again, and taken over as it is. ``grows``: more may come to what it covers, after it was done too.
    ``needs``: how many slices from the first on have to be done before it.
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
    at: Json = field(default_factory=dict)
    done: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    holder: str = ""
    held_until: datetime | None = None

    @property
    def position(self) -> Json:
        """What the cursor keeps."""
        return {name: value for name, value in _SLICE.write(self).items() if name not in _OF_LEASES}

    @classmethod
    def of(cls, cursor: Cursor) -> Slice | None:
        """
        Return the slice of a row; None for a row of something else, and for one that has been deleted.

        Raises
        ------
        UnreadableRow
            It is of a slice, in a form that this version does not know.
        """
        if not cursor.name.startswith(SLICE) or "run" not in cursor.position:
            return None
        lease = {"name": cursor.name, "holder": cursor.holder, "held_until": cursor.held_until}
        return _SLICE.read({**cursor.position, **lease}, row=cursor.name)

    def is_free(self, now: datetime) -> bool:
        """Whether it is left to do, and no process works on it."""
        return not self.done and not self.is_held(now)

    def is_held(self, now: datetime) -> bool:
        """Whether a process works on it."""
        return bool(self.holder) and self.held_until is not None and self.held_until > now

    def units_done(self, unit: str) -> float:
        """How much of its size is done; within a slice only what is counted one by one can be told."""
        return float(self.size) if self.done else min(units_of(self.counts, unit), float(self.size))


_SLICE: RowValue[Slice] = RowValue(Slice)

_OF_LEASES = frozenset({"name", "holder", "held_until"})
"""What a slice's row has beside its position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkProgress:
    """
    How far a walk is, over all its slices.

    ``share`` is between 0 and 1, None while it is not cut to the end, for then the whole is unknown, and after it was
    cancelled or has failed; ``seconds_left`` likewise, and while nothing is done yet.
    """

    row: WalkRow
    counts: Mapping[str, int]
    share: float | None
    seconds_left: float | None
    slices: int
    slices_done: int
    workers: int
    problem: str = ""
    """Code of what made it fail, or of what keeps it from its end: one of its slices is unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """
    All walks, and their slices by run, as one scan of the rows found them.

    Rows that this version does not understand are in neither, so that they hold no other walk up: without one of its
    slices a walk does not end.
    """

    walks: Mapping[str, WalkRow]
    slices: Mapping[str, Sequence[Slice]]
    unreadable: Sequence[UnreadableWalk] = ()

    @classmethod
    def of(cls, cursors: Sequence[Cursor]) -> Board:
        """Sort rows of the cursors; those of other jobs are left out."""
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
        """Return the slices of a walk that are left to do, that no process works on, and that need wait for none."""
        slices = self.of_walk(row)
        # The board is no snapshot: where a slice is missing, what comes behind it waits.
        done = 0
        while done < len(slices) and slices[done].done and slices[done].name == row.slice_name(done):
            done += 1
        return [piece for piece in slices if piece.is_free(now) and piece.needs <= done]

    def unreadable_of(self, run: str) -> list[UnreadableWalk]:
        """Return the rows of a run that this version does not understand, that of the walk first."""
        return sorted((one for one in self.unreadable if one.run == run), key=lambda one: (one.is_slice, one.name))

    def units_done(self, row: WalkRow) -> float:
        """How much of the walk is done, in its unit."""
        return sum(piece.units_done(row.unit) for piece in self.of_walk(row))

    def is_complete(self, row: WalkRow) -> bool:
        """Whether every slice that the walk was cut into is done, and there will be no more."""
        return row.planned and sum(piece.done for piece in self.of_walk(row)) >= row.made

    def progress(self, row: WalkRow, now: datetime) -> WalkProgress:
        """Add the slices up. Pure."""
        slices = self.of_walk(row)
        counts = Counter(row.counts)
        if row.state.is_open:
            for piece in slices:
                counts.update(piece.counts)
        done = self.units_done(row)
        # Of one that was cancelled or failed the slices are gone, and with them how much was done.
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
    """Expect that the rest goes as fast as the present stretch of work did."""
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
    """Return a name for a run that no other has."""
    return uuid4().hex[:12]


async def write_walk(row: WalkRow, stored: Stored[Cursor] | None, s: Jobs) -> None:
    """
    Write a walk's row over what was read, and take its lease away: who held it reads it again.

    Raises
    ------
    StoreConflict
        Another writer came first.
    """
    cursor = Cursor(name=row.name, position=row.position, advanced_at=s.clock.now())
    await s.cursors.write(cursor, stored.etag if stored is not None else None)


async def end_walk(row: WalkRow, state: WalkState, board: Board, s: Jobs, *, problem: str = "") -> bool:
    """
    Note that a run is over, with what was counted in all of it. Idempotent; of two at once one does.

    Parameters
    ----------
    problem
        Code of what made it fail.

    Returns
    -------
    bool
        Whether this call did it.
    """
    counts = board.progress(row, s.clock.now()).counts
    stored = await s.cursors.read(row.name)
    latest = WalkRow.of(stored.value) if stored is not None else None
    if latest is None or latest.run != row.run or not latest.state.is_open:
        return False
    if state is WalkState.DONE and latest.asked != row.asked:
        return False  # asked for again since the board was read: slices were reopened
    # The sum in one write with the state, and the slices go later: so nothing counts twice, whatever dies in between.
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
            continue  # it may be theirs: another version decides
        if latest is not None and latest.run == run and latest.state.is_open:
            continue
        await s.cursors.delete_all([piece.name for piece in slices])
        removed += len(slices)
    return removed
