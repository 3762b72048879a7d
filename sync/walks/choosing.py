"""
Which free slice a worker takes: one that others are not about to take.

    all rows are read  ->  a slice  ->  the one behind it, and so on  ->  others are met, or a second is over: again

A look reads every row, so a worker takes several slices by one. What it saw may be over by then: each slice is read
again under its lease, and one that another process has or this one has done costs a request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from sync.protocol.walk_rows import Board, Slice, WalkRow

LOOK_SECONDS = 1.0
"""Seconds for which a worker takes slices by what it saw."""

Candidate = tuple[WalkRow, Slice]
"""A slice that is free, and its walk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a worker saw of all walks; ``held`` names the slices that others were at work on."""

    board: Board
    free: Sequence[Candidate]
    held: frozenset[str]
    until: float

    @classmethod
    def at(cls, board: Board, free: Sequence[Candidate], now: datetime) -> Self:
        """Return it, with the slices of a board that are free."""
        held = (piece.name for slices in board.slices.values() for piece in slices if piece.is_held(now))
        return cls(board=board, free=free, held=frozenset(held), until=time.monotonic() + LOOK_SECONDS)

    def without(self, taken: Slice) -> Self | None:
        """Return it without a slice that was taken; None where it is time to look again."""
        free = [candidate for candidate in self.free if candidate[1].name != taken.name]
        return replace(self, free=free) if free and time.monotonic() < self.until else None

    def choose(self, last: Slice | None, *, but: Collection[str]) -> Candidate:
        """
        Choose a slice, none of those named where there is another.

        Large ones first: for what one worker begins last, the others wait. Of these the one behind the last, if it is
        free. Else one that others reach late, for they go on in the same way; any of these, for if all workers tried
        the same, all but one would fail.
        """
        some = [candidate for candidate in self.free if candidate[1].name not in but] or self.free
        following = [candidate for candidate in some if last is not None and _follows(candidate[1], last)]
        row, _ = following[0] if following else random.choice(some)  # noqa: S311 -- spreads load, guards nothing
        of_walk = [candidate for candidate in some if candidate[0].name == row.name]
        largest = max(piece.size for _, piece in of_walk)
        large = [candidate for candidate in of_walk if 2 * candidate[1].size >= largest]
        return next((one for one in following if one in large), None) or random.choice(self._late(row, large))  # noqa: S311

    def _late(self, row: WalkRow, some: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return half of the candidates: those with most to do between them and the worker that comes before them."""
        distances, distance = dict[str, int](), 0
        for piece in self.board.of_walk(row):
            distance = 0 if piece.name in self.held else distance + (not piece.done)
            distances[piece.name] = distance
        in_order = sorted(some, key=lambda candidate: distances.get(candidate[1].name, 0), reverse=True)
        return in_order[: (len(in_order) + 1) // 2] if self.held else in_order


def _follows(piece: Slice, other: Slice) -> bool:
    """Whether it is the next one of the same run."""
    return piece.run == other.run and int(piece.name[-5:]) == int(other.name[-5:]) + 1
