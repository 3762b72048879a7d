"""A share with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from insights.statistics.distributions import normal_quantile


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """
    A share.

    Attributes
    ----------
    value, interval
        None if the total is 0.
    """

    count: int
    total: int
    value: float | None
    interval: Interval | None


def wilson(count: int, total: int, *, level: float = 0.95) -> Proportion:
    """
    Return a share with Wilson's score interval, which is also valid for small numbers and extreme shares.

    Source: Wilson, J Am Stat Assoc 1927;22:209-212, without continuity correction.

    Raises
    ------
    ValueError
        `count` is negative or exceeds `total`.
    """
    if not 0 <= count <= total:
        raise ValueError("a count lies between 0 and its total")
    z = normal_quantile(level)
    if total == 0:
        return Proportion(count, total, None, None)
    share = count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return Proportion(count, total, share, Interval(low, high))
