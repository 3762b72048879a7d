"""
The manifest of a folder of NDJSON files: of a Bulk Data export, or of ``python -m sync export``.

    a file, or a service's answer  ->  `read_manifest`  ->  a frozen value  ->  `write_manifest`  ->  a file

Source: FHIR Bulk Data Access 2.0, output manifest (https://hl7.org/fhir/uv/bulkdata/export.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from sync.model.exports import MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of a Bulk Data export: the type of its resources, and its address."""

    type: str | None = None
    url: str

    @property
    def name(self) -> str:
        """Return the name that ends its address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFile:
    """A file of ``python -m sync export``."""

    name: str
    size: Annotated[int, Field(alias="bytes")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of a folder; a field is None if the service does not report it, as opposed to reporting no file."""

    time: Annotated[str | None, Field(alias="transactionTime")] = None
    requires_token: Annotated[bool | None, Field(alias="requiresAccessToken")] = None
    output: tuple[ListedFile, ...] | None = None
    deleted: tuple[ListedFile, ...] | None = None
    error: tuple[ListedFile, ...] | None = None
    files: tuple[SyncFile, ...] | None = None

    @classmethod
    def of_day(cls, day: date) -> Manifest:
        """Return the manifest of a folder that holds all that was known at the end of a day."""
        return cls(time=f"{day.isoformat()}T23:59:59Z")


_ADAPTER = TypeAdapter(Manifest)


def read_manifest(content: bytes) -> Manifest:
    """
    Return the manifest in a file or an answer. Inverse of `write_manifest`.

    Raises
    ------
    ValueError
        It holds none.
    """
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError:
        raise ValueError("no manifest of an export") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder."""
    (folder / MANIFEST).write_bytes(_ADAPTER.dump_json(manifest, by_alias=True, exclude_none=True) + b"\n")
