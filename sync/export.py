"""
All resources that the sync would write, as NDJSON files for the import of a new FHIR service; from the ledger alone.

    studies by key  ->  dry run of each projection on an empty service  ->  a line per resource  ->  files, manifest

What is written is what the sync itself would write to an empty service, so that loading it and projecting everything
come to the same. The same ledger gives the same bytes. Source: FHIR Bulk Data Access, NDJSON; Azure Health Data
Services, "Import data", which wants large files of one type each.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from sync.errors import InvalidResource, PermanentError
from sync.mapping.patient import build_patient
from sync.mapping.resource import canonical, is_our_id
from sync.model import FhirPage, FhirWrite, LedgerRow, PatientRow, Projection, Resource, Stored, StudySearch, digest
from sync.model.batches import batched
from sync.model.exports import MANIFEST, UNFINISHED, Manifest, NdjsonFile, json_of, manifest_of
from sync.ports import Compare, Core, FhirServer, Project
from sync.projection.dry_run import dry_run_study

CHUNK = 200
"""Studies fetched at once."""

AT_ONCE = 8
"""Studies mapped at once; beside the tables, all of it is work for the processor."""

LOCK = ".lock"
"""File by which one command at a time writes a folder."""

_FILE = re.compile(r"[A-Z][A-Za-z]+-\d{4,}\.ndjson(\.part)?")
_KEY_DIGITS = 8


class NotEmpty(Exception):
    """The folder holds something that an export must not mix with."""


def prepare(folder: Path, *, overwrite: bool) -> None:
    """
    Make the folder, or empty it of an earlier export; until it has its manifest, it tells that it is unfinished.

    Raises
    ------
    NotEmpty, OSError
        As `replaceable`, or it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = replaceable(folder, overwrite=overwrite)
    (folder / UNFINISHED).touch()  # before anything goes: no reader takes the rest for complete
    for path in [*(path for path in paths if path.name == MANIFEST), *paths]:
        path.unlink(missing_ok=True)


def replaceable(folder: Path, *, overwrite: bool) -> Sequence[Path]:
    """
    Return the files of an earlier export that a new one replaces. Changes nothing.

    Raises
    ------
    NotEmpty
        The folder holds files, and they are not to be overwritten, or they are not all of an export.
    OSError
        It cannot be read.
    """
    if not folder.exists():
        return ()
    paths = sorted(path for path in folder.iterdir() if path.name not in {LOCK, UNFINISHED})
    if paths and not overwrite:
        raise NotEmpty("the folder is not empty; choose another one, or --overwrite an earlier export")
    if any(path.name != MANIFEST and not _FILE.fullmatch(path.name) for path in paths):
        raise NotEmpty("the folder holds more than an earlier export; choose another one")
    return paths


