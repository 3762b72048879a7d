"""
What keeps a change feed from moving, in the feed's own row: `sync.feeds` writes it, the status shows it.

It stays until the feed moves, and tells when to ask the service again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.model.timestamps import Timestamp
from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedProblem:
    """What the last run met, kept with the feed's position until it moves: a code, a hint, when to read again."""

    error: str = ""
    hint: str = ""
    not_before: Timestamp | None = None


PROBLEM: RowValue[FeedProblem] = RowValue(FeedProblem)
