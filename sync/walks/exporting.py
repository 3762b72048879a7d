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
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sync.config import Settings
from sync.errors import StoreUnavailable
from sync.export import CHUNK, SHARED, Files, contents_of, mark_of, patient_with, write_manifest
from sync.model import Batch, PatientRow, Resource
from sync.model.batches import batched
from sync.model.exports import MANIFEST, Manifest, NdjsonFile, PartManifest, SharedFile, joined, read_manifest
from sync.operators.audit import OperatorAction
from sync.operators.walks import NewWalk
from sync.ports import ExportFiles, Project, ReadFeeds
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import Cut
from sync.walks.export_buckets import Shared, content_of, keys_of, row_of
from sync.walks.export_manifests import AT_ONCE, MERGED, PARTS, Manifests, read_file
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

_FORMAT = "patients"
"""How parts and merges are written: a process that writes them otherwise takes no part."""

_DIGITS = 12


F = TypeVar("F", NdjsonFile, SharedFile)

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
    """Return the folder of an export's files: their names before the slash."""
    return f"export-{row.run}"


@dataclass(frozen=True, kw_only=True)
class Exporting(WithoutChanges):
    """Writes all resources of ours into a container, by any number of workers. Idempotent; may be interrupted."""

    services: Project
    files: Callable[[str], ExportFiles]
    """Files of a container by its name."""

    kept: dict[str, Manifest] = field(default_factory=dict)
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
        manifests = Manifests(folder=folder_of(row), out=out, kept=self.kept)
        work = _Work(row=row, at=at, max_bytes=size, s=self.services, out=out, manifests=manifests)
        async for batch in work.on(PART_VALUE.read(piece.scope, row=piece.name)):
            yield batch


