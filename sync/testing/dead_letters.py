"""Dead letters and the audit trail in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from sync.model import AuditEntry, DeadLetter, DeadLetterPage, Stored, SubjectKind
from sync.ports import AuditTrail, DeadLetters
from sync.testing.table import MemoryTable


class MemoryDeadLetters(DeadLetters):
    """Failures that need a person, one row per subject."""

    def __init__(self) -> None:
        self.table: MemoryTable[tuple[SubjectKind, str], DeadLetter] = MemoryTable()

    async def put(self, letter: DeadLetter) -> bool:
        """Insert, or update keeping ``first_at`` and adding to ``attempts``; return whether it is a new failure."""
        key = (letter.kind, letter.subject)
        if (stored := self.table.get(key)) is not None:
            attempts = stored.value.attempts + letter.attempts
            letter = replace(letter, first_at=stored.value.first_at, attempts=attempts)
        self.table.upsert(key, letter)
        return stored is None or stored.value.code != letter.code

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        """Delete; a missing row is fine."""
        self.table.discard((kind, subject))

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:
        """Return the row, or None."""
        return self.table.get((kind, subject))

    async def subjects(self, kind: SubjectKind, most: int) -> frozenset[str] | None:
        """Return the subjects of a kind's dead letters; None when there are more than ``most``."""
        subjects = frozenset(letter.subject for letter in self.table.values() if letter.kind is kind)
        return subjects if len(subjects) <= most else None

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        """Delete; `StoreConflict` unless the row is there with the given ETag."""
        self.table.delete((letter.kind, letter.subject), etag)

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Iterate over all dead letters."""
        for letter in self.table.values():
            yield letter

    async def page(
        self, *, code: str | None = None, kind: SubjectKind | None = None, limit: int = 100, token: str | None = None
    ) -> DeadLetterPage:
        """Return some dead letters by kind and subject; the token is the last one's."""
        ordered = sorted(self.table.values(), key=_place)
        remaining = [
            letter
            for letter in ordered
            if code in (None, letter.code) and kind in (None, letter.kind) and (token is None or _place(letter) > token)
        ]
        more = len(remaining) > limit
        return DeadLetterPage(letters=remaining[:limit], token=_place(remaining[limit - 1]) if more else None)


def _place(letter: DeadLetter) -> str:
    return f"{letter.kind.value} {letter.subject}"


class MemoryAuditTrail(AuditTrail):
    """The audit trail, in memory."""

    def __init__(self) -> None:
        self._entries: dict[AuditEntry, AuditEntry] = {}

    async def add(self, entry: AuditEntry) -> None:
        """Keep the entry; one that is equal in all but the reason is replaced."""
        self._entries[replace(entry, why="")] = entry

    async def newest(self, limit: int) -> Sequence[AuditEntry]:
        """Return at most that many, the newest first."""
        return sorted(self._entries.values(), key=lambda entry: entry.at, reverse=True)[:limit]
