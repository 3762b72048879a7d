"""
Chooses the free slice that a worker takes: a slice that other workers are not about to take.

    all rows are read -> a slice -> the one behind it, and so on -> another worker's slice, or a second is over: again

Looking for slices means reading every row, so a worker takes several slices per look. Its knowledge may be out of date:
each slice is read again under its lease, and one that is held or done costs a request.
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
"""Seconds for which a worker chooses slices by one look."""

Candidate = tuple[WalkRow, Slice]
"""A free slice, and its walk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The state of all walks when a worker read them; ``held`` names the slices that others worked on."""

    board: Board
    free: Sequence[Candidate]
    held: frozenset[str]
    until: float

    @classmethod
    def at(cls, board: Board, free: Sequence[Candidate], now: datetime) -> Self:
        """Return a look with the free slices of a board."""
        held = (piece.name for slices in board.slices.values() for piece in slices if piece.is_held(now))
        return cls(board=board, free=free, held=frozenset(held), until=time.monotonic() + LOOK_SECONDS)

    def without(self, taken: Slice) -> Self | None:
        """Return the look without a slice that was taken; None when it is time to look again."""
        free = [candidate for candidate in self.free if candidate[1].name != taken.name]
        return replace(self, free=free) if free and time.monotonic() < self.until else None

    def choose(self, last: Slice | None, *, but: Collection[str]) -> Candidate:
        """
        Choose a slice, avoiding those named if there is another.

        Large slices come first, because at the end all workers wait for the slice begun last. Among them, the slice
        behind the last one is chosen if it is free; else one that others reach late, because they proceed in the same
        way. It is a random one of these: if all workers tried the same slice, all but one would fail.
        """
        some = [candidate for candidate in self.free if candidate[1].name not in but] or self.free
        following = [candidate for candidate in some if last is not None and _follows(candidate[1], last)]
        row, _ = following[0] if following else random.choice(some)  # noqa: S311 -- spreads load, guards nothing
        of_walk = [candidate for candidate in some if candidate[0].name == row.name]
        largest = max(piece.size for _, piece in of_walk)
        large = [candidate for candidate in of_walk if 2 * candidate[1].size >= largest]
        return next((one for one in following if one in large), None) or random.choice(self._late(row, large))  # noqa: S311

    def _late(self, row: WalkRow, some: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return half of the candidates: those with the most work between them and the worker before them."""
        distances, distance = dict[str, int](), 0
        for piece in self.board.of_walk(row):
            distance = 0 if piece.name in self.held else distance + (not piece.done)
            distances[piece.name] = distance
        in_order = sorted(some, key=lambda candidate: distances.get(candidate[1].name, 0), reverse=True)
        return in_order[: (len(in_order) + 1) // 2] if self.held else in_order


def _follows(piece: Slice, other: Slice) -> bool:
    """Return whether the slice is the next one of the same run."""
    return piece.run == other.run and int(piece.name[-5:]) == int(other.name[-5:]) + 1
