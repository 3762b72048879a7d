"""The record of one study as an attempt last read or wrote it, so that recording the outcome needs no further read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sync.model import Projection, Stored, StudyRef
from sync.ports import Projections


class LastRecord(Projections):
    """Records for one attempt; ``last`` is that of its study."""

    def __init__(self, records: Projections) -> None:
        self._records = records
        self.last: Projection | None = None

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        stored = await self._records.read(study)
        self.last = stored.value if stored is not None else None
        return stored

    async def write(self, projection: Projection, etag: str | None) -> str:
        """Insert or replace; `StoreConflict` when another writer changed it."""
        written = await self._records.write(projection, etag)
        self.last = projection
        return written

    def all(self) -> AsyncIterator[Projection]:
        """Iterate over all rows."""
        return self._records.all()

    async def after(self, key: str, limit: int) -> Sequence[Projection]:
        """Return the next rows after a study key."""
        return await self._records.after(key, limit)

    async def find(self, key: str) -> Projection | None:
        """Return the row by study key alone."""
        return await self._records.find(key)
