"""Answers of the stores of objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.model.identity import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some bytes of an object, and what its store says of it: ETag without quotes, whole size, last change (UTC)."""

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
    Some objects of a listing in the order of their names; ``token`` asks for the next page, None: that was the last.

    A token may hold an object's name: it is kept in a cursor and never shown.
    """

    objects: Sequence[ListedObject] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSegment:
    """
    About an hour of a blob change feed. Only a ``finished`` one gets no further records.

    ``shards`` are the folders of its chunk files.
    """

    begin: datetime
    finished: bool
    shards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMetadata:
    """What a DICOM service says of one instance: its DICOM JSON (PS3.18 F.2), unjudged, and when it last changed."""

    dataset: Any = field(repr=False)
    etag: str = ""
    changed: datetime | None = None
