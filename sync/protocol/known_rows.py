"""
Reads the rows of many objects by their folders: a thousand per request instead of one request each.

The rows of a folder are spread over a few partitions. A partition that holds far more rows than are asked for (a flat
container) is skipped. Then each object's row is read by itself, and also whenever the table does not answer here.
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
"""Maximum number of rows in one answer of Table Storage; of each partition at least these may be read."""

ROWS_AN_OBJECT = 8
"""Rows of a partition that may be read per requested object."""

Rows = Mapping[str, str | None]
"""Row key of an object -> the ETag under which it was last inspected to the end, None if it was not."""

T = TypeVar("T")


async def rows_of(keys: Iterable[ObjectKey], s: Locate, *, besides: Collection[str] = ()) -> dict[str, Rows | None]:
    """
    Return partition -> its rows, None for a partition with too many. Only reads.

    A partition with a single requested object is left out, because the partition may be large; so is one for which the
    table did not answer.

    Parameters
    ----------
    besides
        Partitions to leave out.
    """
    return await _by_partition(keys, s.locators.etags, besides)


async def locators_of(keys: Iterable[ObjectKey], s: Locate, *, at_least: int | None = None) -> dict[ObjectKey, Locator]:
    """
    Return the whole rows, by object, of the partitions that `rows_of` would return. Only reads.

    Parameters
    ----------
    at_least
        Rows of each partition that may be read, however few of its objects are requested; by default as many as one
        request returns.
    """
    rows = await stored_locators_of(keys, s, at_least=at_least)
    return {key: stored.value for key, stored in rows.items()}


async def stored_locators_of(
    keys: Iterable[ObjectKey], s: Locate, *, at_least: int | None = None
) -> dict[ObjectKey, Stored[Locator]]:
    """Return the rows of `locators_of` with their ETags. Only reads."""
    rows = await _by_partition(keys, s.locators.rows, at_least=at_least)
    return {stored.value.object.key: stored for of_partition in rows.values() for stored in of_partition or ()}


async def inspected_of(listed: Sequence[ListedObject], s: Ingest) -> frozenset[ObjectKey]:
    """
    Return the listed objects that were inspected to the end with the ETag that the listing names. Only reads.

    The rows are read after the listing. An older row would prove as much, because an ETag never recurs. An object that
    is not returned may still have been inspected; its row shows it.
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
