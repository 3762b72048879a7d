"""Differences that checks found, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from sync.model import Drift
from sync.ports import Drifts


class MemoryDrifts(Drifts):
    """Rows by subject; tests access them directly."""

    def __init__(self) -> None:
        self.subjects: dict[str, list[Drift]] = {}

    async def note(self, subject: str, drifts: Sequence[Drift], now: datetime) -> None:
        """Replace the subject's rows by these, each as `Drift.noted` returns it."""
        recorded = {(drift.kind, drift.resource): drift for drift in self.subjects.pop(subject, [])}
        if drifts:
            pairs = [(drift, recorded.get((drift.kind, drift.resource))) for drift in drifts]
            rows = [drift.noted(before, now) or before for drift, before in pairs]
            self.subjects[subject] = [row for row in rows if row is not None]

    async def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows."""
        for drifts in list(self.subjects.values()):
            for drift in drifts:
                yield drift
