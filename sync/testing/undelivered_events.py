"""Event Grid's dead-letter container in memory."""

from __future__ import annotations

from collections.abc import Sequence

from sync.ports import UndeliveredEvents


class MemoryUndeliveredEvents(UndeliveredEvents):
    """Blobs by name; tests access ``blobs`` and ``marked`` directly."""

    def __init__(self) -> None:
        self.blobs: dict[str, str] = {}
        self.marked: set[str] = set()

    async def names(self, most: int) -> Sequence[str]:
        """Return the names of at most ``most`` unmarked blobs."""
        return [name for name in sorted(self.blobs) if name not in self.marked][:most]

    async def read(self, name: str, most: int) -> str | None:
        """Return the text, limited to ``most`` bytes; None when the blob is gone."""
        text = self.blobs.get(name)
        return text.encode()[:most].decode("utf-8", "replace") if text is not None else None

    async def remove(self, name: str) -> None:
        """Delete; a missing blob is fine."""
        self.blobs.pop(name, None)

    async def mark(self, name: str) -> None:
        """Mark the blob, so that `names` leaves it out."""
        self.marked.add(name)
