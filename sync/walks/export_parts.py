"""
What rows of an export keep: what is asked for, where cutting stands, what a slice covers and how far its holder is.

`sync.walks.exporting` cuts and writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for: into which container, and how large a file becomes."""

    container: str
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """
    Where cutting stands: how many ``parts`` and ``buckets`` there are, and which of each is ``next`` and to ``merge``.

    ``step`` parts are a slice; all parts together have about ``studies`` studies.
    """

    studies: int
    parts: int
    step: int
    buckets: int
    next: int = 0
    merge: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts of the keys, from one on and before another."""

    part: Literal["parts"] = "parts"
    begin: Annotated[int, Field(alias="from")]
    end: Annotated[int, Field(alias="to")]
    of: int
    buckets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One bucket of all parts."""

    part: Literal["merge"] = "merge"
    bucket: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The manifest of all."""

    part: Literal["close"] = "close"
    of: int
    buckets: int


Part = Parts | Merge | End
"""What a slice covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Which part its holder writes next; or it is over."""

    next: int | None = None
    over: bool = False


REQUEST: RowValue[Request] = RowValue(Request)
STAND: RowValue[Stand] = RowValue(Stand)
PART_VALUE: RowValue[Part] = RowValue(Annotated[Part, Field(discriminator="part")])
POSITION: RowValue[Position] = RowValue(Position)
