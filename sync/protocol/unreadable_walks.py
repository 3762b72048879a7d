"""
Rows of walks that this version does not understand: which walk each is of, as far as that can be told.

`sync.protocol.walk_rows` meets them; operators see and end them (`sync.operators.unreadable_walks`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.errors import UnreadableRow
from sync.model import Cursor, digest
from sync.protocol.row_values import RowValue

SLICE = "slice "
"""How names of slice rows begin; the name of the run and a number follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    run: str = ""


_RUN: RowValue[_Run] = RowValue(_Run)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableWalk:
    """A row of a walk that is not in the form of this version: its name, and that of its run."""

    name: str
    run: str
    problem: UnreadableRow

    @classmethod
    def of(cls, cursor: Cursor, problem: UnreadableRow) -> UnreadableWalk:
        """Tell which run a row is of; where it does not say, the id of the walk is a digest of the row's name."""
        if cursor.name.startswith(SLICE):
            run = cursor.name.removeprefix(SLICE).partition(" ")[0]
        else:
            run = _RUN.read_or(_Run(), cursor.position, row=cursor.name).run
        return cls(name=cursor.name, run=run or digest(cursor.name, length=12), problem=problem)

    @property
    def is_slice(self) -> bool:
        """Whether it is the row of a slice, and not that of the walk."""
        return self.name.startswith(SLICE)
