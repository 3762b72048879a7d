"""Compares two runs of a cohort: the differences of their inputs, and the effect on the funnel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from insights.cohort.protection import safe
from insights.cohort.results import MANIFEST
from insights.errors import CohortError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One step of a funnel; a hidden count is None."""

    what: str
    people: int | None
    undecided: int | None
    records: int | None
    undated: int | None
    uncoded: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """The parts of a manifest that are compared; ``identified`` and ``key`` only where rows were given out."""

    cohort: str
    as_of: str
    definition: str
    codes: str
    views: str
    data: str
    engine: Mapping[str, str]
    minimum: int
    funnel: tuple[_Step, ...]
    outputs: Mapping[str, str]
    identified: bool | None = None
    key: str | None = None


_RESULTS: TypeAdapter[_Results] = TypeAdapter(_Results)

_PARTS = ("cohort", "as_of", "definition", "codes", "views", "data", "engine", "minimum", "identified", "key")


def compare(one: Path, other: Path) -> list[str]:
    """
    Return the differences between two folders of results as sentences; empty if there are none.

    A change of a count is reported only if the change itself is not a small cell.

    Raises
    ------
    CohortError
        ``cohort.no_results``.
    """
    first, second = _results(one), _results(other)
    lines = [f"{part} differs" for part in _PARTS if getattr(first, part) != getattr(second, part)]
    minimum = max(first.minimum, second.minimum)
    steps = {step.what: step for step in first.funnel}
    later = {step.what: step for step in second.funnel}
    lines += [f"step left out: {what}" for what in steps if what not in later]
    lines += [f"step added: {what}" for what in later if what not in steps]
    for what, step in steps.items():
        if what in later:
            lines += _counts(step, later[what], minimum)
    if first.outputs != second.outputs and not lines:
        lines.append("the files differ")
    return lines


def _counts(one: _Step, other: _Step, minimum: int) -> list[str]:
    lines = []
    for name in ("people", "undecided", "records", "undated", "uncoded"):
        before, after = getattr(one, name), getattr(other, name)
        if before == after:
            continue
        if before is None or after is None or not safe(abs(after - before), minimum):
            lines.append(f"{one.what}: {name} changed by a small cell, or are hidden")
        else:
            lines.append(f"{one.what}: {name} {before:,} -> {after:,} ({after - before:+,})")
    return lines


def _results(folder: Path) -> _Results:
    try:
        return _RESULTS.validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        raise CohortError(f"{folder} has no results of a cohort", code="cohort.no_results") from None
