"""
Hides small cells: counts that, alone or as a difference from another shown count, refer to few people.

Zero is shown: it reveals nothing about a person beyond the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM = 11
"""Fewest people that a count may show, unless the setting says otherwise."""


@dataclass(frozen=True, slots=True)
class Counted:
    """
    The counts of a step; None is hidden.

    Attributes
    ----------
    people
        People who passed the step.
    undecided
        People for whom it cannot be decided; they are excluded.
    records
        Matching records of the people who passed.
    undated, uncoded
        Records without a date, or without a code, of the people before the step.
    """

    people: int | None
    undecided: int | None
    records: int | None
    undated: int | None
    uncoded: int | None


@dataclass(frozen=True, slots=True)
class Raw:
    """
    The unprotected counts of a step; see `Counted`.

    Attributes
    ----------
    people_undated, people_uncoded
        People with undated, and with uncoded, records.
    """

    people: int
    undecided: int = 0
    records: int = 0
    undated: int = 0
    uncoded: int = 0
    people_undated: int = 0
    people_uncoded: int = 0


def safe(count: int, minimum: int) -> bool:
    """Return whether a count may be shown."""
    return count == 0 or count >= minimum


def protect(steps: Sequence[Raw], minimum: int) -> tuple[Counted, ...]:
    """
    Hide small cells of a funnel.

    A step is shown only if its difference from the last one shown is not a small cell either.

    Counts of records are hidden with those of their people: a dozen records of one person identify that person.
    """
    shown: list[Counted] = []
    before: int | None = None
    for raw in steps:
        lost = 0 if before is None else before - raw.people
        visible = safe(raw.people, minimum) and safe(lost, minimum)
        told = raw.undecided == 0 or (visible and safe(raw.undecided, minimum) and safe(lost - raw.undecided, minimum))
        shown.append(
            Counted(
                raw.people if visible else None,
                raw.undecided if told else None,
                raw.records if visible and safe(raw.records, minimum) else None,
                raw.undated if safe(raw.undated, minimum) and safe(raw.people_undated, minimum) else None,
                raw.uncoded if safe(raw.uncoded, minimum) and safe(raw.people_uncoded, minimum) else None,
            )
        )
        if visible:
            before = raw.people
    return tuple(shown)


def protected(count: int, total: int, minimum: int) -> int | None:
    """Return a part of a total, or None if the part or the rest is a small cell."""
    return count if safe(count, minimum) and safe(total - count, minimum) else None


def text(count: int | None, minimum: int) -> str:
    """Return a count as text for readers."""
    return f"hidden (small cell, below {minimum})" if count is None else f"{count:,}"
