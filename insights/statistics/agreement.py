"""Agreement of two readings: Cohen's kappa for categories, the limits of Bland and Altman for sizes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from insights.statistics.distributions import normal_quantile, t_quantile
from insights.statistics.proportions import Interval

Weights = Literal["none", "linear", "quadratic"]

_FEWEST = 2
"""Minimum number of pairs for a standard deviation, and of categories for kappa."""


@dataclass(frozen=True, slots=True)
class Kappa:
    """
    Cohen's kappa.

    Attributes
    ----------
    observed, expected
        Observed (weighted) agreement, and the agreement expected by chance.
    value, error, interval
        None if kappa is not defined: no pairs, or both readers always choose the same category.
    """

    total: int
    observed: float | None
    expected: float | None
    value: float | None
    error: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """
    Differences of pairs, first minus second.

    Attributes
    ----------
    bias
        Mean difference.
    deviation
        Standard deviation of the differences.
    limits
        Limits between which the share `level` of differences is expected.
    bias_interval, lower_interval, upper_interval
        Of the bias and of either limit.
    """

    pairs: int
    bias: float
    deviation: float
    limits: Interval
    bias_interval: Interval
    lower_interval: Interval
    upper_interval: Interval


def kappa(table: Sequence[Sequence[int]], *, weights: Weights = "none", level: float = 0.95) -> Kappa:
    """
    Return the agreement of two readers beyond chance.

    Parameters
    ----------
    table
        Counts; rows are the categories of the first reader, columns those of the second, in one order.
    weights
        For ordered categories: how much a disagreement counts by its distance.

    Notes
    -----
    Standard error of large samples. Sources: Cohen, Psychol Bull 1968;70:213-220; Fleiss, Cohen and Everitt, Psychol
    Bull 1969;72:323-327.

    Raises
    ------
    ValueError
        The table is not square, has one category, or a negative count.
    """
    size = len(table)
    if size < _FEWEST or any(len(row) != size for row in table) or any(count < 0 for row in table for count in row):
        raise ValueError("a table of agreement is square, with counts, of two categories or more")
    total = sum(map(sum, table))
    if total == 0:
        return Kappa(0, None, None, None, None, None)
    every = range(size)
    share = [[count / total for count in row] for row in table]
    rows = [sum(row) for row in share]
    columns = [sum(share[row][column] for row in every) for column in every]
    weight = [[_weight(row, column, size, weights) for column in every] for row in every]
    observed = sum(weight[row][column] * share[row][column] for row in every for column in every)
    expected = sum(weight[row][column] * rows[row] * columns[column] for row in every for column in every)
    if math.isclose(expected, 1):
        return Kappa(total, observed, expected, None, None, None)
    value = (observed - expected) / (1 - expected)
    of_row = [sum(columns[column] * weight[row][column] for column in every) for row in every]
    of_column = [sum(rows[row] * weight[row][column] for row in every) for column in every]
    spread = sum(
        share[row][column] * (weight[row][column] - (of_row[row] + of_column[column]) * (1 - value)) ** 2
        for row in every
        for column in every
    )
    variance = max(0.0, spread - (value - expected * (1 - value)) ** 2) / (total * (1 - expected) ** 2)
    error = math.sqrt(variance)
    half = normal_quantile(level) * error
    interval = Interval(max(-1.0, value - half), min(1.0, value + half))
    return Kappa(total, observed, expected, value, error, interval)


def _weight(row: int, column: int, size: int, weights: Weights) -> float:
    if weights == "none":
        return float(row == column)
    distance = abs(row - column) / (size - 1)
    return 1 - (distance if weights == "linear" else distance**2)


def bland_altman(pairs: Sequence[tuple[float, float]], *, level: float = 0.95) -> BlandAltman | None:
    """
    Return bias and limits of agreement of two measurements of the same things; None for fewer than two pairs.

    Source: Bland and Altman, Lancet 1986;327:307-310. Limits are bias -/+ 1.96 standard deviations (for 0.95), their
    standard errors about the square root of 3 over n times the standard deviation.
    """
    if len(pairs) < _FEWEST:
        return None
    differences = [one - other for one, other in pairs]
    count = len(differences)
    bias, deviation = statistics.fmean(differences), statistics.stdev(differences)
    reach = normal_quantile(level) * deviation
    t = t_quantile(level, count - 1)
    of_bias, of_limit = t * deviation / math.sqrt(count), t * deviation * math.sqrt(3 / count)
    low, high = bias - reach, bias + reach
    return BlandAltman(
        count,
        bias,
        deviation,
        Interval(low, high),
        Interval(bias - of_bias, bias + of_bias),
        Interval(low - of_limit, low + of_limit),
        Interval(high - of_limit, high + of_limit),
    )
