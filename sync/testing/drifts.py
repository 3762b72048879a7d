"""What checks found to disagree, in memory."""

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

    async def note(self, subject: str, found: Sequence[Drift], now: datetime) -> None:
        """Make these all the rows of the subject; what was known before keeps its ``first_at``."""
        known = {(each.kind, each.resource): each.first_at for each in self.subjects.pop(subject, [])}
        if found:
            began = [known.get((each.kind, each.resource)) or now for each in found]
            dated = zip(found, began, strict=True)
            self.subjects[subject] = [replace(each, first_at=first, last_at=now) for each, first in dated]

    async def all(self) -> AsyncIterator[Drift]:
        """Iterate over all rows."""
        for drifts in list(self.subjects.values()):
            for drift in drifts:
                yield drift
