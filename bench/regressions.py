"""
``python -m bench compare OLD NEW``: the figures that became better or worse between two runs.

A figure that has a floor in both runs is compared by its distance to it where it is a time: another machine, or another
load on the same one, moves both. Counts are compared as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

Goals = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Verdict(enum.StrEnum):
    """The verdict on a figure."""

    SAME = "same"
    BETTER = "better"
    REGRESSION = "REGRESSION"
    GONE = "not measured"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure in both runs; ``worse`` is the share by which it is worse, negative if it is better."""

    section: str
    what: str
    old: float | None
    new: float | None
    worse: float = 0.0
    tolerance: float = 0.0
    against_floor: bool = False

    @property
    def verdict(self) -> Verdict:
        """Return the verdict on a figure."""
        if self.new is None:
            return Verdict.GONE
        if self.old is None:
            return Verdict.NEW
        if self.worse > self.tolerance:
            return Verdict.REGRESSION
        return Verdict.BETTER if self.worse < -self.tolerance else Verdict.SAME


def changes(old: Goals, new: Goals, tolerance: float | None = None) -> list[Change]:
    """
    Compare two runs.

    Parameters
    ----------
    tolerance
        In place of the one that each figure states.
    """
    return list(_changes(old, new, tolerance))


def _changes(old: Goals, new: Goals, tolerance: float | None) -> Iterator[Change]:
    names = {(section, what): None for run in (old, new) for section, goals in run.items() for what in goals}
    for section, what in names:
        before, after = old.get(section, {}).get(what), new.get(section, {}).get(what)
        if before is None or after is None:
            yield Change(section=section, what=what, old=_measured(before), new=_measured(after))
            continue
        by_floor = _is_time(after) and bool(before.get("floor")) and bool(after.get("floor"))
        worse = _worse(
            _value(before, by_floor=by_floor), _value(after, by_floor=by_floor), at_least="at_least" in after
        )
        allowed = after.get("tolerance", 0.1) if tolerance is None else tolerance
        yield Change(
            section=section,
            what=what,
            old=before["measured"],
            new=after["measured"],
            worse=worse,
            tolerance=allowed,
            against_floor=by_floor,
        )


def _measured(goal: Mapping[str, Any] | None) -> float | None:
    return None if goal is None else goal["measured"]


def _is_time(goal: Mapping[str, Any]) -> bool:
    return str(goal.get("unit", "")).strip() in ("ms", "s")


def _value(goal: Mapping[str, Any], *, by_floor: bool) -> float:
    return float(goal["measured"] / goal["floor"] if by_floor else goal["measured"])


def _worse(old: float, new: float, *, at_least: bool) -> float:
    """Return the share of the old value by which the new one is worse; infinite if the old value is zero."""
    difference = old - new if at_least else new - old
    if difference == 0:
        return 0.0
    return difference / abs(old) if old else difference * float("inf")


def show(compared: list[Change], console: Console) -> None:
    """Print all figures, and the regressions last."""
    table = Table(title="Old against new")
    for name in ("", "figure", "old", "new", "worse by", "tolerance", ""):
        table.add_column(name, justify="left" if name in ("", "figure") else "right")
    for change in compared:
        both = change.old is not None and change.new is not None
        worse = f"{change.worse:+.0%}{' of floor' if change.against_floor else ''}" if both else ""
        tolerance = f"{change.tolerance:.0%}" if both else ""
        table.add_row(
            change.section, change.what, _text(change.old), _text(change.new), worse, tolerance, change.verdict.value
        )
    console.print(table)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
