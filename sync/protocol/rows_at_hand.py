"""
Rows of objects that were read together, for code that then inspects these objects one by one.

A row may be old as long as it was read before its object: a claim is written under the row's ETag, so if another
delivery came in between, that write conflicts and the row is read again. For that reason each row here serves once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence

from sync.model import Locator, ObjectKey, ObjectRef, Stored
from sync.ports import Locators


class RowsAtHand(Locators):
    """
    `Locators` with some rows already read; also remembers each row last read or written until `take_last` asks for it.

    Parameters
    ----------
    rows
        Rows already read. Each is removed at the first read of its object.
    """

    def __init__(self, inner: Locators, rows: MutableMapping[ObjectKey, Stored[Locator]]) -> None:
        self._inner = inner
        self._rows = rows
        self._last: dict[ObjectKey, Locator] = {}

    def take_last(self, key: ObjectKey) -> Locator | None:
        """Return an object's row as it was last read or written, and forget it; None when it was neither."""
        return self._last.pop(key, None)

    async def read(self, ref: ObjectRef) -> Stored[Locator] | None:
        """Return the row, or None; the first time from the rows already read."""
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
