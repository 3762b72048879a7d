"""Files of exports in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from sync.errors import StoreUnavailable
from sync.ports import ExportFiles


class MemoryExportFiles(ExportFiles):
    """Files by name; tests access ``files`` directly."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def ensure(self) -> None:
        """Do nothing: the container always exists."""

    async def create(self, name: str, path: Path) -> bool:
        """Copy a file of this machine; False if a file of this name exists, which stays."""
        if name in self.files:
            return False
        self.files[name] = path.read_bytes()  # noqa: ASYNC240 -- for tests
        return True

    async def fetch(self, name: str, path: Path, *, start: int = 0, size: int | None = None) -> bool:
        """Copy a file, or a part of it, to this machine; False when there is none."""
        content = self.files.get(name)
        if content is None:
            return False
        part = content[start:] if size is None else content[start : start + size]
        if size is not None and len(part) != size:
            raise StoreUnavailable("the file ends before", code="store.garbled")
        path.write_bytes(part)  # noqa: ASYNC240 -- for tests
        return True

    async def names(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the names that begin with ``prefix``."""
        for name in sorted(self.files):
            if name.startswith(prefix):
                yield name

    async def remove(self, name: str) -> None:
        """Delete; a missing file is fine."""
        self.files.pop(name, None)
