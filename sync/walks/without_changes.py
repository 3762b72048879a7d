"""
Base of walks whose batches hold no changes: comparisons and exports, which do their work while reading a batch.

It provides the half of `sync.walks.sharing.Kind` that processes changes.
"""

from __future__ import annotations

from sync.errors import PermanentError
from sync.model import Change
from sync.ports import ReadFeeds
from sync.protocol.walk_rows import WalkRow
from sync.walks.walk import Walk, Work


class WithoutChanges:
    """The methods for changes, of which there are none."""

    def work(self, row: WalkRow, walk: Walk, s: ReadFeeds) -> Work:  # noqa: ARG002 -- as each kind is asked
        """Return a function that is never called."""
        return _no_change

    async def give_up(self, walk: Walk, s: ReadFeeds, change: Change, refusal: PermanentError) -> None:  # noqa: ARG002
        """Never called either."""
        await _no_change(change)


async def _no_change(change: Change) -> None:
    raise AssertionError(f"a walk without changes has met one: {change.action}")
