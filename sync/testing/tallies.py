"""Counts of rows in memory, with pages as small as a test wants them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from sync.model import DeadLetter, DeadLetterEntry
from sync.ports import Counted, DeadLetters, DirtyStudies, Drifts, Projections, Tallies, Tally

_Row = tuple[Mapping[str, int], datetime | None]


class MemoryTallies(Tallies):
    """
    Counts of the given tables.

    Parameters
    ----------
    size
        Rows of one page.
    """

    def __init__(
        self,
        dirty: DirtyStudies,
        projections: Projections,
        dead_letters: DeadLetters,
        drifts: Drifts,
        *,
        size: int = 1000,
    ) -> None:
        self._drifts = drifts
        self._dirty = dirty
        self._projections = projections
        self._dead_letters = dead_letters
        self.size = size

    async def page(self, table: Counted, token: str | None = None) -> Tally:
        """Count the next rows; from the beginning without a token."""
        start = int(token or 0)
        if table is Counted.DEAD_LETTERS:
            entries = [_entry(letter) async for letter in self._dead_letters.all()]
            return Tally.of_letters(entries[start : start + self.size], self._following(start, len(entries)))
        rows = await self._rows(table)
        counts: Counter[str] = Counter()
        for words, _ in rows[start : start + self.size]:
            counts.update(words)
        times = [time for _, time in rows[start : start + self.size] if time is not None]
        return Tally(counts=counts, oldest=min(times, default=None), token=self._following(start, len(rows)))

    def _following(self, start: int, rows: int) -> str | None:
        return str(start + self.size) if start + self.size < rows else None

    async def _rows(self, table: Counted) -> list[_Row]:
        if table is Counted.DIRTY:
            return [({"studies": 1}, dirty.first_marked) async for dirty in self._dirty.all()]
        if table is Counted.DRIFTS:
            return [({} if drift.kept else {drift.kind.value: 1}, None) async for drift in self._drifts.all()]
        return [
            ({"studies": 1, "instances": row.instances} if row.finished and row.instances else {}, None)
            async for row in self._projections.all()
        ]


def _entry(letter: DeadLetter) -> DeadLetterEntry:
    return DeadLetterEntry(
        kind=letter.kind, subject=letter.subject, code=letter.code, first_at=letter.first_at, last_at=letter.last_at
    )
