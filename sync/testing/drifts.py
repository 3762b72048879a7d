"""Differences that checks found, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

from sync.model import Drift
from sync.ports import Drifts


class MemoryDrifts(Drifts):
    """Rows by subject; they lie open to tests."""

    def __init__(self) -> None:
        self.subjects: dict[str, list[Drift]] = {}

    async def note(self, subject: str, drifts: Sequence[Drift], now: datetime) -> None:
        """Make these all the rows of the subject; what was known before keeps its ``first_at``."""
        recorded = {(drift.kind, drift.resource): drift.first_at for drift in self.subjects.pop(subject, [])}
        if drifts:
            began = [recorded.get((drift.kind, drift.resource)) or now for drift in drifts]
            dated = zip(drifts, began, strict=True)
            self.subjects[subject] = [replace(drift, first_at=first, last_at=now) for drift, first in dated]

    async def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows."""
        for drifts in list(self.subjects.values()):
            for drift in drifts:
                yield drift
