"""
Identities: an object is one blob, or one instance of a DICOM service; a study is one ImagingStudy in FHIR.

An object is what a store can create, overwrite and delete. One study has many objects, and one SOP Instance UID may sit
in several objects. Keys are hashes: Azure tables forbid some characters in keys, and blob names may hold patient names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

LOCATOR_BUCKETS = 2
"""Partitions over which a folder is spread; more partitions spread the load, fewer allow larger batches."""


def digest(*parts: str, length: int = 40) -> str:
    """Return the hex SHA-256 of the parts, cut to ``length`` characters; parts cannot run into each other."""
    joined = "\x00".join(parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def folder_partitions(account: str, container: str, folder: str) -> tuple[str, ...]:
    """Return the partitions that hold the rows of a folder's objects."""
    start = digest(account, container, folder, length=20)
    return tuple(f"{start}-{bucket}" for bucket in range(LOCATOR_BUCKETS))


class ObjectKey(NamedTuple):
    """The table keys of an object's rows. Both parts are hashes, so they may stand in logs and dead letters."""

    partition: str
    row: str

    def __str__(self) -> str:
        return f"{self.partition}.{self.row}"

    @classmethod
    def parse(cls, text: str) -> ObjectKey:
        """Read a key back: the inverse of ``str``; ValueError when the text is not one."""
        partition, row = text.split(".")
        return cls(partition, row)


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """One object of a store: account, container and name, as the store spells them (case matters)."""

    account: str
    container: str
    name: str

    @cached_property
    def key(self) -> ObjectKey:
        """Hashed key. The partition depends on the folder, split into a few buckets so that a flat container scales."""
        folder = self.name.rpartition("/")[0]
        row = digest(self.account, self.container, self.name)
        bucket = int(row[:4], 16) % LOCATOR_BUCKETS
        return ObjectKey(folder_partitions(self.account, self.container, folder)[bucket], row)


@dataclass(frozen=True, kw_only=True, order=True)
class StudyRef:
    """
    One study: Study Instance UID (0020,000D) within a data partition.

    ``partition`` is empty for blobs; DICOM services with data partitions may hold one UID in several.
    """

    study_instance_uid: str
    partition: str = ""

    @cached_property
    def key(self) -> str:
        """Hashed key, 40 hex digits; also the unique part of the FHIR id."""
        return digest(self.partition, self.study_instance_uid)
