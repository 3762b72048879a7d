"""
The four cells of said and found, the figures computed from them, and the figures that may be shown.

A cell of few people is hidden, as is every figure from which it could be computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from insights.cohort.protection import safe
from insights.outcomes.matching import Matched
from insights.statistics import BlandAltman, Interval, Proportion, begg_greenes, bland_altman, kappa, wilson

_CELLS = {
    (True, True): "true_positive",
    (True, False): "false_positive",
    (False, True): "false_negative",
    (False, False): "true_negative",
    (True, None): "unverified_positive",
    (False, None): "unverified_negative",
}


@dataclass(frozen=True, slots=True)
class Cells:
    """
    Numbers of findings, by said and found.

    Attributes
    ----------
    counts
        By `true_positive` … `unverified_negative`.
    people
        Number of people with these findings; at most the number of findings.
    """

    counts: dict[str, int]
    people: dict[str, int]


def cells_of(matched: Iterable[Matched]) -> Cells:
    """Count findings that say yes or no."""
    patients: dict[str, list[str]] = defaultdict(list)
    for pair in matched:
        if pair.finding.said is not None:
            truth = pair.answer.truth.found if pair.answer else None
            patients[_CELLS[pair.finding.said, truth]].append(pair.finding.patient_id)
    names = _CELLS.values()
    return Cells({name: len(patients[name]) for name in names}, {name: len(set(patients[name])) for name in names})


def measures(cells: Cells, minimum: int) -> dict[str, Any]:
    """
    Return the figures that may be shown; None is hidden, or cannot be computed.

    Parameters
    ----------
    minimum
        Fewest people of a cell that is shown; 1 shows all.
    """
    counts = cells.counts
    shown = {name: safe(cells.people[name], minimum) and safe(counts[name], minimum) for name in counts}
    positive, negative = (
        all(shown[name] for name in names)
        for names in (("true_positive", "false_positive"), ("false_negative", "true_negative"))
    )
    cells_shown: dict[str, Any] = {
        name: counts[name] if (positive if name in ("true_positive", "false_positive") else negative) else None
        for name in _CELLS.values()
        if not name.startswith("unverified")
    }
    every = positive and negative
    accuracy = begg_greenes(**counts)
    verified = {
        "positive": positive and shown["unverified_positive"],
        "negative": negative and shown["unverified_negative"],
    }
    whole = every and all(verified.values())
    table = [[counts["true_positive"], counts["false_positive"]], [counts["false_negative"], counts["true_negative"]]]
    agreed = wilson(table[0][0] + table[1][1], sum(map(sum, table)))
    chance = kappa(table)
    return {
        "cells": cells_shown,
        "hidden": not whole,
        "verified_positive": _share(accuracy.verified_positive) if verified["positive"] else None,
        "verified_negative": _share(accuracy.verified_negative) if verified["negative"] else None,
        "ppv": _share(accuracy.ppv) if positive else None,
        "npv": _share(accuracy.npv) if negative else None,
        "agreement": _share(agreed) if every else None,
        "kappa": _value(chance.value, chance.interval) if every else None,
        "sensitivity_naive": _share(accuracy.naive_sensitivity) if every else None,
        "specificity_naive": _share(accuracy.naive_specificity) if every else None,
        "sensitivity": _value(accuracy.sensitivity, accuracy.sensitivity_interval) if whole else None,
        "specificity": _value(accuracy.specificity, accuracy.specificity_interval) if whole else None,
        "no_verified_negatives": accuracy.naive_sensitivity is None,
    }


def size_measures(matched: Sequence[Matched], minimum: int) -> dict[str, Any]:
    """Return bias and limits of agreement, recommended minus used, in millimetres; withheld for few people."""
    answered = [pair for pair in matched if pair.answer and pair.answer.truth.size and pair.finding.size]
    people = len({pair.finding.patient_id for pair in answered})
    if not safe(people, minimum):
        return {"pairs": None, "hidden": True, "recommended": None, "bland_altman": None}
    pairs = [(pair.finding.size or 0.0, pair.answer.truth.size or 0.0) for pair in answered if pair.answer]
    agreement: BlandAltman | None = bland_altman(pairs)
    rest = len(matched) - len(pairs)
    return {
        "pairs": len(pairs),
        "hidden": False,
        "recommended": len(matched) if safe(rest, minimum) else None,
        "bland_altman": None if agreement is None else asdict(agreement),
    }


def _share(proportion: Proportion | None) -> dict[str, Any] | None:
    return None if proportion is None or proportion.value is None else asdict(proportion)


def _value(value: float | None, interval: Interval | None) -> dict[str, Any] | None:
    return None if value is None else {"value": value, "interval": asdict(interval) if interval else None}
