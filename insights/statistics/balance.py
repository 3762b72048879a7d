"""
Balance of two groups in a covariate: standardised differences, which do not grow with the number of people.

Source: Austin, Multivariate Behav Res 2011;46:399-424. Groups are usually called unbalanced from 0.1 on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_FEWEST = 2
"""Minimum number of values for a variance."""


def standardised_difference(one: Sequence[float], other: Sequence[float]) -> float | None:
    """
    Return the difference of means in pooled standard deviations.

    Returns
    -------
    float or None
        None if a group has fewer than two values, or no value differs although the means do.
    """
    if min(len(one), len(other)) < _FEWEST:
        return None
    difference = statistics.fmean(one) - statistics.fmean(other)
    return _standardised(difference, (statistics.variance(one) + statistics.variance(other)) / 2)


def standardised_difference_of_shares(one: int, of_one: int, other: int, of_other: int) -> float | None:
    """
    Return the difference of two shares in standard deviations; None if a group is empty.

    Raises
    ------
    ValueError
        A count is negative or exceeds its total.
    """
    if not (0 <= one <= of_one and 0 <= other <= of_other):
        raise ValueError("a count lies between 0 and its total")
    if not of_one or not of_other:
        return None
    first, second = one / of_one, other / of_other
    return _standardised(first - second, (first * (1 - first) + second * (1 - second)) / 2)


def _standardised(difference: float, variance: float) -> float | None:
    if variance == 0:
        return 0.0 if difference == 0 else None
    return difference / math.sqrt(variance)
