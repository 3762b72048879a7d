"""
The status of change feeds: each feed's position, and the problem that keeps it from advancing.

`sync.feeds` writes the rows. Rows of a DICOM service and of an Orthanc have different fields; this module has all of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    Where a feed stands: of a DICOM service, times and the highest ``sequence``; of an Orthanc, ``since`` is a number.

    None where it was not read yet, and where the feed has no such field.
    """

    until: Timestamp | None = None
    sequence: int | None = None
    since: int | Timestamp | None = None
    checked: Timestamp | None = None


STAND: RowValue[FeedStand] = RowValue(FeedStand)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """How far a change feed was read: when it last moved or was at its end, where it stands, and what keeps it."""

    read_at: Timestamp | None
    position: FeedStand = field(default_factory=FeedStand)
    problem: FeedProblem = field(default_factory=FeedProblem)
    """Where there is something; in JSON beside ``position``."""

    @classmethod
    def of(cls, row: Cursor) -> FeedState:
        """Return the state in a feed's row; an unreadable row does not prevent other feeds from being shown."""
        try:
            stand, problem = STAND.read(row.position, row=row.name), PROBLEM.read(row.position, row=row.name)
        except UnreadableRow as refusal:
            return cls(read_at=row.advanced_at, problem=FeedProblem(error=refusal.code, hint=refusal.hint))
        return cls(read_at=row.advanced_at, position=stand, problem=problem)


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `FeedState` as JSON of the status: the problem beside the position, without empty fields."""
    position = {name: value for name, value in state["position"].items() if value is not None}
    problem = {name: value for name, value in state["problem"].items() if value}
    return {"read_at": state["read_at"], "position": position, **problem}
