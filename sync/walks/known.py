"""
Finds the objects of a listing that are recorded already, by folder instead of one by one.

    batches of a listing  ->  the rows of their folders, a thousand per request  ->  batches without what is unchanged

`sync.walks.backfill` walks over the remaining objects; `sync.protocol.known_rows` reads the rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace

from sync.model import Batch, Change
from sync.ports import Ingest
from sync.protocol.known_rows import Rows, rows_of

REMEMBERED = 16
"""Partitions whose rows are kept for the next pages; a folder usually spans neighbouring pages."""


async def without_known(batches: AsyncIterator[Batch], s: Ingest) -> AsyncIterator[Batch]:
    """
    Iterate over the batches, counting in ``unchanged`` the objects whose rows have the ETag of the listing. Only reads.

    A row may be older than the listing by the length of the walk and still proves that the object was inspected to the
    end with this ETag, because ETags never recur. Objects without a row are marked ``likely_new``.
    """
    remembered: OrderedDict[str, Rows | None] = OrderedDict()
    async for batch in batches:
        await _remember(batch, remembered, s)
        left = [_judged(change, remembered.get(change.object.key.partition)) for change in batch.changes]
        changes = [change for change in left if change is not None]
        yield replace(batch, changes=changes, unchanged=batch.unchanged + len(left) - len(changes))
        while len(remembered) > REMEMBERED:
            remembered.popitem(last=False)


async def _remember(batch: Batch, remembered: OrderedDict[str, Rows | None], s: Ingest) -> None:
    remembered.update(await rows_of((change.object.key for change in batch.changes), s, besides=remembered))


def _judged(change: Change, rows: Rows | None) -> Change | None:
    """Return the change to process; None if the object is unchanged."""
    if rows is None:
        return change
    row = change.object.key.row
    if row not in rows:
        return replace(change, likely_new=True)
    return None if change.etag is not None and rows[row] == change.etag else change
