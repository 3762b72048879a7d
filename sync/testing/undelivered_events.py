"""Event Grid's dead-letter container in memory."""

from __future__ import annotations

from collections.abc import Sequence

from sync.ports import UndeliveredEvents


class MemoryUndeliveredEvents(UndeliveredEvents):
    """``blobs`` and ``marked`` lie open to tests."""

    def __init__(self) -> None:
        self.blobs: dict[str, str] = {}
        self.marked: set[str] = set()

    async def names(self, most: int) -> Sequence[str]:
        """Return at most that many names, of blobs that are not marked."""
        return [name for name in sorted(self.blobs) if name not in self.marked][:most]

    async def read(self, name: str, most: int) -> str | None:
        """Return the text, cut at that many bytes; None when it is gone."""
        text = self.blobs.get(name)
        return text.encode()[:most].decode("utf-8", "replace") if text is not None else None

    async def remove(self, name: str) -> None:
        """Delete; a missing blob is fine."""
        self.blobs.pop(name, None)

    async def mark(self, name: str) -> None:
        """Mark, so that `names` leaves it out."""
        self.marked.add(name)
