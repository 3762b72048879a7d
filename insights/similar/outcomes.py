"""Groups of followed people, their curves and their balance, with small cells hidden. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from insights.cohort.protection import protected, safe
from insights.similar.follow_up import Followed
from insights.similar.rule import Follow
from insights.statistics import (
    LogRank,
    kaplan_meier,
    log_rank,
    standardised_difference,
    standardised_difference_of_shares,
)

NONE_OF_THEM = "none of these"
POOLED = "other combinations"
_PERCENT = 100
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Point:
    """
    The curve at one time; shares in per cent.

    Attributes
    ----------
    days
        From the landmark on.
    at_risk
        Number of people still followed.
    low, high
        The 95 % interval; None where it is not defined.
    """

    days: float
    at_risk: int
    survival: int
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """
    People who had the same treatments.

    Attributes
    ----------
    people
        None is hidden.
    events
        None is hidden.
    points
        Points of the curve; None for a time with too few people. Empty if no curve may be shown.
    median
        Days after which half of them had the event; None if the shown curve does not reach it.
    """

    name: str
    people: int | None
    events: int | None
    points: tuple[Point | None, ...]
    median: float | None


@dataclass(frozen=True, slots=True)
class Balance:
    """
    The balance of the groups in one covariate.

    Attributes
    ----------
    values
        One per group: a mean or a per cent; None is hidden or unknown.
    difference
        The largest standardised difference of any two groups; None if it cannot be computed or shown.
    """

    covariate: str
    values: tuple[str | None, ...]
    difference: float | None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """
    The disclosable outcomes of the people who are followed.

    Attributes
    ----------
    groups
        Those with a curve, largest first, then the pooled ones.
    """

    groups: tuple[Group, ...]
    test: LogRank | None
    balance: tuple[Balance, ...]


def outcomes(people: Sequence[Followed], names: Sequence[str], follow: Follow, minimum: int) -> Outcomes:
    """
    Return the outcomes that may be shown.

    Groups below the minimum are pooled until the pool is no small cell: otherwise the total would reveal their size.

    Parameters
    ----------
    names
        Of the treatments, as in `Followed.treatments`.
    """
    shown, pooled = _grouped(people, names, minimum)
    groups = [_group(name, members, follow, minimum) for name, members in shown]
    if pooled:
        groups.append(Group(POOLED, len(pooled) if safe(len(pooled), minimum) else None, None, (), None))
    test = None
    if len(shown) > 1:
        test = log_rank([[member.survival for member in members] for _, members in shown])
    return Outcomes(tuple(groups), test, _balance([members for _, members in shown], minimum))


Grouped = list[tuple[str, list[Followed]]]


def _grouped(people: Sequence[Followed], names: Sequence[str], minimum: int) -> tuple[Grouped, list[Followed]]:
    by_treatment: dict[str, list[Followed]] = {}
    for person in people:
        had = [name for name, took in zip(names, person.treatments, strict=True) if took]
        by_treatment.setdefault(" + ".join(had) or NONE_OF_THEM, []).append(person)
    shown = sorted(by_treatment.items(), key=lambda item: (-len(item[1]), item[0]))
    pooled: list[Followed] = []
    while shown and (len(shown[-1][1]) < minimum or 0 < len(pooled) < minimum):
        pooled += shown.pop()[1]
    return shown, pooled


def _group(name: str, members: Sequence[Followed], follow: Follow, minimum: int) -> Group:
    times = [member.survival for member in members]
    curve = kaplan_meier(times)
    points: list[Point | None] = []
    before = len(members)
    last = -1.0
    for number in range(follow.points + 1):
        days = number * follow.every.days
        at_risk = curve.at_risk(days)
        if not (at_risk >= minimum and safe(before - at_risk, minimum)):
            points.append(None)
            continue
        before, last = at_risk, days
        at = curve.at(days)
        interval = at.interval if at else None
        points.append(
            Point(
                days,
                at_risk,
                _per_cent(at.survival if at else 1.0),
                _per_cent(interval.low) if interval else None,
                _per_cent(interval.high) if interval else None,
            )
        )
    events = sum(time.event for time in times)
    median = curve.median if curve.median is not None and curve.median <= last else None
    return Group(name, len(members), protected(events, len(members), minimum), tuple(points), median)


def _per_cent(share: float) -> int:
    return round(share * _PERCENT)


def _balance(groups: Sequence[Sequence[Followed]], minimum: int) -> tuple[Balance, ...]:
    if not groups:
        return ()
    numeric: tuple[tuple[str, Callable[[Followed], float | None]], ...] = (
        ("age at the diagnosis (mean)", lambda person: person.age),
        ("size of the lesion (mean)", lambda person: person.size),
        ("year of the diagnosis (mean)", lambda person: person.year),
    )
    balances = [
        _means(name, [[value(person) for person in group] for group in groups], minimum) for name, value in numeric
    ]
    balances.append(_shares("female (%)", [[person.sex == "female" for person in group] for group in groups], minimum))
    return tuple(balance for balance in balances if any(value is not None for value in balance.values))


def _means(name: str, groups: Sequence[Sequence[float | None]], minimum: int) -> Balance:
    present = [[value for value in group if value is not None] for group in groups]
    enough = [values if len(values) >= minimum else [] for values in present]
    shown = tuple(f"{sum(values) / len(values):.1f}" if values else None for values in enough)
    return Balance(name, shown, _largest(enough, standardised_difference))


def _shares(name: str, groups: Sequence[Sequence[bool]], minimum: int) -> Balance:
    counts = [(protected(sum(group), len(group), minimum), len(group)) for group in groups]
    shown = tuple(None if count is None else f"{_PERCENT * count / total:.0f}" for count, total in counts)
    visible = [(count, total) for count, total in counts if count is not None]
    difference = _largest(visible, lambda one, other: standardised_difference_of_shares(*one, *other))
    return Balance(name, shown, difference if len(visible) == len(counts) else None)


def _largest(groups: Sequence[_T], differ: Callable[[_T, _T], float | None]) -> float | None:
    pairs = [differ(one, other) for number, one in enumerate(groups) for other in groups[:number]]
    differences = [abs(pair) for pair in pairs if pair is not None]
    return max(differences) if differences else None
