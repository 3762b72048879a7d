"""
The problem that keeps a change feed from advancing, in the feed's own row: `sync.feeds` writes it, the status shows it.

It stays until the feed advances, and says when to ask the service again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.model.timestamps import Timestamp
from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedProblem:
    """The problem of the last run, kept until the feed's position moves: a code, a hint, and when to read again."""

    error: str = ""
    hint: str = ""
    not_before: Timestamp | None = None


PROBLEM: RowValue[FeedProblem] = RowValue(FeedProblem)
