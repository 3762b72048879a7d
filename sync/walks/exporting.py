"""
An export into a container, by any number of processes: a kind of `sync.walks.sharing`.

    parts: ranges of study keys, each its own files  ->  merge: what several parts have in common, once  ->  manifest

Nothing is replaced: the name of a file holds a digest of its content, and of two that write the manifest of one part
the first decides. So a part that is done twice, or by a holder that was presumed dead, comes to the same. A reader
takes an export for complete by its manifest, which is written once all else is there; what it does not name is deleted
then. The folder is named after the run, so no other export is in its way.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sync.config import Settings
from sync.errors import StoreUnavailable
from sync.export import CHUNK, MANIFEST, SHARED, Exported, Files, mark_of
from sync.model import Batch
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk
from sync.ports import ExportFiles, Project, ReadFeeds
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import Cut
from sync.walks.key_ranges import bound, expected_studies, kind_for, studies_between
from sync.walks.without_changes import WithoutChanges

KIND = "export"
"""Name of this kind of walk; of its rows, how the kind begins."""

STUDIES_A_PART = 1000
"""Studies of a part, as far as their number can be told: half a minute of one worker."""

MOST_SLICES = 512
"""Slices of parts at most; a slice has several parts where there are more."""

FETCHED_AT_ONCE = 16
"""Manifests of parts that are fetched at once."""

PARTS, MERGE, CLOSE = "parts", "merge", "close"
"""What slices do."""

PART, MERGED = "part", "merged"
"""How the manifests of parts begin: as they were written, and without what earlier ones have too."""

_DIGITS = 12


def new_export(container: str, settings: Settings, *, max_bytes: int) -> NewWalk:
    """Return the walk to begin; one per container."""
    kind = kind_for(KIND, settings)
    return NewWalk(
        name=f"{kind} {container}",
        kind=kind,
        request={"container": container, "max_bytes": max_bytes},
        action=OperatorAction.EXPORT,
        subject=f"container {container}",
        unit="studies",
    )


def folder_of(row: WalkRow) -> str:
    """Return what stands before the slash in the names of an export's files."""
    return f"export-{row.run}"


@dataclass(frozen=True, kw_only=True)
class Exporting(WithoutChanges):
    """Writes all resources of ours into a container, by any number of workers. Idempotent; may be interrupted."""

    services: Project
    files: Callable[[str], ExportFiles]
    """Files of a container by its name."""

    async def cuts(self, row: WalkRow) -> AsyncIterator[Cut]:
        """Cut the keys of studies into parts, and slices of parts; then what all of them are needed for."""
        stand, made = dict(row.plan), row.made
        if not stand:
            studies = await expected_studies(self.services, first=CHUNK)
            parts = max(math.ceil(studies / STUDIES_A_PART), 1)
            step = math.ceil(parts / MOST_SLICES)
            stand = {"studies": studies, "parts": parts, "step": step, "next": 0, "rest": 0}
            yield Cut(position=stand)
        for cut in _cut_parts(stand):
            stand, made = dict(cut.position), made + 1
            yield cut
        for number, part in enumerate((MERGE, CLOSE)):
            if number >= stand["rest"]:
                scope = {"part": part, "of": stand["parts"]}
                yield Cut(position={**stand, "rest": number + 1}, scope=scope, needs=made, last=part == CLOSE)
                made += 1

    async def batches(
        self,
        row: WalkRow,
        piece: Slice,
        after: Sequence[Slice],  # noqa: ARG002 -- as each kind is asked
        s: ReadFeeds,  # noqa: ARG002 -- likewise
    ) -> AsyncIterator[Batch]:
        """Iterate over a slice, written."""
        slice_ = _Slice(row=row, piece=piece, s=self.services, out=self.files(row.request["container"]))
        work = {PARTS: slice_.parts, MERGE: slice_.merge, CLOSE: slice_.close}[piece.scope["part"]]
        async for batch in work():
            yield batch


def _cut_parts(stand: Mapping[str, Any]) -> Iterator[Cut]:
    parts, step = stand["parts"], stand["step"]
    for begin in range(stand["next"], parts, step):
        end = min(begin + step, parts)
        yield Cut(
            position={**stand, "next": end},
            scope={"part": PARTS, "from": begin, "to": end, "of": parts},
            size=stand["studies"] * (end - begin) // parts,
        )


