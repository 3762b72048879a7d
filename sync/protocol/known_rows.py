"""
Rows of many objects, found by their folders: a thousand a request, where each row by itself would cost one.

Rows of a folder spread over few partitions. A partition that holds far more rows than objects are asked for (a flat
container) is left alone: then each object's row is read by itself, as it is whenever the table does not answer here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from sync.errors import StoreUnavailable
from sync.ports import Ingest

AT_ONCE = 16
"""Partitions that are read at the same time."""

ONE_REQUEST = 1000
"""Rows that one request of Table Storage returns at most; of each partition at least these may be read."""

ROWS_AN_OBJECT = 8
"""Rows that may be read for each object that is asked for of a partition."""

Rows = Mapping[str, str | None]
"""Row key of an object -> its ETag if it was inspected to the end as it was then, else None."""


async def rows_of(named: Mapping[str, int], s: Ingest, *, besides: Collection[str] = ()) -> dict[str, Rows | None]:
    """
    Return partition -> its rows, None where there are too many. Only reads.

    Parameters
    ----------
    named
        Partition -> how many of its objects are asked for. One of which a single object is asked for is left out, for
        it may be large, and so is one that the table did not answer for.
    besides
        Partitions that are left out.
    """
    slots, rows = asyncio.Semaphore(AT_ONCE), dict[str, Rows | None]()

    async def read(partition: str, objects: int) -> None:
        async with slots:
            with suppress(StoreUnavailable):  # then each row is read by itself, and tried again there
                most = max(ONE_REQUEST, ROWS_AN_OBJECT * objects)
                rows[partition] = await s.locators.etags(partition, most)

    async with asyncio.TaskGroup() as group:
        for partition, objects in named.items():
            if objects > 1 and partition not in besides:
                group.create_task(read(partition, objects))
    return rows
