"""
Manifests of an export: which files hold its resources, and how many. Their JSON is read and written here alone.

    an export, one of its parts, one of its buckets  ->  a frozen value  ->  `json_of`  ->  a file

Names in JSON, and their order, are part of the format: processes of different versions read each other's manifests.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from sync.errors import StoreUnavailable

MANIFEST = "manifest.json"
"""Name of the manifest of an export, by which it is complete."""

UNFINISHED = f"{MANIFEST}.part"
"""Name of the file that a folder has from the beginning of an export until its manifest is there."""

_OF_UNFINISHED = re.compile(r".+\.part|(part|merged)-\d{6}\.json|shared-\d{6}-[0-9a-f]+\.ndjson")


@dataclass(frozen=True, slots=True, kw_only=True)
class NdjsonFile:
    """A file with resources of one type, one per line."""

    name: str
    kind: Annotated[str, Field(alias="type")]
    count: int
    size: Annotated[int, Field(alias="bytes")]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of an export, or of one of its buckets: nothing but what the ledger determines."""

    format: Literal["dicom-fhir-sync export 1"] = "dicom-fhir-sync export 1"
    files: tuple[NdjsonFile, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    """Number of resources by type."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Studies that are not in the files, by reason: ``adopted`` (owned by another system), ``dead_lettered``."""


class BucketRange(NamedTuple):
    """Where a bucket is in a file, and the digest of its bytes."""

    start: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """The file of a part's content that other parts may have too, bucket by bucket; empty buckets are left out."""

    name: str
    sha256: str
    buckets: Mapping[int, BucketRange]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartManifest(Manifest):
    """The content of a part: ``files`` of its own, and the file of content that it shares with other parts."""

    studies: int
    shared: SharedFile


M = TypeVar("M", bound=Manifest)


def joined(manifests: Iterable[Manifest]) -> Manifest:
    """Return the manifest of several parts together; its files are in the order of their names. Pure."""
    files, resources, left_out = list[NdjsonFile](), Counter[str](), Counter[str]()
    for manifest in manifests:
        files += manifest.files
        resources.update(manifest.resources)
        left_out.update(manifest.left_out)
    return manifest_of(files, resources, left_out)


def manifest_of(files: Iterable[NdjsonFile], resources: Mapping[str, int], left_out: Mapping[str, int]) -> Manifest:
    """Return a manifest in the order that equal exports share: files and counts by name. Pure."""
    by_name = tuple(sorted(files, key=lambda file: file.name))
    return Manifest(files=by_name, resources=dict(sorted(resources.items())), left_out=dict(sorted(left_out.items())))


_adapter: Any = cache(TypeAdapter)


def tells_unfinished(name: str) -> bool:
    """Return whether a file is of an export, or of a download, that has not ended: the others are not all there."""
    return _OF_UNFINISHED.fullmatch(name) is not None


def json_of(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON. Inverse of `read_manifest`."""
    written: dict[str, Any] = _adapter(type(manifest)).dump_python(manifest, mode="json", by_alias=True)
    return written


def read_manifest(content: bytes, shape: type[M]) -> M:
    """
    Return the manifest in a file.

    Raises
    ------
    StoreUnavailable
        ``store.garbled``: the file does not hold one of this shape.
    """
    try:
        manifest: M = _adapter(shape).validate_json(content)
    except ValidationError:
        raise StoreUnavailable("a manifest of the export is not as it was written", code="store.garbled") from None
    return manifest
