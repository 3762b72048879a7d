"""
Rows of many objects, found by their folders: a thousand per request, instead of one request each.

Rows of a folder spread over few partitions. A partition that holds far more rows than objects are asked for (a flat
container) is left alone: then each object's row is read by itself, as it is whenever the table does not answer here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from sync.errors import StoreUnavailable
from sync.model import ListedObject, Locator, ObjectKey, Stored
from sync.ports import Ingest, Locate

AT_ONCE = 16
"""Partitions that are read at the same time."""

ONE_REQUEST = 1000
"""Rows that one request of Table Storage returns at most; of each partition at least these may be read."""

ROWS_AN_OBJECT = 8
"""Rows that may be read for each object that is asked for of a partition."""

Rows = Mapping[str, str | None]
"""Row key of an object -> its ETag if it was inspected to the end as it was then, else None."""

T = TypeVar("T")


async def rows_of(keys: Iterable[ObjectKey], s: Locate, *, besides: Collection[str] = ()) -> dict[str, Rows | None]:
    """
    Return partition -> its rows, None where there are too many. Only reads.

    A partition of which a single object is asked for is left out, as it may be large, and so is one that the table did
    not answer for.

    Parameters
    ----------
    besides
        Partitions that are left out.
    """
    return await _by_partition(keys, s.locators.etags, besides)


async def locators_of(keys: Iterable[ObjectKey], s: Locate, *, at_least: int | None = None) -> dict[ObjectKey, Locator]:
    """
    Return the whole rows of the partitions that `rows_of` would tell of, by object. Only reads.

    Parameters
    ----------
    at_least
        Rows that may be read of each partition, however few of its objects are asked for; by default as many as one
        request returns.
    """
    rows = await stored_locators_of(keys, s, at_least=at_least)
    return {key: stored.value for key, stored in rows.items()}


async def stored_locators_of(
    keys: Iterable[ObjectKey], s: Locate, *, at_least: int | None = None
) -> dict[ObjectKey, Stored[Locator]]:
    """Return what `locators_of` does, each row with its ETag. Only reads."""
    rows = await _by_partition(keys, s.locators.rows, at_least=at_least)
    return {stored.value.object.key: stored for of_partition in rows.values() for stored in of_partition or ()}


async def inspected_of(listed: Sequence[ListedObject], s: Ingest) -> frozenset[ObjectKey]:
    """
    Return the listed objects that were inspected to the end with the ETag that the listing names. Only reads.

    The rows are read after the listing; an older row would prove as much, for ETags never return. One that is not
    returned may still have been inspected: its row shows it.
    """
    rows = await rows_of((one.object.key for one in listed), s)
    return frozenset(one.object.key for one in listed if _etag_of(one.object.key, rows) == one.etag)


def _etag_of(key: ObjectKey, rows: Mapping[str, Rows | None]) -> str | None:
    return (rows.get(key.partition) or {}).get(key.row)


async def _by_partition(
    keys: Iterable[ObjectKey],
    read: Callable[[str, int], Awaitable[T | None]],
    besides: Collection[str] = (),
    at_least: int | None = None,
) -> dict[str, T | None]:
    slots, by_partition = asyncio.Semaphore(AT_ONCE), dict[str, T | None]()

    async def read_one(partition: str, objects: int) -> None:
        async with slots:
            with suppress(StoreUnavailable):  # then each row is read by itself, and tried again there
                by_partition[partition] = await read(
                    partition, max(ONE_REQUEST if at_least is None else at_least, ROWS_AN_OBJECT * objects)
                )

    async with asyncio.TaskGroup() as group:
        for partition, objects in Counter(key.partition for key in keys).items():
            if objects > 1 and partition not in besides:
                group.create_task(read_one(partition, objects))
    return by_partition
