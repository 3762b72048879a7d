"""
Measurements in a form that can be added up: over time, attributes and worker processes, in any order.

One `Measurement` serves counters (``total``), gauges (the mean ``total / count`` and ``highest``) and histograms (the
same, and ``buckets``). Pure values: `sync.telemetry.telemetry` measures, `sync.monitoring.history` keeps.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from operator import add
from typing import NamedTuple


class MeasurementKey(NamedTuple):
    """An instrument's name and the attributes it was measured with, sorted by key."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """Some measurements of one instrument, added up. The empty one is ``Measurement()``."""

    count: int = 0
    total: float = 0.0
    highest: float = -math.inf
    buckets: tuple[int, ...] = ()
    """For a histogram: the number of values at or below each bound, and above the last one. Not cumulative."""

    def __add__(self, other: Measurement) -> Measurement:
        if len(self.buckets) == len(other.buckets):
            buckets = tuple(map(add, self.buckets, other.buckets))
        else:
            buckets = tuple(map(sum, zip_longest(self.buckets, other.buckets, fillvalue=0)))
        return Measurement(
            self.count + other.count, self.total + other.total, max(self.highest, other.highest), buckets
        )

    @property
    def mean(self) -> float | None:
        """Mean of the measurements; None when there is none."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float, bounds: Sequence[float]) -> float | None:
        """
        Estimate a quantile from the buckets, linearly within one; never more than the highest measurement.

        Returns
        -------
        float or None
            None if there is no measurement.
        """
        if not self.count or not self.buckets:
            return None
        rank, passed = share * self.count, 0
        for place, number in enumerate(self.buckets):
            if number and passed + number >= rank:
                low = bounds[place - 1] if place else 0.0
                high = min(bounds[place], self.highest) if place < len(bounds) else self.highest
                return min(low + (high - low) * max(rank - passed, 0.0) / number, self.highest)
            passed += number
        return self.highest


Measurements = Mapping[MeasurementKey, Measurement]


def single(value: float, bounds: Sequence[float] = ()) -> Measurement:
    """Return the `Measurement` of a single value."""
    if not bounds:
        return Measurement(1, value, value)
    place = bisect_left(bounds, value)
    return Measurement(1, value, value, tuple(int(n == place) for n in range(len(bounds) + 1)))


def added_up(many: Iterable[Measurements]) -> dict[MeasurementKey, Measurement]:
    """Add up measurements, key by key."""
    whole: dict[MeasurementKey, Measurement] = {}
    for samples in many:
        for key, sample in samples.items():
            whole[key] = whole[key] + sample if key in whole else sample
    return whole


MINUTE, TENTH, HOUR = 60, 600, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """
    Measurements of one worker process in one minute or, with an empty ``worker``, of all in a minute or longer.

    ``seconds`` is `MINUTE`, `TENTH` (ten minutes) or `HOUR`; ``start`` is a multiple of it, aware UTC.
    """

    seconds: int
    start: datetime
    worker: str
    samples: Measurements
