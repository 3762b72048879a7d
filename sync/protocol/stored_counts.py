"""
Counts of tables as their cursors keep them: the last complete one, and how far the present one is.

`sync.monitoring.counts` counts on and writes them; `sync.protocol.removals` takes a share of what was counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sync.model import Cursor
from sync.model.circles import Passed
from sync.model.timestamps import Timestamp
from sync.ports import Tally
from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPages(Tally):
    """What was counted of a table, on how many pages; ``at``: when its end was reached, None before."""

    pages: int = 1
    at: Timestamp | None = None
    passed: Passed = field(default_factory=Passed)
    """Tokens of the pages, until the end was reached."""

    def on(self, page: Tally) -> CountedPages:
        """Add the next page."""
        tally = self + page
        return CountedPages(
            counts=tally.counts,
            oldest=tally.oldest,
            groups=tally.groups,
            token=tally.token,
            pages=self.pages + 1,
            passed=self.passed.then(page.token),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCount:
    """The last complete count of a table, and the one that is under way; None where there is none."""

    kept: CountedPages | None = None
    walk: CountedPages | None = None


STORED_COUNT: RowValue[StoredCount] = RowValue(StoredCount)


def stored_count(cursor: Cursor | None) -> StoredCount:
    """Return what a cursor keeps; nothing where it is in no form that is known, for then the table is counted again."""
    if cursor is None:
        return StoredCount()
    return STORED_COUNT.read_or(StoredCount(), cursor.position, row=cursor.name)
