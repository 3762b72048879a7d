"""
Values in the rows of an export: the request, the position of cutting, the range of a slice, and its holder's position.

`sync.walks.exporting` cuts and writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from sync.protocol.row_values import RowValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request: the target container, and the size of files."""

    container: str
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """
    Position of cutting: the numbers of ``parts`` and ``buckets``, the ``next`` part and the next bucket to ``merge``.

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
    """Parts of the study keys: from one number until before another."""

    part: Literal["parts"] = "parts"
    begin: Annotated[int, Field(alias="from")]
    end: Annotated[int, Field(alias="to")]
    of: int
    buckets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One bucket, of that many, of all parts."""

    part: Literal["merge"] = "merge"
    bucket: int
    buckets: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The manifest of the whole export."""

    part: Literal["close"] = "close"
    of: int
    buckets: int


Part = Parts | Merge | End
"""The range of a slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The part that the slice's holder writes next; or the slice is over."""

    next: int | None = None
    over: bool = False


REQUEST: RowValue[Request] = RowValue(Request)
STAND: RowValue[Stand] = RowValue(Stand)
PART_VALUE: RowValue[Part] = RowValue(Annotated[Part, Field(discriminator="part")])
POSITION: RowValue[Position] = RowValue(Position)
