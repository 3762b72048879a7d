"""
An export into a container, by any number of processes: a kind of `sync.walks.sharing`.

    parts: ranges of study keys  ->  merges: a share of what parts have in common, each resource once  ->  manifest

A part writes files of its own, and one with what other parts may have too, resources and rows of patients: these in
buckets, by their keys. A merge reads one bucket of all parts, so that any number of workers merge, and none needs what
another has seen. It builds the Patients, each of the row that the first part has and of those of table ``patients``,
which it reads as a range: a part would read those of each patient by themselves.

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
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sync.config import Settings
from sync.errors import StoreUnavailable
from sync.export import CHUNK, MANIFEST, SHARED, Exported, Files, contents_of, mark_of, patient_with
from sync.model import Batch, PatientRow, Resource
from sync.model.batches import batched
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk
from sync.ports import ExportFiles, Project, ReadFeeds
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import Cut
from sync.walks.export_buckets import Shared, content_of, keys_of, row_of
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

KIND = "export"
"""Name of this kind of walk; of its rows, how the kind begins."""

STUDIES_A_PART = 1000
"""Studies of a part, as far as their number can be told: half a minute of one worker."""

MOST_SLICES = 512
"""Slices of parts at most; a slice has several parts where there are more."""

PARTS_A_BUCKET = 4
"""Parts for which there is one more bucket: merges are shorter than parts, and workers have several to share."""

MOST_BUCKETS = 64
"""Buckets at most: each reads the manifests of all parts, and a merge holds a row of each of its patients."""

AT_ONCE = 32
"""Files that are fetched, or deleted, at once."""

MOST_KEPT = 256
"""Manifests that a process keeps: those of an export of a quarter of a million studies are read once."""

PART, MERGED = "part", "merged"
"""How the manifests begin: of parts, and of buckets."""

_FORMAT = "patients"
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

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Manifests that this process has written or read, by name: none is ever replaced."""

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
            scope = PART_VALUE.write(Merge(bucket=bucket, buckets=stand.buckets, of=stand.parts))
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
        out, size = self.files(request.container), request.max_bytes
        work = _Work(row=row, at=at, max_bytes=size, s=self.services, out=out, kept=self.kept)
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
    kept: dict[str, dict[str, Any]]

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
                for content in await contents_of(chunk, files.exported, self.s):
                    if isinstance(content, PatientRow) or content["resourceType"] in SHARED:
                        shared.add(content)
                    else:
                        files.add(content)
                studies += len(chunk)
            files.close()
            held = shared.write(folder / f"shared-{number:06d}.ndjson")
            await self._upload([*files.exported.files, *([held] if held["buckets"] else [])], folder)
            told = {**files.exported.manifest(), "studies": studies, "shared": held}
            return await self._tell(PART, number, told, folder)

    async def _merge(self, scope: Merge) -> AsyncIterator[Batch]:
        """Write what parts have in common, of one bucket: each resource, and each row, as the first part has it."""
        if await self._told(MERGED, scope.bucket) is None:
            await self._write_bucket(scope)
        yield Batch(position=_OVER)

    async def _write_bucket(self, scope: Merge) -> None:
        with self._files(scope.bucket) as (files, folder):
            rows = await self._add_resources(scope, files)
            async for patient in self._patients(rows, scope):
                files.add(patient)
            files.close()
            await self._upload(files.exported.files, folder)
            await self._tell(MERGED, scope.bucket, files.exported.manifest(), folder)

    async def _add_resources(self, scope: Merge, files: Files) -> dict[str, bytes]:
        """Write each resource of a bucket; return the line of each patient's first row, by its key."""
        seen: set[int] = set()
        rows: dict[str, bytes] = {}
        async for parts in self._manifests(_named(PART, scope.of)):
            held = [part["shared"] for part in parts]
            for lines in await asyncio.gather(*(self._bucket_of(shared, scope.bucket) for shared in held)):
                for line in lines.splitlines():
                    content = content_of(line)
                    if isinstance(content, PatientRow):
                        rows.setdefault(content.patient_key, line)
                    elif (mark := mark_of(content)) not in seen:
                        seen.add(mark)
                        files.add(content)
        return rows

    async def _patients(self, rows: dict[str, bytes], scope: Merge) -> AsyncIterator[Resource]:
        """Build the Patients of a bucket; those whose rows were deleted meanwhile of what is in the parts."""
        async for stored in self.s.patients.between(*keys_of(scope.bucket, scope.buckets)):
            if (line := rows.pop(stored[0].patient_key, None)) is not None:
                yield patient_with(row_of(line), stored, self.s)
        for line in rows.values():
            yield patient_with(row_of(line), (), self.s)

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
        for names in batched(rest, AT_ONCE):
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

        for some in batched(written, AT_ONCE):
            await asyncio.gather(*map(upload, some))

    async def _manifests(self, names: Sequence[tuple[str, int]]) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """Iterate over manifests in their order, some at once."""
        for some in batched(names, AT_ONCE):
            told = await asyncio.gather(*itertools.starmap(self._told, some))
            missing = [name for name, manifest in zip(some, told, strict=True) if manifest is None]
            if missing:
                what, number = missing[0]
                raise StoreUnavailable(f"the manifest of {what} {number} is missing", code="store.garbled")
            yield [manifest for manifest in told if manifest is not None]

    async def _told(self, what: str, number: int) -> dict[str, Any] | None:
        name = self._name(f"{what}-{number:06d}.json")
        if name in self.kept:
            return self.kept[name]
        content = await _read(name, self.out)
        return self._keep(name, json.loads(content)) if content is not None else None

    def _keep(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        if len(self.kept) >= MOST_KEPT:
            self.kept.clear()
        self.kept[name] = part
        return part

    async def _tell(self, what: str, number: int, part: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Write a manifest, or return the one that was there."""
        path = folder / MANIFEST
        path.write_text(json.dumps(part), encoding="utf-8")
        name = self._name(f"{what}-{number:06d}.json")
        if await self.out.create(name, path):
            return self._keep(name, part)
        return await self._told(what, number) or part

    def _name(self, file: str) -> str:
        return f"{folder_of(self.row)}/{file}"


def _named(what: str, number: int) -> list[tuple[str, int]]:
    """Return what tells that many manifests apart, in their order."""
    return [(what, one) for one in range(number)]