async def fetch_manifest(row: WalkRow, out: ExportFiles) -> Manifest | None:
    """Return the result of a complete export; None if it is not complete. Only reads."""
    content = await read_file(f"{folder_of(row)}/{MANIFEST}", out)
    return read_manifest(content, Manifest) if content is not None else None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The work of one holder on a slice, which begins at the position ``at``."""

    row: WalkRow
    at: Position
    max_bytes: int
    s: Project
    out: ExportFiles
    manifests: Manifests

    def on(self, scope: Part) -> AsyncIterator[Batch]:
        match scope:
            case Parts():
                return self._parts(scope)
            case Merge():
                return self._merge(scope)
            case End():
                return self._close(scope)

    async def _parts(self, scope: Parts) -> AsyncIterator[Batch]:
        """Write parts; a part that has a manifest is skipped."""
        for number in range(scope.begin if self.at.next is None else self.at.next, scope.end):
            part = await self.manifests.read(PARTS, number) or await self._write_part(number, scope)
            counts = {"studies": part.studies, "left_out": sum(part.left_out.values())}
            position = POSITION.write(Position(next=number + 1))
            yield Batch(position=position, counts={name: count for name, count in counts.items() if count})

    async def _write_part(self, number: int, scope: Parts) -> PartManifest:
        studies, shared = 0, Shared(scope.buckets)
        with self._files(number) as (files, folder):
            ends = bound(number, scope.of), bound(number + 1, scope.of)
            async for chunk in studies_between(*ends, self.s, size=CHUNK):
                for content in await contents_of(chunk, files.left_out, self.s):
                    if isinstance(content, PatientRow) or content["resourceType"] in SHARED:
                        shared.add(content)
                    else:
                        files.add(content)
                studies += len(chunk)
            held = shared.write(folder / f"shared-{number:06d}.ndjson")
            own, held = await asyncio.gather(
                self._uploaded(files.close(), folder), self._uploaded_if_filled(held, folder)
            )
            part = PartManifest(
                files=own.files, resources=own.resources, left_out=own.left_out, studies=studies, shared=held
            )
            return await self.manifests.write(PARTS, number, part, folder)

    async def _merge(self, scope: Merge) -> AsyncIterator[Batch]:
        """Write the shared content of one bucket: each resource and each row, as in the first part that has it."""
        if await self.manifests.read(MERGED, scope.bucket) is None:
            await self._write_bucket(scope)
        yield Batch(position=_OVER)

    async def _write_bucket(self, scope: Merge) -> None:
        with self._files(scope.bucket) as (files, folder):
            rows = await self._add_resources(scope, files)
            async for patient in self._patients(rows, scope):
                files.add(patient)
            merged = await self._uploaded(files.close(), folder)
            await self.manifests.write(MERGED, scope.bucket, merged, folder)

    async def _add_resources(self, scope: Merge, files: Files) -> dict[str, bytes]:
        """Write each resource of a bucket; return the line of each patient's first row, by its key."""
        seen: set[int] = set()
        rows: dict[str, bytes] = {}
        async for parts in self.manifests.all_of(PARTS, scope.of):
            for lines in await asyncio.gather(*(self._bucket_of(part.shared, scope.bucket) for part in parts)):
                for line in lines.splitlines():
                    content = content_of(line)
                    if isinstance(content, PatientRow):
                        rows.setdefault(content.patient_key, line)
                    elif (mark := mark_of(content)) not in seen:
                        seen.add(mark)
                        files.add(content)
        return rows

    async def _patients(self, rows: dict[str, bytes], scope: Merge) -> AsyncIterator[Resource]:
        """Build the Patients of a bucket; a Patient whose rows were deleted meanwhile comes from the parts' rows."""
        async for stored in self.s.patients.between(*keys_of(scope.bucket, scope.buckets)):
            if (line := rows.pop(stored[0].patient_key, None)) is not None:
                yield patient_with(row_of(line), stored, self.s)
        for line in rows.values():
            yield patient_with(row_of(line), (), self.s)

    async def _bucket_of(self, shared: SharedFile, bucket: int) -> bytes:
        held = shared.buckets.get(bucket)
        if held is None:
            return b""
        lines = await read_file(self._name(shared.name), self.out, start=held.start, size=held.size)
        if lines is None:
            raise StoreUnavailable("a file of the export is missing", code="store.garbled")
        if sha256(lines).hexdigest() != held.sha256:
            raise StoreUnavailable("a file of the export is not as it was written", code="store.garbled")
        return lines

    async def _close(self, scope: End) -> AsyncIterator[Batch]:
        """Write the manifest, then delete all that it does not name."""
        exported = await fetch_manifest(self.row, self.out)
        if exported is None:
            exported = Manifest()
            async for parts in self.manifests.all_of(PARTS, scope.of):
                exported = joined([exported, *parts])
            async for merged in self.manifests.all_of(MERGED, scope.buckets):
                exported = joined([exported, *merged])
            with TemporaryDirectory() as folder:
                await self.out.create(self._name(MANIFEST), write_manifest(exported, Path(folder)))
        named = {self._name(name) for name in (MANIFEST, *(file.name for file in exported.files))}
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
                files.abandon()

    async def _uploaded(self, manifest: Manifest, folder: Path) -> Manifest:
        """Upload the files of a manifest; return it with their names in the container."""
        files = list[NdjsonFile]()
        for some in batched(manifest.files, AT_ONCE):
            files += await asyncio.gather(*(self._upload(file, folder) for file in some))
        return replace(manifest, files=tuple(files))

    async def _uploaded_if_filled(self, shared: SharedFile, folder: Path) -> SharedFile:
        return await self._upload(shared, folder) if shared.buckets else shared

    async def _upload(self, file: F, folder: Path) -> F:
        path = folder / file.name
        named = replace(file, name=f"{path.stem}-{file.sha256[:_DIGITS]}{path.suffix}")
        await self.out.create(self._name(named.name), path)  # there already: with this content
        return named

    def _name(self, file: str) -> str:
        return f"{folder_of(self.row)}/{file}"
