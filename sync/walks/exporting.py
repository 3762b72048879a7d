"""
An export into a container, by any number of processes: a kind of `sync.walks.sharing`.

    parts: ranges of study keys  ->  merges: a share of what parts have in common, each resource once  ->  manifest

A part writes files of its own, and one with the resources that other parts may have too: these in buckets, by a digest
of their ids. A merge reads one bucket of all parts, so that any number of workers merge, none needs what another has
seen, and each holds the digests of one bucket.

Nothing is replaced: the name of a file holds a digest of its content, and of two that write the manifest of one part
the first decides. So a part that is done twice, or by a holder that was presumed dead, comes to the same. A reader
takes an export for complete by its manifest, which is written once all else is there; what it does not name is deleted
then. The folder is named after the run, so no other export is in its way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sync.config import Settings
from sync.errors import StoreUnavailable
from sync.export import CHUNK, MANIFEST, SHARED, Exported, Files, mark_of, resources_of
from sync.model import Batch
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk
from sync.ports import ExportFiles, Project, ReadFeeds
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import Cut
from sync.walks.export_buckets import Shared
from sync.walks.export_parts import (
    PART_VALUE,
    POSITION,
    REQUEST,
    STAND,
    End,
    Merge,
    Part,
    Parts,
    Position,
    Request,
    Stand,
)
from sync.walks.key_ranges import bound, expected_studies, kind_for, studies_between
from sync.walks.without_changes import WithoutChanges

T = TypeVar("T")

KIND = "export"
"""Name of this kind of walk; of its rows, how the kind begins."""

STUDIES_A_PART = 1000
"""Studies of a part, as far as their number can be told: half a minute of one worker."""

MOST_SLICES = 512
"""Slices of parts at most; a slice has several parts where there are more."""

PARTS_A_BUCKET = 4
"""Parts for which there is one more bucket: merges are shorter than parts, and workers have several to share."""

MOST_BUCKETS = 32
"""Buckets at most: each reads the manifests of all parts."""

AT_ONCE = 32
"""Files that are fetched, or deleted, at once."""

PART, MERGED = "part", "merged"
"""How the manifests begin: of parts, and of buckets."""

_FORMAT = "buckets"
"""How parts and merges are written: a process that writes them otherwise takes no part."""

_DIGITS = 12


_OVER = POSITION.write(Position(over=True))


def export_kind(settings: Settings) -> str:
    """Return the kind of the exports that a process with these settings can take part in."""
    return kind_for(f"{KIND}@{_FORMAT}", settings)


def new_export(container: str, settings: Settings, *, max_bytes: int) -> NewWalk:
    """Return the walk to begin; one per container."""
    kind = export_kind(settings)
    return NewWalk(
        name=f"{kind} {container}",
        kind=kind,
        request=REQUEST.write(Request(container=container, max_bytes=max_bytes)),
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
        """Cut the keys of studies into parts, and slices of parts; then merges, and the end, which need them."""
        if row.plan:
            stand = STAND.read(row.plan, row=row.name)
        else:
            stand = await self._planned()
            yield Cut(position=STAND.write(stand))
        for begin in range(stand.next, stand.parts, stand.step):
            end = min(begin + stand.step, stand.parts)
            stand = replace(stand, next=end)
            scope = PART_VALUE.write(Parts(begin=begin, end=end, of=stand.parts, buckets=stand.buckets))
            size = stand.studies * (end - begin) // stand.parts
            yield Cut(position=STAND.write(stand), scope=scope, size=size, more=True)
        slices = math.ceil(stand.parts / stand.step)
        for bucket in range(stand.merge, stand.buckets):
            stand = replace(stand, merge=bucket + 1)
            scope = PART_VALUE.write(Merge(bucket=bucket, of=stand.parts))
            yield Cut(position=STAND.write(stand), scope=scope, needs=slices, more=True)
        scope = PART_VALUE.write(End(of=stand.parts, buckets=stand.buckets))
        yield Cut(position=STAND.write(stand), scope=scope, needs=slices + stand.buckets, last=True)

    async def _planned(self) -> Stand:
        studies = await expected_studies(self.services)
        parts = max(math.ceil(studies / STUDIES_A_PART), 1)
        step = math.ceil(parts / MOST_SLICES)
        buckets = min(math.ceil(parts / PARTS_A_BUCKET), MOST_BUCKETS)
        return Stand(studies=studies, parts=parts, step=step, buckets=buckets)

    async def batches(
        self,
        row: WalkRow,
        piece: Slice,
        after: Sequence[Slice],  # noqa: ARG002 -- as each kind is asked
        s: ReadFeeds,  # noqa: ARG002 -- likewise
    ) -> AsyncIterator[Batch]:
        """Iterate over a slice, written."""
        request, at = REQUEST.read(row.request, row=row.name), POSITION.read(piece.at, row=piece.name)
        work = _Work(row=row, at=at, max_bytes=request.max_bytes, s=self.services, out=self.files(request.container))
        async for batch in work.on(PART_VALUE.read(piece.scope, row=piece.name)):
            yield batch


async def fetch_manifest(row: WalkRow, out: ExportFiles) -> Exported | None:
    """Return the result of a complete export; None if it is not complete. Only reads."""
    content = await _read(f"{folder_of(row)}/{MANIFEST}", out)
    return Exported.of(json.loads(content)) if content is not None else None


async def _read(name: str, out: ExportFiles, *, start: int = 0, size: int | None = None) -> bytes | None:
    """Return a file, or a part of it; None when there is none."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "read"
        return path.read_bytes() if await out.fetch(name, path, start=start, size=size) else None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is done of a slice by one of its holders, from where he is ``at``."""

    row: WalkRow
    at: Position
    max_bytes: int
    s: Project
    out: ExportFiles

    def on(self, scope: Part) -> AsyncIterator[Batch]:
        match scope:
            case Parts():
                return self._parts(scope)
            case Merge():
                return self._merge(scope)
            case End():
                return self._close(scope)

    async def _parts(self, scope: Parts) -> AsyncIterator[Batch]:
        """Write parts; one that has a manifest is done."""
        for number in range(scope.begin if self.at.next is None else self.at.next, scope.end):
            part = await self._told(PART, number) or await self._write_part(number, scope)
            counts = {"studies": part["studies"], "left_out": sum(part["left_out"].values())}
            position = POSITION.write(Position(next=number + 1))
            yield Batch(position=position, counts={name: count for name, count in counts.items() if count})

    async def _write_part(self, number: int, scope: Parts) -> dict[str, Any]:
        studies, shared = 0, Shared(scope.buckets)
        with self._files(number) as (files, folder):
            ends = bound(number, scope.of), bound(number + 1, scope.of)
            async for chunk in studies_between(*ends, self.s, size=CHUNK):
                for resource in await resources_of(chunk, files.exported, self.s):
                    (shared if resource["resourceType"] in SHARED else files).add(resource)
                studies += len(chunk)
            files.close()
            held = shared.write(folder / f"shared-{number:06d}.ndjson")
            await self._upload([*files.exported.files, held], folder)
            told = {**files.exported.manifest(), "studies": studies, "shared": held}
            return await self._tell(PART, number, told, folder)

    async def _merge(self, scope: Merge) -> AsyncIterator[Batch]:
        """Write what parts have in common, of one bucket: each resource as the first part has it."""
        if await self._told(MERGED, scope.bucket) is None:
            await self._write_bucket(scope.bucket, scope.of)
        yield Batch(position=_OVER)

    async def _write_bucket(self, bucket: int, number: int) -> None:
        seen: set[int] = set()
        with self._files(bucket) as (files, folder):
            async for parts in self._manifests(_named(PART, number)):
                held = [part["shared"] for part in parts]
                for lines in await asyncio.gather(*(self._bucket_of(part, bucket) for part in held)):
                    for resource in map(json.loads, lines.splitlines()):
                        if (mark := mark_of(resource)) not in seen:
                            seen.add(mark)
                            files.add(resource)
            files.close()
            await self._upload(files.exported.files, folder)
            await self._tell(MERGED, bucket, files.exported.manifest(), folder)

    async def _bucket_of(self, shared: Mapping[str, Any], bucket: int) -> bytes:
        start, size, digest = shared["buckets"].get(str(bucket), (0, 0, ""))
        if not size:
            return b""
        lines = await _read(self._name(shared["name"]), self.out, start=start, size=size)
        if lines is None:
            raise StoreUnavailable("a file of the export is missing", code="store.garbled")
        if sha256(lines).hexdigest() != digest:
            raise StoreUnavailable("a file of the export is not as it was written", code="store.garbled")
        return lines

    async def _close(self, scope: End) -> AsyncIterator[Batch]:
        """Write the manifest, then delete all that it does not name."""
        exported = await fetch_manifest(self.row, self.out)
        if exported is None:
            exported = Exported()
            async for some in self._manifests([*_named(PART, scope.of), *_named(MERGED, scope.buckets)]):
                for told in some:
                    exported.add(Exported.of(told))
            exported.files.sort(key=lambda file: str(file["name"]))
            with TemporaryDirectory() as folder:
                await self.out.create(self._name(MANIFEST), exported.write_manifest(Path(folder)))
        named = {self._name(name) for name in (MANIFEST, *(file["name"] for file in exported.files))}
        rest = [name async for name in self.out.names(self._name("")) if name not in named]
        for names in _some_at_once(rest):
            await asyncio.gather(*map(self.out.remove, names))
        if not self.at.over:
            yield Batch(position=_OVER, counts=dict(exported.resources))

    @contextmanager
    def _files(self, number: int) -> Iterator[tuple[Files, Path]]:
        with TemporaryDirectory() as name:
            files = Files(Path(name), self.max_bytes, part=f"{number:06d}-")
            try:
                yield files, Path(name)
            finally:
                files.close()

    async def _upload(self, written: Sequence[dict[str, Any]], folder: Path) -> None:
        async def upload(file: dict[str, Any]) -> None:
            path = folder / file["name"]
            file["name"] = f"{path.stem}-{file['sha256'][:_DIGITS]}{path.suffix}"
            await self.out.create(self._name(file["name"]), path)  # there already: with this content

        for some in _some_at_once(written):
            await asyncio.gather(*map(upload, some))

    async def _manifests(self, names: Sequence[tuple[str, int]]) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """Iterate over manifests in their order, some at once."""
        for some in _some_at_once(names):
            told = await asyncio.gather(*itertools.starmap(self._told, some))
            missing = [name for name, manifest in zip(some, told, strict=True) if manifest is None]
            if missing:
                what, number = missing[0]
                raise StoreUnavailable(f"the manifest of {what} {number} is missing", code="store.garbled")
            yield [manifest for manifest in told if manifest is not None]

    async def _told(self, what: str, number: int) -> dict[str, Any] | None:
        content = await _read(self._name(f"{what}-{number:06d}.json"), self.out)
        part: dict[str, Any] | None = json.loads(content) if content is not None else None
        return part

    async def _tell(self, what: str, number: int, part: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Write a manifest, or return the one that was there."""
        path = folder / MANIFEST
        path.write_text(json.dumps(part), encoding="utf-8")
        if await self.out.create(self._name(f"{what}-{number:06d}.json"), path):
            return part
        return await self._told(what, number) or part

    def _name(self, file: str) -> str:
        return f"{folder_of(self.row)}/{file}"


def _named(what: str, number: int) -> list[tuple[str, int]]:
    """Return what tells that many manifests apart, in their order."""
    return [(what, one) for one in range(number)]


def _some_at_once(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(all_of_them), AT_ONCE):
        yield all_of_them[first : first + AT_ONCE]
