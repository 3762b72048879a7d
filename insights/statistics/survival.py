"""
Survival: the curve of Kaplan and Meier with Greenwood's variance, and the log-rank test.

If an event and a censoring have the same time, the event counts first.
Sources: Kaplan and Meier, J Am Stat Assoc 1958;53:457-481; Kalbfleisch and Prentice, The Statistical Analysis of
Failure Time Data, 1.4 (interval of log(-log S), which stays between 0 and 1); Mantel, Cancer Chemother Rep
1966;50:163-170.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from insights.statistics.distributions import chi_squared_above, normal_quantile
from insights.statistics.proportions import Interval

_CERTAIN = 1e-12


@dataclass(frozen=True, slots=True)
class Survival:
    """
    One person's time.

    Attributes
    ----------
    time
        From the start, in any unit; 0 or more.
    event
        False if no event was seen until then: censored.
    """

    time: float
    event: bool


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """
    The curve from the time of an event on.

    Attributes
    ----------
    at_risk, events
        Just before, and at, this time.
    error
        Standard error by Greenwood; 0 once the curve is 0.
    interval
        None where it is not defined: once the curve is 0.
    """

    time: float
    at_risk: int
    events: int
    survival: float
    error: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Curve:
    """
    A curve of Kaplan and Meier.

    Attributes
    ----------
    points
        One per time with events, in order.
    times
        Times of all people, in order.
    """

    points: tuple[CurvePoint, ...]
    times: tuple[float, ...]

    def at(self, time: float) -> CurvePoint | None:
        """Return the last point not after a time; None before the first event, when survival is 1."""
        number = bisect_right([point.time for point in self.points], time)
        return self.points[number - 1] if number else None

    def at_risk(self, time: float) -> int:
        """Return the number of people without an event or censoring before a time."""
        return sum(own >= time for own in self.times)

    @property
    def median(self) -> float | None:
        """Return the first time at which the curve is at most one half; None if there is none."""
        return next((point.time for point in self.points if point.survival <= 0.5 + _CERTAIN), None)


@dataclass(frozen=True, slots=True)
class LogRank:
    """
    The log-rank test.

    Attributes
    ----------
    observed, expected
        Events of each group, and those expected if the groups did not differ.
    """

    chi_squared: float
    degrees: int
    p: float
    observed: tuple[int, ...]
    expected: tuple[float, ...]


def kaplan_meier(people: Sequence[Survival], *, level: float = 0.95) -> Curve:
    """
    Return the curve of a group; the curve of an empty group has no points.

    Raises
    ------
    ValueError
        A time is negative or no number.
    """
    _check(people)
    z = normal_quantile(level)
    points = []
    survival, sum_of_terms = 1.0, 0.0
    for time, events, at_risk in _deaths(people):
        survival *= 1 - events / at_risk
        if events == at_risk:
            points.append(CurvePoint(time, at_risk, events, 0.0, 0.0, None))
            break
        sum_of_terms += events / (at_risk * (at_risk - events))
        root = math.sqrt(sum_of_terms)
        factor = math.exp(z * root / -math.log(survival))
        interval = Interval(survival**factor, survival ** (1 / factor))
        points.append(CurvePoint(time, at_risk, events, survival, survival * root, interval))
    return Curve(tuple(points), tuple(sorted(person.time for person in people)))


def log_rank(groups: Sequence[Sequence[Survival]]) -> LogRank | None:
    """
    Compare the curves of two or more groups.

    Returns
    -------
    LogRank or None
        None if it cannot be computed: there are no events, or a group has no one at risk at any of them.

    Raises
    ------
    ValueError
        There are fewer than two groups, or a time is negative or no number.
    """
    if len(groups) < 2:  # noqa: PLR2004 -- to compare
        raise ValueError("a comparison needs two groups")
    for group in groups:
        _check(group)
    last = len(groups) - 1
    observed, expected = [0] * len(groups), [0.0] * len(groups)
    covariance = [[0.0] * last for _ in range(last)]
    for time, events, at_risk in _deaths([person for group in groups for person in group]):
        shares = [sum(person.time >= time for person in group) / at_risk for group in groups]
        for number, group in enumerate(groups):
            observed[number] += sum(person.event and person.time == time for person in group)
            expected[number] += events * shares[number]
        if at_risk > 1:
            scale = events * (at_risk - events) / (at_risk - 1)
            for row in range(last):
                for column in range(last):
                    covariance[row][column] += scale * shares[row] * ((row == column) - shares[column])
    differences = [observed[number] - expected[number] for number in range(last)]
    solved = _solve(covariance, differences)
    if solved is None:
        return None
    value = sum(one * other for one, other in zip(differences, solved, strict=True))
    return LogRank(value, last, chi_squared_above(value, last), tuple(observed), tuple(expected))


def _check(people: Sequence[Survival]) -> None:
    if not all(math.isfinite(person.time) and person.time >= 0 for person in people):
        raise ValueError("a time is a number, 0 or more")


def _deaths(people: Sequence[Survival]) -> list[tuple[float, int, int]]:
    """Return every time with events, with the events and those at risk."""
    ordered = sorted(people, key=lambda person: person.time)
    times = [person.time for person in ordered]
    counts: dict[float, int] = {}
    for person in ordered:
        if person.event:
            counts[person.time] = counts.get(person.time, 0) + 1
    first = {time: number for number, time in reversed(list(enumerate(times)))}
    return [(time, events, len(times) - first[time]) for time, events in counts.items()]


def _solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """Solve linear equations by Gauss and Jordan; None if they have no unique solution."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(len(rows)):
        pivot = max(range(column, len(rows)), key=lambda number: abs(rows[number][column]))
        if abs(rows[pivot][column]) < _CERTAIN:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column]
        for number, row in enumerate(rows):
            if number != column:
                factor = row[column] / head[column]
                rows[number] = [value - factor * other for value, other in zip(row, head, strict=True)]
    return [row[-1] / row[number] for number, row in enumerate(rows)]
