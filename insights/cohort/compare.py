"""Compares two runs of a cohort: the differences of their inputs, and the effect on the funnel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from insights.cohort.protection import safe
from insights.cohort.results import MANIFEST
from insights.errors import CohortError

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
    first, second = _manifest(one), _manifest(other)
    lines = [f"{part} differs" for part in _PARTS if first.get(part) != second.get(part)]
    minimum = max(int(first.get("minimum", 1)), int(second.get("minimum", 1)))
    steps = {step["what"]: step for step in first["funnel"]}
    later = {step["what"]: step for step in second["funnel"]}
    lines += [f"step left out: {what}" for what in steps if what not in later]
    lines += [f"step added: {what}" for what in later if what not in steps]
    for what, step in steps.items():
        if what in later:
            lines += _counts(what, step, later[what], minimum)
    if first.get("outputs") != second.get("outputs") and not lines:
        lines.append("the files differ")
    return lines


def _counts(what: str, one: dict[str, Any], other: dict[str, Any], minimum: int) -> list[str]:
    lines = []
    for name in ("people", "undecided", "records", "undated", "uncoded"):
        before, after = one[name], other[name]
        if before == after:
            continue
        if before is None or after is None or not safe(abs(after - before), minimum):
            lines.append(f"{what}: {name} changed by a small cell, or are hidden")
        else:
            lines.append(f"{what}: {name} {before:,} -> {after:,} ({after - before:+,})")
    return lines


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        assert isinstance(manifest["funnel"], list)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise CohortError(f"{folder} has no results of a cohort", code="cohort.no_results") from None
    return dict(manifest)
