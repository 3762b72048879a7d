"""
Feeds that are configured and never were read: a wrong address, a refusal from the first day on, a timer switched off.

The cursor of a feed tells when it was read last. One that never was read tells nothing, and its feed would be taken for
one without news; so since when it is missed is kept apart.
"""

from __future__ import annotations

from contextlib import suppress

from sync.errors import StoreConflict
from sync.model import Cursor
from sync.monitoring.counts import UNREAD_CURSOR, UNREAD_SINCE, feeds_of
from sync.ports import Jobs, Measure


async def note_unread_feeds(s: Measure) -> None:
    """
    Keep since when each configured feed has been missed, and forget those that were read. Idempotent.

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
