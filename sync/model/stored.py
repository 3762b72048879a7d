"""A value with the ETag of its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A value with the ETag of the table row that holds it."""

    value: T
    etag: str
