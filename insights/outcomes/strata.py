"""
Agreement by month and by subgroup: the total hides a drift, or a group for which an algorithm is worse.

A stratum is hidden if one of its cells has few people. If the hidden strata could then be computed as one small cell,
the smallest shown stratum is hidden too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from insights.cohort.protection import safe
from insights.outcomes.matching import Matched, agreement
from insights.statistics import wilson

_AGES = ((45, "under 45"), (65, "45 to 64"), (200, "65 and over"))
UNKNOWN = "not known"

Key = Callable[[Matched], str]


@dataclass(frozen=True, slots=True)
class Patient:
    """Sex, and year of birth if there is one."""

    sex: str
    born: int | None


@dataclass(frozen=True, slots=True)
class Stratum:
    """
    Findings of one month or subgroup that have an outcome.

    Attributes
    ----------
    concordant, discordant
        Findings.
    people
        Numbers of people with concordant and with discordant findings.
    """

    name: str
    concordant: int
    discordant: int
    people: tuple[int, int]

    @property
    def total(self) -> int:
        """Return the findings."""
        return self.concordant + self.discordant

    def may_show(self, minimum: int) -> bool:
        """Return whether none of the cells is small."""
        return all(safe(count, minimum) for count in self.people)


def read_patients(connection: duckdb.DuckDBPyConnection) -> dict[str, Patient]:
    """Return the people of table ``person`` by id."""
    rows = connection.execute(
        "SELECT patient_id, coalesce(gender, ''), try_cast(left(birth_date, 4) AS INTEGER) FROM person"
    ).fetchall()
    return {identity: Patient(sex or UNKNOWN, born) for identity, sex, born in rows}


def keys(patients: dict[str, Patient]) -> dict[str, Key]:
    """Return the functions that divide findings: by month, sex, age in the year of the finding, and side."""

    def sex(pair: Matched) -> str:
        patient = patients.get(pair.finding.patient_id)
        return patient.sex if patient else UNKNOWN

    def age(pair: Matched) -> str:
        patient, days = patients.get(pair.finding.patient_id), pair.finding.days
        if patient is None or patient.born is None or days is None:
            return UNKNOWN
        years = days.first.year - patient.born
        return next(name for limit, name in _AGES if years < limit)

    return {"month": _month, "sex": sex, "age": age, "side": lambda pair: pair.finding.place.side or UNKNOWN}


def _month(pair: Matched) -> str:
    days = pair.finding.days
    if days is None or (days.first.year, days.first.month) != (days.last.year, days.last.month):
        return UNKNOWN
    return f"{days.first:%Y-%m}"


def divided(matched: Iterable[Matched], key: Key) -> list[Stratum]:
    """Return the strata of findings whose outcome counts, by name."""
    by_stratum: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for pair in matched:
        judged = agreement(pair)
        if judged:
            by_stratum[key(pair)][judged].append(pair.finding.patient_id)
    return [
        Stratum(
            name,
            len(people["concordant"]),
            len(people["discordant"]),
            (len(set(people["concordant"])), len(set(people["discordant"]))),
        )
        for name, people in sorted(by_stratum.items())
    ]


def told(strata: Sequence[Stratum], minimum: int) -> list[dict[str, Any]]:
    """
    Return the figures of strata that may be shown: findings and agreement with its interval; None is hidden.

    The totals are shown beside them, so a single hidden cell could be computed: then one more is hidden.
    """
    shown = [stratum for stratum in strata if stratum.may_show(minimum)]
    while shown and not _rest_is_safe([stratum for stratum in strata if stratum not in shown], minimum):
        shown.remove(min(shown, key=lambda stratum: (stratum.total, stratum.name)))
    return [_told(stratum, visible=stratum in shown) for stratum in strata]


def _rest_is_safe(hidden: Sequence[Stratum], minimum: int) -> bool:
    return all(safe(sum(stratum.people[cell] for stratum in hidden), minimum) for cell in (0, 1))


def _told(stratum: Stratum, *, visible: bool) -> dict[str, Any]:
    if not visible:
        return {"name": stratum.name, "findings": None, "agreement": None}
    share = wilson(stratum.concordant, stratum.total)
    return {"name": stratum.name, "findings": stratum.total, "agreement": asdict(share)}