async def fetch_manifest(row: WalkRow, out: ExportFiles) -> Exported | None:
    """Return the result of a complete export; None if it is not complete. Only reads."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST
        if not await out.fetch(f"{folder_of(row)}/{MANIFEST}", path):
            return None
        return Exported.of(json.loads(path.read_bytes()))


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """What is done of a slice by one of its holders."""

    row: WalkRow
    piece: Slice
    s: Project
    out: ExportFiles

    async def parts(self) -> AsyncIterator[Batch]:
        """Write parts; one that has a manifest is done."""
        scope = self.piece.scope
        for number in range(self.piece.at.get("next", scope["from"]), scope["to"]):
            part = await self._told(PART, number) or await self._write_part(number, scope["of"])
            counts = {"studies": part["studies"], "left_out": sum(part["left_out"].values())}
            yield Batch(position={"next": number + 1}, counts={name: count for name, count in counts.items() if count})

    async def _write_part(self, number: int, parts: int) -> dict[str, Any]:
        studies = 0
        with self._files(number) as (files, folder):
            ends = bound(number, parts), bound(number + 1, parts)
            async for chunk in studies_between(*ends, self.s, size=CHUNK):
                await files.add_studies(chunk, self.s)
                studies += len(chunk)
            files.close()
            await self._upload(files.exported, folder)
            return await self._tell(PART, number, {**files.exported.manifest(), "studies": studies}, folder)

    async def merge(self) -> AsyncIterator[Batch]:
        """Write what several parts have in common as files of the first that has it."""
        seen: set[int] = set()
        async for number, part in self._manifests(PART):
            await self._merge_part(number, part, seen)
            if number >= self.piece.at.get("next", 0):
                yield Batch(position={"next": number + 1})

    async def _merge_part(self, number: int, part: Exported, seen: set[int]) -> None:
        shared = [file for file in part.files if file["type"] in SHARED]
        with self._files(number) as (files, folder):
            for file in shared:
                for line in (await self._fetched(file["name"], folder)).splitlines():
                    resource = json.loads(line)
                    if (mark := mark_of(resource)) not in seen:
                        seen.add(mark)
                        files.add(resource)
            files.close()
            merged = files.exported
            await self._upload(merged, folder)
            merged.files += [file for file in part.files if file["type"] not in SHARED]
            merged.resources += Counter({kind: n for kind, n in part.resources.items() if kind not in SHARED})
            merged.left_out += part.left_out
            await self._tell(MERGED, number, merged.manifest(), folder)

    async def close(self) -> AsyncIterator[Batch]:
        """Write the manifest, then delete all that it does not name."""
        exported = await fetch_manifest(self.row, self.out)
        if exported is None:
            exported = Exported()
            async for _, part in self._manifests(MERGED):
                exported.add(part)
            exported.files.sort(key=lambda file: str(file["name"]))
            with TemporaryDirectory() as folder:
                await self.out.create(self._name(MANIFEST), exported.write_manifest(Path(folder)))
        named = {self._name(name) for name in (MANIFEST, *(file["name"] for file in exported.files))}
        async for name in self.out.names(self._name("")):
            if name not in named:
                await self.out.remove(name)
        if not self.piece.at.get("over"):
            yield Batch(position={"over": True}, counts=dict(exported.resources))

    @contextmanager
    def _files(self, number: int) -> Iterator[tuple[Files, Path]]:
        with TemporaryDirectory() as name:
            files = Files(Path(name), self.row.request["max_bytes"], part=f"{number:06d}-")
            try:
                yield files, Path(name)
            finally:
                files.close()

    async def _upload(self, exported: Exported, folder: Path) -> None:
        for file in exported.files:
            path = folder / file["name"]
            file["name"] = f"{path.stem}-{file['sha256'][:_DIGITS]}{path.suffix}"
            await self.out.create(self._name(file["name"]), path)  # there already: with this content

    async def _manifests(self, what: str) -> AsyncIterator[tuple[int, Exported]]:
        """Iterate over the manifests of the parts, in their order."""
        parts = self.piece.scope["of"]
        for begin in range(0, parts, FETCHED_AT_ONCE):
            numbers = range(begin, min(begin + FETCHED_AT_ONCE, parts))
            told = await asyncio.gather(*(self._told(what, number) for number in numbers))
            for number, part in zip(numbers, told, strict=True):
                if part is None:
                    raise StoreUnavailable(f"the manifest of part {number} is missing", code="store.garbled")
                yield number, Exported.of(part)

    async def _told(self, what: str, number: int) -> dict[str, Any] | None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / MANIFEST
            if not await self.out.fetch(self._name(f"{what}-{number:06d}.json"), path):
                return None
            part: dict[str, Any] = json.loads(path.read_bytes())
            return part

    async def _tell(self, what: str, number: int, part: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Write the manifest of a part, or return the one that was there."""
        path = folder / MANIFEST
        path.write_text(json.dumps(part), encoding="utf-8")
        if await self.out.create(self._name(f"{what}-{number:06d}.json"), path):
            return part
        return await self._told(what, number) or part

    async def _fetched(self, name: str, folder: Path) -> bytes:
        if not await self.out.fetch(self._name(name), folder / "fetched"):
            raise StoreUnavailable("a file of the export is missing", code="store.garbled")
        return (folder / "fetched").read_bytes()

    def _name(self, file: str) -> str:
        return f"{folder_of(self.row)}/{file}"
