"""
Lists the NDJSON files of a folder by type, and the resources that the files report as deleted.

Source: FHIR Bulk Data Access 2.0 (https://hl7.org/fhir/uv/bulkdata/export.html), output, deleted and error files.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from insights.errors import CollectError, DataError
from insights.manifest import ListedFile, Manifest, read_manifest
from sync.model.exports import MANIFEST, tells_unfinished

_TYPED = re.compile(r"^([A-Z][A-Za-z]+)(?:[.\-_ ].*)?\.ndjson(?:\.gz)?$")
_REFERENCE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})$")


@dataclass(frozen=True)
class Input:
    """
    Files to load.

    Attributes
    ----------
    by_type
        NDJSON files by type of resource, sorted.
    deleted
        Deleted resources, as (type, id).
    time
        Transaction time that the export states; None if it states none.
    """

    by_type: dict[str, tuple[Path, ...]]
    deleted: frozenset[tuple[str, str]] = frozenset()
    time: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(size_of(files) for files in self.by_type.values())


def size_of(files: Iterable[Path]) -> int:
    """Return the bytes of files."""
    return sum(file.stat().st_size for file in files)


def read_folder(folder: Path) -> Input:
    """
    List a folder with the output of a Bulk Data export, or of ``python -m sync export``.

    Raises
    ------
    CollectError
        ``collect.no_folder``, ``collect.no_files``; ``collect.incomplete`` when the export or its download has
        not ended, or the manifest names missing files, or errors.
    DataError
        ``data.malformed`` when the manifest or a deletion is not readable.
    """
    if not folder.is_dir():
        raise CollectError(f"{folder} is no folder", code="collect.no_folder")
    _check_ended(folder)
    manifest = _manifest(folder)
    _check_complete(folder, manifest)
    deletions = [*sorted(folder.glob("deleted/*.ndjson*")), *sorted(folder.glob("deleted*.ndjson*"))]
    others = {folder / name for name in _names(manifest.error)} | set(deletions)
    deletions += [folder / name for name in _names(manifest.deleted) if folder / name not in deletions]
    exported = sorted(file for file in folder.glob("*.ndjson*") if file.name.endswith((".ndjson", ".ndjson.gz")))
    files = [file for file in exported if file not in others and file not in deletions]
    if manifest.files is not None:  # a killed worker may have left others, until the end of the export deletes them
        files = [file for file in files if file.name in {named.name for named in manifest.files}]
    by_type: dict[str, list[Path]] = {}
    for file in files:
        kind = _type_of(file)
        if kind is not None:
            by_type.setdefault(kind, []).append(file)
    if not by_type and not deletions:
        raise CollectError(f"{folder} has no NDJSON files", code="collect.no_files")
    gone = frozenset(reference for file in deletions for reference in _deleted(file))
    ordered = {kind: tuple(by_type[kind]) for kind in sorted(by_type)}
    return Input(ordered, gone, manifest.time)


def _check_ended(folder: Path) -> None:
    if unfinished := sorted(file.name for file in folder.iterdir() if tells_unfinished(file.name)):
        message = f"the export or its download in {folder} has not ended: it holds {unfinished[0]}"
        raise CollectError(message, code="collect.incomplete", hint="Wait for its end, or export again.")


def _manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST
    try:
        return read_manifest(file.read_bytes()) if file.exists() else Manifest()
    except ValueError as problem:
        raise DataError(f"{file}: {problem}", code="data.malformed") from None


def _names(listed: Sequence[ListedFile] | None) -> list[str]:
    return [file.name for file in listed or ()]


def _check_complete(folder: Path, manifest: Manifest) -> None:
    names = [*_names(manifest.output), *_names(manifest.deleted)]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        message = f"{folder / MANIFEST} names files that are not there: {len(missing)}, the first is {missing[0]}"
        raise CollectError(message, code="collect.incomplete", hint="Download them, or export again.")
    torn = [
        name
        for name, size in ((PurePosixPath(file.name).name, file.size) for file in manifest.files or ())
        if not (folder / name).exists() or (folder / name).stat().st_size != size
    ]
    if torn:
        message = f"{folder / torn[0]} is not as {MANIFEST} says"
        raise CollectError(message, code="collect.incomplete", hint="Download it again, or export again.")
    failed = [name for name in _names(manifest.error) if _has_errors(folder / name)]
    if failed:
        message = f"the export reports errors, the first file is {folder / failed[0]}"
        raise CollectError(
            message, code="collect.incomplete", hint="Export again; a partial export gives wrong counts."
        )


def _has_errors(file: Path) -> bool:
    if not file.exists():
        return True
    severe = ('"error"', '"fatal"')
    with _opened(file) as lines:
        return any(severity in line for line in lines for severity in severe)


def _type_of(file: Path) -> str | None:
    """Return the type of a file's resources: by its name, else by its first line; None if it is empty."""
    named = _TYPED.match(file.name)
    if named:
        return named.group(1) if file.stat().st_size else None
    for _, resource in _lines(file):
        kind = resource.get("resourceType")
        if isinstance(kind, str):
            return kind
        raise DataError(f"{file}:1: not a FHIR resource", code="data.malformed")
    return None


def _deleted(file: Path) -> Iterator[tuple[str, str]]:
    for number, bundle in _lines(file):
        for entry in bundle.get("entry") or []:
            request = entry.get("request") if isinstance(entry, dict) else None
            match = _REFERENCE.search(str((request or {}).get("url") or ""))
            if match is None or (request or {}).get("method") != "DELETE":
                raise DataError(f"{file}:{number}: not a deletion", code="data.malformed")
            yield match.group(1), match.group(2)


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                resource = json.loads(line)
            except ValueError:
                raise DataError(f"{file}:{number}: not JSON", code="data.malformed") from None
            if not isinstance(resource, dict):
                raise DataError(f"{file}:{number}: not a FHIR resource", code="data.malformed")
            yield number, resource


def _opened(file: Path) -> Any:
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")
