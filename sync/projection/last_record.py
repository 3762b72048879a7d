"""
The record of one study as an attempt last read or wrote it, so that recording the outcome needs no further read.

That there is no record may have been read before the attempt, while its delivery waited, and need not be read again: if
another attempt has recorded the study since, the insert conflicts, which comes before the first write to FHIR, and the
record is read. Of a record that exists nothing read earlier is used: an attempt may find that it need not write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sync.model import Projection, Stored, StudyRef
from sync.ports import Projections


class LastRecord(Projections):
    """Records for one attempt; ``last`` is that of its study."""

    def __init__(self, records: Projections) -> None:
        self._records = records
        self.last: Projection | None = None
        self._is_absent = False

    async def is_there(self, study: StudyRef) -> bool:
        """Whether the study has a row; if not, the next `read` says so, too, without a request."""
        self._is_absent = await self.read(study) is None
        return not self._is_absent

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        """Return the row, or None."""
        # Once: after a conflict there is a row.
        known, self._is_absent = self._is_absent, False
        stored = None if known else await self._records.read(study)
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
