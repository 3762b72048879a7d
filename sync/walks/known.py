"""
What a listing names and the table knows already: found by the folder instead of by the object.

    batches of a listing  ->  the rows of their folders, a thousand a request  ->  batches without what is unchanged

`sync.walks.backfill` walks over what is left. Rows of a folder spread over few partitions, so that one request answers
for up to a thousand objects. A partition that holds far more rows than the page names objects of it (a flat container)
is left alone: then each object's row is read by itself, as it is whenever the table does not answer here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import replace

from sync.errors import StoreUnavailable
from sync.model import Batch, Change
from sync.ports import Ingest

AT_ONCE = 16
"""Partitions that are read at the same time."""

ONE_REQUEST = 1000
"""Rows that one request of Table Storage returns at most; of each partition at least these may be read."""

ROWS_AN_OBJECT = 8
"""Rows that may be read for each object that the page names of a partition."""

REMEMBERED = 16
"""Partitions whose rows are kept for the next pages; a folder mostly spans neighbouring pages."""

_Rows = Mapping[str, str | None]


async def without_known(batches: AsyncIterator[Batch], s: Ingest) -> AsyncIterator[Batch]:
    """
    Iterate over the batches, counting in ``unchanged`` what is known with the ETag that the listing names. Only reads.

    A row may be older than the listing by the length of the walk, and proves as much: the object was inspected to the
    end with this ETag, and ETags never return. Objects without a row come out as ``likely_new``.
    """
    remembered: OrderedDict[str, _Rows | None] = OrderedDict()
    async for batch in batches:
        await _remember(batch, remembered, s)
        left = [_judged(change, remembered.get(change.object.key.partition)) for change in batch.changes]
        changes = [change for change in left if change is not None]
        yield replace(batch, changes=changes, unchanged=batch.unchanged + len(left) - len(changes))
        while len(remembered) > REMEMBERED:
            remembered.popitem(last=False)


async def _remember(batch: Batch, remembered: OrderedDict[str, _Rows | None], s: Ingest) -> None:
    named = Counter(change.object.key.partition for change in batch.changes)
    slots = asyncio.Semaphore(AT_ONCE)

    async def read(partition: str, objects: int) -> None:
        async with slots:
            with suppress(StoreUnavailable):  # then each row is read by itself, and tried again there
                most = max(ONE_REQUEST, ROWS_AN_OBJECT * objects)
                remembered[partition] = await s.locators.etags(partition, most)

    async with asyncio.TaskGroup() as group:
        for partition, objects in named.items():
            # A lone object is read by itself: its partition may be large.
            if objects > 1 and partition not in remembered:
                group.create_task(read(partition, objects))


def _judged(change: Change, rows: _Rows | None) -> Change | None:
    """Return the change that is left to be made; None where there is none."""
    if rows is None:
        return change
    row = change.object.key.row
    if row not in rows:
        return replace(change, likely_new=True)
    return None if change.etag is not None and rows[row] == change.etag else change
