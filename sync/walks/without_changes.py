"""
Kinds of walks whose batches hold no changes: comparisons and exports, whose batches come with their work done.

Source: `sync.walks.sharing.Kind`, of which this is the half that deals with changes.
"""

from __future__ import annotations

from sync.errors import PermanentError
from sync.model import Change
from sync.ports import ReadFeeds
from sync.protocol.walk_rows import WalkRow
from sync.walks.walk import Walk, Work


class WithoutChanges:
    """What such a kind does with a change: there is none."""

    def work(self, row: WalkRow, walk: Walk, s: ReadFeeds) -> Work:  # noqa: ARG002 -- as each kind is asked
        """Return what is never called."""
        return _no_change

    async def give_up(self, walk: Walk, s: ReadFeeds, change: Change, refusal: PermanentError) -> None:  # noqa: ARG002
        """Never called, likewise."""
        await _no_change(change)


async def _no_change(change: Change) -> None:
    raise AssertionError(f"a walk without changes has met one: {change.action}")
