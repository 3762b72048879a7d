"""
Feeds that are configured and were never read: a wrong address, a refusal from the first day on, a disabled timer.

The cursor of a feed says when the feed was last read. A feed that was never read has no cursor, and would be taken for
a feed without changes, so the time since which it is missing is kept in a separate row.
"""

from __future__ import annotations

from contextlib import suppress

from sync.errors import StoreConflict
from sync.model import Cursor
from sync.monitoring.counts import UNREAD_CURSOR, UNREAD_SINCE, feeds_of
from sync.ports import Jobs, Measure


async def note_unread_feeds(s: Measure) -> None:
    """
    Record since when each configured feed has been unread, and forget feeds that were read. Idempotent.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    feeds = feeds_of(s)
    if not feeds:
        return
    stored = await s.cursors.read(UNREAD_CURSOR)
    noted = UNREAD_SINCE.read_or({}, stored.value.position, row=UNREAD_CURSOR) if stored is not None else {}
    now = s.clock.now()
    missed = {name: noted.get(name, now) for name in feeds if not await _was_read(name, s)}
    if missed != noted:
        with suppress(StoreConflict):  # another watcher has noted the same
            await s.cursors.write(
                Cursor(name=UNREAD_CURSOR, position=UNREAD_SINCE.write(missed)),
                stored.etag if stored is not None else None,
            )


async def _was_read(name: str, s: Jobs) -> bool:
    row = await s.cursors.read(name)
    return row is not None and row.value.advanced_at is not None
