"""
Rows of objects that were read together, for those who inspect these objects one by one.

A row that was read before its object is right however old it is: a claim is written under its ETag, and where another
delivery came in between, that write is a conflict and the row is read again. So each row here serves once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence

from sync.model import Locator, ObjectKey, ObjectRef, Stored
from sync.ports import Locators


class RowsAtHand(Locators):
    """
    The rows of objects, some of which are at hand; and each row that was read or written last, until it is asked for.

    Parameters
    ----------
    rows
        Rows at hand. Each is taken out when its object is read first.
    """

    def __init__(self, inner: Locators, rows: MutableMapping[ObjectKey, Stored[Locator]]) -> None:
        self._inner = inner
        self._rows = rows
        self._last: dict[ObjectKey, Locator] = {}

    def take_last(self, key: ObjectKey) -> Locator | None:
        """Return an object's row as it was read or written last, and forget it; None where it was neither."""
        return self._last.pop(key, None)

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None; from those at hand the first time."""
        stored = self._rows.pop(ref.key, None) or await self._inner.read(ref)
        if stored is not None:
            self._last[ref.key] = stored.value
        return stored

    async def find(self, key: ObjectKey) -> Stored[Locator] | None:
        """Return the row by key alone."""
        return await self._inner.find(key)

    def folder(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of a folder's objects."""
        return self._inner.folder(account, container, folder)

    async def etags(self, partition: str, most: int) -> Mapping[str, str | None] | None:
        """Return the objects of a partition by row key."""
        return await self._inner.etags(partition, most)

    async def rows(self, partition: str, most: int) -> Sequence[Stored[Locator]] | None:
        """Return the rows of a partition."""
        return await self._inner.rows(partition, most)

    def below(self, account: str, container: str, folder: str) -> AsyncIterator[Locator]:
        """Iterate over the rows of objects below a folder."""
        return self._inner.below(account, container, folder)

    async def insert(self, locator: Locator) -> str:
        """Write a new row; `StoreConflict` when there is one."""
        etag = await self._inner.insert(locator)
        self._last[locator.object.key] = locator
        return etag

    async def replace(self, locator: Locator, etag: str) -> str:
        """Replace the row; `StoreConflict` unless its ETag is the given one."""
        new = await self._inner.replace(locator, etag)
        self._last[locator.object.key] = locator
        return new
