"""Rows in memory, as strict as those of Table Storage: the basis of all ports in memory."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

from sync.errors import StoreConflict
from sync.model import Stored

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_etags = itertools.count(1)
"""One counter for all tables: no ETag is ever repeated, not even for a row that was deleted and inserted again."""


class MemoryTable(Generic[K, V]):
    """Rows with ETags; gives Table Storage's guarantees for single entities."""

    def __init__(self) -> None:
        self._rows: dict[K, Stored[V]] = {}

    def get(self, key: K) -> Stored[V] | None:
        """Return the row, or None."""
        return self._rows.get(key)

    def upsert(self, key: K, value: V) -> str:
        """Insert or replace; return the new ETag."""
        etag = f"m{next(_etags)}"
        self._rows[key] = Stored(value, etag)
        return etag

    def insert(self, key: K, value: V) -> str:
        """Insert; `StoreConflict` when the row is there."""
        if key in self._rows:
            raise StoreConflict("the row is there already")
        return self.upsert(key, value)

    def replace(self, key: K, value: V, etag: str) -> str:
        """Replace; `StoreConflict` unless the row is there with this ETag."""
        self._check(key, etag)
        return self.upsert(key, value)

    def delete(self, key: K, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with this ETag."""
        self._check(key, etag)
        del self._rows[key]

    def discard(self, key: K) -> None:
        """Delete; a missing row is fine."""
        self._rows.pop(key, None)

    def values(self) -> list[V]:
        """Return all values; a copy, so that writes in between do no harm."""
        return [stored.value for stored in self._rows.values()]

    def _check(self, key: K, etag: str) -> None:
        stored = self._rows.get(key)
        if stored is None or stored.etag != etag:
            raise StoreConflict("the row is another one, or gone")