async def export(folder: Path, max_bytes: int, s: Project, progress: Callable[[int, float], None]) -> Manifest:
    """
    Write all resources of ours below a folder that `prepare` has made; the manifest comes last. Changes nothing else.

    Memory is that of a chunk of studies, and some bytes per patient. Studies that change meanwhile may be in it as they
    were or as they are; verify afterwards.

    Parameters
    ----------
    max_bytes
        Size that a file does not exceed, unless a single resource does.
    progress
        Hears how many studies are done, and which part of all that is.

    Raises
    ------
    StoreUnavailable
        Storage did not answer; the files so far are there, the last of them without their names, and no manifest.
    """
    files = Files(folder, max_bytes)
    studies = 0
    try:
        async for chunk in _chunks(s):
            await files.add_studies(chunk, s)
            studies += len(chunk)
            progress(studies, int(chunk[-1].study.key[:_KEY_DIGITS], 16) / 16.0**_KEY_DIGITS)
        manifest = files.close()
    finally:
        files.abandon()
    write_manifest(manifest, folder)
    return manifest


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write the manifest of an export into a folder, and return where; a reader sees all of it or none."""
    unfinished = folder / UNFINISHED
    unfinished.write_text(json.dumps(json_of(manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return unfinished.replace(folder / MANIFEST)


SHARED = frozenset({"Device", "Endpoint"})
"""Types, beside Patients, of which several studies may have one in common; it is written once."""

Content = Resource | PatientRow
"""What a study consists of: resources, and the row that it leaves of a Patient of ours, built from all its studies."""


def key_of(content: Content) -> str:
    """Return hex digits that stand for a resource, or for the Patient of a row, among all that are written."""
    return content.patient_key if isinstance(content, PatientRow) else digest(content["resourceType"], content["id"])


def mark_of(content: Content) -> int:
    """Return the same in some bytes."""
    return int(key_of(content)[:16], 16)


def patient_with(row: PatientRow, others: Sequence[PatientRow], s: Core) -> Resource:
    """
    Return the Patient of a row that a study leaves, and of the rows that its other studies have left. Pure.

    Parameters
    ----------
    others
        All rows of the patient; that of the same study is passed over.
    """
    rows = [row, *(other for other in others if other.study != row.study)]
    try:
        return build_patient(row.patient_key, rows, s.settings).resource
    except InvalidResource:
        # By the row of another study, which is dead-lettered for it; by its own, this one would be too.
        return build_patient(row.patient_key, [row], s.settings).resource


async def _chunks(s: Compare) -> AsyncIterator[Sequence[Projection]]:
    key = ""
    while chunk := await s.projections.after(key, CHUNK):
        yield chunk
        key = chunk[-1].study.key


async def contents_of(chunk: Sequence[Projection], left_out: Counter[str], s: Project) -> list[Content]:
    """Return the resources of studies, which come by key, in their order; count the studies that are left out."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def in_turn(projection: Projection, rows: Sequence[LedgerRow]) -> list[Content]:
        try:
            return await _of_study(projection, rows, left_out, s)
        finally:
            slots.release()

    tasks: list[asyncio.Task[list[Content]]] = []
    try:
        async for projection, rows in _with_rows(chunk, s):
            # Before the next rows are read: no more studies than that are in memory.
            await slots.acquire()
            tasks.append(asyncio.create_task(in_turn(projection, rows)))
        return [content for contents in await asyncio.gather(*tasks) for content in contents]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _with_rows(chunk: Sequence[Projection], s: Compare) -> AsyncIterator[tuple[Projection, Sequence[LedgerRow]]]:
    """Iterate over studies with their rows of the ledger, which are read a thousand at once and not study by study."""
    studies = s.ledger.between(chunk[0].study.key, chunk[-1].study.key)
    rows: Sequence[LedgerRow] | None = await anext(studies, None)
    for projection in chunk:
        # Studies that have no record yet are passed over.
        while rows and rows[0].record.study.key < projection.study.key:
            rows = await anext(studies, None)
        yield projection, rows if rows and rows[0].record.study.key == projection.study.key else ()


async def _of_study(
    projection: Projection, rows: Sequence[LedgerRow], left_out: Counter[str], s: Project
) -> list[Content]:
    if projection.adopted and projection.instances:
        left_out["adopted"] += 1
        return []
    try:
        # As it was listed: nothing is written under its ETag.
        listed = Stored(projection, "")
        server = NewServer(projection.patient_id)
        would = await dry_run_study(projection.study, s, fhir=server, record=listed, rows=rows)
    except PermanentError:
        left_out["dead_lettered"] += 1
        return []
    patients = [write for write in would.writes if write.resource_type == "Patient"]
    others = [write for write in would.writes if write.resource_type != "Patient"]
    row = would.patient_row if any(is_our_id(write.resource_id) for write in patients) else None
    resources = [write.resource for write in others if write.resource is not None]
    return [*resources, row] if row is not None else [*resources]


