"""
Counts of tables in their cursors: the last complete count, and the progress of the present one.

`sync.monitoring.counts` continues and writes them; `sync.protocol.removals` computes a share of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sync.model import Cursor
from sync.model.circles import Passed
from sync.model.timestamps import Timestamp
from sync.ports import Tally
from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPages(Tally):
    """The count of a table so far, and on how many pages; ``at`` is when its end was reached, None before."""

    pages: int = 1
    at: Timestamp | None = None
    passed: Passed = field(default_factory=Passed)
    """Tokens of the pages, until the end is reached."""

    def on(self, page: Tally) -> CountedPages:
        """Add the next page."""
        return replace(self + page, pages=self.pages + 1, passed=self.passed.then(page.token))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCount:
    """The last complete count of a table, and the one in progress; None if there is none."""

    kept: CountedPages | None = None
    walk: CountedPages | None = None


STORED_COUNT: RowValue[StoredCount] = RowValue(StoredCount)


def stored_count(cursor: Cursor | None) -> StoredCount:
    """Return the count in a cursor; an empty one if its form is unknown, so that the table is counted again."""
    if cursor is None:
        return StoredCount()
    return STORED_COUNT.read_or(StoredCount(), cursor.position, row=cursor.name)
