"""Keeps a process's memory of each run of a walk between slices; losing it only costs requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_RUNS = 4
"""How many of the last runs are remembered."""


class ByRun(Generic[T]):
    """
    One mutable value for each of the last runs.

    Parameters
    ----------
    new
        Makes the value of a run that is not remembered.
    """

    def __init__(self, new: Callable[[], T]) -> None:
        self._new = new
        self._kept: OrderedDict[str, T] = OrderedDict()

    def of(self, run: str) -> T:
        """Return the value of a run, and forget the runs before the last few."""
        if run not in self._kept:
            self._kept[run] = self._new()
        self._kept.move_to_end(run)
        while len(self._kept) > MOST_RUNS:
            self._kept.popitem(last=False)
        return self._kept[run]
