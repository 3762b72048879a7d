"""
The status of change feeds: each feed's position, and the problem that keeps it from advancing.

`sync.feeds` writes the rows. Rows of a DICOM service and of an Orthanc have different fields; this module has all of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sync.errors import UnreadableRow
from sync.model import Cursor
from sync.model.timestamps import Timestamp
from sync.protocol.feed_problems import PROBLEM, FeedProblem
from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStand:
    """
    Position of a feed: times and the highest ``sequence`` of a DICOM service; a number, ``since``, of an Orthanc.

    A field is None before the feed is read, and if its kind of feed does not have the field.
    """

    until: Timestamp | None = None
    sequence: int | None = None
    since: int | Timestamp | None = None
    checked: Timestamp | None = None


STAND: RowValue[FeedStand] = RowValue(FeedStand)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """State of a change feed: when it last moved or was at its end, its position, and the problem that stops it."""

    read_at: Timestamp | None
    position: FeedStand = field(default_factory=FeedStand)
    problem: FeedProblem = field(default_factory=FeedProblem)
    """Empty if the last run had none; in JSON, its fields stand beside ``position``."""

    @classmethod
    def of(cls, row: Cursor) -> FeedState:
        """Return the state in a feed's row; an unreadable row does not prevent other feeds from being shown."""
        try:
            stand, problem = STAND.read(row.position, row=row.name), PROBLEM.read(row.position, row=row.name)
        except UnreadableRow as refusal:
            return cls(read_at=row.advanced_at, problem=FeedProblem(error=refusal.code, hint=refusal.hint))
        return cls(read_at=row.advanced_at, position=stand, problem=problem)

    def as_json(self) -> dict[str, Any]:
        """Return the state as the status tells it: the problem beside the position, without empty fields."""
        position = {name: value for name, value in STAND.write(self.position).items() if value is not None}
        problem = {name: value for name, value in PROBLEM.write(self.problem).items() if value}
        read_at = self.read_at.isoformat() if self.read_at is not None else None
        return {"read_at": read_at, "position": position, **problem}