class Files:
    """
    One open file a type; the next begins when the limit is reached.

    Parameters
    ----------
    part
        What stands in the names before the number of the file, where an export has several parts.
    """

    def __init__(self, folder: Path, max_bytes: int, *, part: str = "") -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._max_bytes = max_bytes
        self._part = part
        self._written: set[int] = set()
        self._open: dict[str, _File] = {}
        self._numbers: Counter[str] = Counter()
        self._resources: Counter[str] = Counter()
        self._finished: list[NdjsonFile] = []

    async def add_studies(self, chunk: Sequence[Projection], s: Project) -> None:
        """Write the resources of studies; a resource that several studies share is written once."""
        rows = list[PatientRow]()
        for content in await contents_of(chunk, self.left_out, s):
            if isinstance(content, PatientRow) or content["resourceType"] in SHARED:
                if (mark := mark_of(content)) in self._written:
                    continue
                self._written.add(mark)
            if isinstance(content, PatientRow):
                rows.append(content)
            else:
                self.add(content)
        for some in batched(rows, AT_ONCE):
            stored = await asyncio.gather(*(s.patients.read(row.patient_key) for row in some))
            for row, others in zip(some, stored, strict=True):
                self.add(patient_with(row, others, s))

    def add(self, resource: Resource) -> None:
        """Write a resource."""
        kind, line = resource["resourceType"], canonical(resource) + b"\n"
        file = self._open.get(kind)
        if file is None or file.size + len(line) > self._max_bytes:
            self._finish(kind)
            self._numbers[kind] += 1
            file = self._open[kind] = _File(self._folder / f"{kind}-{self._part}{self._numbers[kind]:04d}.ndjson", kind)
        file.write(line)
        self._resources[kind] += 1

    def close(self) -> Manifest:
        """Give the open files their names, and return the manifest of all. Idempotent."""
        for kind in list(self._open):
            self._finish(kind)
        return manifest_of(self._finished, self._resources, self.left_out)

    def abandon(self) -> None:
        """Close the open files, which get no names: they lack what was to follow. Idempotent."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _finish(self, kind: str) -> None:
        if (file := self._open.pop(kind, None)) is not None:
            self._finished.append(file.finish())


class _File:
    """An NDJSON file that gets its name once it is whole."""

    def __init__(self, path: Path, kind: str) -> None:
        self.size = 0
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        self._kind, self._count = kind, 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO = self._part.open("xb")

    def write(self, line: bytes) -> None:
        self._file.write(line)
        self._hash.update(line)
        self.size += len(line)
        self._count += 1

    def close(self) -> None:
        self._file.close()

    def finish(self) -> NdjsonFile:
        self.close()
        self._part.rename(self._path)
        digest_of_all = self._hash.hexdigest()
        return NdjsonFile(
            name=self._path.name, kind=self._kind, count=self._count, size=self.size, sha256=digest_of_all
        )


class NewServer(FhirServer):
    """A FHIR service that holds nothing but the Patient of another system that a study is linked to, if any."""

    def __init__(self, patient_id: str | None) -> None:
        theirs = patient_id is not None and not is_our_id(patient_id)
        self._patients: list[Resource] = [{"resourceType": "Patient", "id": patient_id}] if theirs else []

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the linked Patient."""
        matches = [patient for patient in self._patients if resource_type == "Patient" and patient["id"] == resource_id]
        return matches[0] if matches else None

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Return None for each but the linked Patient."""
        return [await self.read(*reference.split("/")) for reference in references]

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:  # noqa: ARG002
        """Return the linked Patient, whatever is looked for."""
        return self._patients if resource_type == "Patient" else []

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:  # noqa: ARG002
        """Return an empty page."""
        return FhirPage(resources=())

    async def find_studies(self, search: StudySearch, link: str | None = None) -> FhirPage:  # noqa: ARG002 - a port's
        """Return an empty page."""
        return FhirPage(resources=())

    async def last_version(self, resource_type: str, resource_id: str) -> Resource | None:  # noqa: ARG002 - a port's
        """Find nothing."""
        return None

    async def referrers(self, references: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Find nothing."""
        return dict.fromkeys(references, frozenset())

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """Raise, because a dry run sends nothing."""
        raise InvalidResource(f"{len(writes)} writes were sent while nothing may be")
