"""
Rows of walks that this version does not understand: which walk each belongs to, as far as that is known.

`sync.protocol.walk_rows` finds them; operators see and end them (`sync.operators.unreadable_walks`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.errors import UnreadableRow
from sync.model import Cursor, digest
from sync.protocol.row_values import RowValue

SLICE = "slice "
"""Prefix of the names of slice rows; the name of the run and a number follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    ended_run: str = ""
    detail: str = ""


_RUN: RowValue[_Run] = RowValue(_Run)
_ENDED: RowValue[_Ended] = RowValue(_Ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableWalk:
    """
    A row of a walk in a form that this version does not know: the names of the row and of its run.

    A cancel ``ended`` it: then the row keeps nothing but which walk it was.
    """

    name: str
    run: str
    problem: UnreadableRow
    ended: bool = False

    @classmethod
    def of(cls, cursor: Cursor, problem: UnreadableRow) -> UnreadableWalk:
        """Make one from a row; if the row does not name its walk, the id is a digest of the row's name."""
        if cursor.name.startswith(SLICE):
            run = cursor.name.removeprefix(SLICE).partition(" ")[0]
        else:
            run = _RUN.read_or(_Run(), cursor.position, row=cursor.name).run
        return cls(name=cursor.name, run=run or digest(cursor.name, length=12), problem=problem)

    @classmethod
    def ended_in(cls, cursor: Cursor) -> UnreadableWalk | None:
        """Return the walk that a cancel ended in this row; None where it ended none."""
        was = _ENDED.read_or(_Ended(), cursor.position, row=cursor.name)
        if not was.ended_run:
            return None
        return cls(name=cursor.name, run=was.ended_run, problem=UnreadableRow(was.detail), ended=True)

    @property
    def row_when_ended(self) -> Cursor:
        """The walk's row after a cancel; a walk that begins later writes the same row."""
        return Cursor(name=self.name, position=_ENDED.write(_Ended(ended_run=self.run, detail=self.problem.detail)))

    @property
    def is_slice(self) -> bool:
        """Whether it is the row of a slice, not the walk's own row."""
        return self.name.startswith(SLICE)
