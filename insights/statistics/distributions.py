"""Normal, chi-squared and Student's t distributions, by their closed forms for whole degrees of freedom."""

from __future__ import annotations

import math
from statistics import NormalDist

_STEPS = 200
"""Bisections of an interval; far more than a double has digits."""


def normal_quantile(level: float) -> float:
    """
    Return z so that the share `level` of a standard normal lies between -z and z; 1.96 for 0.95.

    Raises
    ------
    ValueError
        `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError("a level is between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf((1 + level) / 2)


def chi_squared_above(value: float, degrees: int) -> float:
    """
    Return the probability that chi-squared exceeds a value.

    Source: Abramowitz and Stegun, 26.4.4 and 26.4.5.
    """
    if degrees < 1:
        raise ValueError("chi-squared has 1 degree of freedom or more")
    if value <= 0:
        return 1.0
    half = value / 2
    if degrees % 2 == 0:
        total, term = 0.0, 1.0
        for number in range(degrees // 2):
            term = term * half / number if number else 1.0
            total += term
        return math.exp(-half) * total
    total, term = 0.0, math.sqrt(half) / math.gamma(1.5)
    for number in range((degrees - 1) // 2):
        term = term * half / (number + 0.5) if number else term
        total += term
    return math.erfc(math.sqrt(half)) + math.exp(-half) * total


def t_quantile(level: float, degrees: int) -> float:
    """Return t so that the share `level` of Student's t lies between -t and t; 2.120 for 0.95 and 16."""
    if not 0 < level < 1:
        raise ValueError("a level is between 0 and 1, such as 0.95")
    low, high = 0.0, 1.0
    while t_within(high, degrees) < level:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, degrees) < level else (low, middle)
    return (low + high) / 2


def t_within(value: float, degrees: int) -> float:
    """
    Return the share of Student's t between -value and value.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    if degrees < 1:
        raise ValueError("Student's t has 1 degree of freedom or more")
    angle = math.atan(value / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    if degrees % 2 == 0:
        total, term = 0.0, 1.0
        for number in range(degrees // 2):
            term = term * cosine**2 * (2 * number - 1) / (2 * number) if number else 1.0
            total += term
        return sine * total
    total, term = 0.0, cosine
    for number in range((degrees - 1) // 2):
        term = term * cosine**2 * (2 * number) / (2 * number + 1) if number else cosine
        total += term
    return 2 / math.pi * (angle + sine * total)
