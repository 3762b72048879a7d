"""
Manifests of the parts and buckets of an export, as `sync.walks.exporting` reads and writes them in its container.

    files of a part  ->  its manifest, unless there is one: the first decides  ->  merges and the end, which read all

None is ever replaced, so a process reads each once and keeps it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic

from sync.errors import StoreUnavailable
from sync.model.batches import batched
from sync.model.exports import M, Manifest, PartManifest, json_of, read_manifest
from sync.ports import ExportFiles

AT_ONCE = 32
"""Files that are fetched, or deleted, at once."""

MOST_KEPT = 256
"""Manifests that a process keeps: those of an export of a quarter of a million studies are read once."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """One kind of manifests: the beginning of their names, and their content."""

    begins: str
    shape: type[M]


PARTS = Kind("part", PartManifest)
MERGED = Kind("merged", Manifest)


async def read_file(name: str, out: ExportFiles, *, start: int = 0, size: int | None = None) -> bytes | None:
    """Return a file, or a part of it; None if it does not exist."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "read"
        return path.read_bytes() if await out.fetch(name, path, start=start, size=size) else None


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """The manifests in the folder of one export, but for the last; ``kept`` are those of this process, by name."""

    folder: str
    out: ExportFiles
    kept: dict[str, Manifest]

    async def read(self, kind: Kind[M], number: int) -> M | None:
        """Return one; None when there is none yet."""
        name = self._name(kind, number)
        if isinstance(kept := self.kept.get(name), kind.shape):
            return kept
        content = await read_file(name, self.out)
        return self._keep(name, read_manifest(content, kind.shape)) if content is not None else None

    async def all_of(self, kind: Kind[M], number: int) -> AsyncIterator[Sequence[M]]:
        """
        Iterate over that many in their order, some at once.

        Raises
        ------
        StoreUnavailable
            ``store.garbled``: one is missing, or is not as it was written.
        """
        for some in batched(range(number), AT_ONCE):
            manifests = await asyncio.gather(*(self.read(kind, one) for one in some))
            for one, manifest in zip(some, manifests, strict=True):
                if manifest is None:
                    raise StoreUnavailable(f"the manifest of {kind.begins} {one} is missing", code="store.garbled")
            yield [manifest for manifest in manifests if manifest is not None]

    async def write(self, kind: Kind[M], number: int, manifest: M, folder: Path) -> M:
        """Write a manifest by way of a local folder; return it, or the manifest that exists already."""
        name = self._name(kind, number)
        path = folder / f"{kind.begins}.json"
        path.write_text(json.dumps(json_of(manifest)), encoding="utf-8")
        if await self.out.create(name, path):
            return self._keep(name, manifest)
        return await self.read(kind, number) or manifest

    def _keep(self, name: str, manifest: M) -> M:
        if len(self.kept) >= MOST_KEPT:
            self.kept.clear()
        self.kept[name] = manifest
        return manifest

    def _name(self, kind: Kind[M], number: int) -> str:
        return f"{self.folder}/{kind.begins}-{number:06d}.json"
