"""Answers of the stores of objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.model.identity import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some bytes of an object, with its ETag (without quotes), its whole size and its last change (UTC)."""

    data: bytes
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object as a listing of its container shows it."""

    object: ObjectRef
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    One page of a listing, in the order of names; ``token`` requests the next page, None after the last one.

    A token may hold an object's name, so it is kept in a cursor and never shown.
    """

    objects: Sequence[ListedObject] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSegment:
    """
    About an hour of a blob change feed. Only a ``finished`` segment receives no more records.

    ``shards`` are the folders of its chunk files.
    """

    begin: datetime
    finished: bool
    shards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMetadata:
    """A DICOM service's answer about one instance: its DICOM JSON (PS3.18 F.2), not validated, and its last change."""

    dataset: Any = field(repr=False)
    etag: str = ""
    changed: datetime | None = None
