"""Slices of a sequence, for requests of limited size or for concurrent work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Iterate over slices of at most ``size`` values, in order; as `itertools.batched`, which Python 3.11 lacks."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
