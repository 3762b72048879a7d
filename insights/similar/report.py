"""The report on similar people as text, rows and a drawing. Pure; the same answer gives the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from insights.cohort.answer import FunnelStep
from insights.cohort.protection import text
from insights.similar.outcomes import Outcomes
from insights.similar.rule import Coded, Rule

UNBALANCED = 0.1
"""Standardised difference from which groups are usually called unbalanced."""

_LIMITS = (
    "This is not causal: who got which treatment was decided by what physicians saw, and not all of it is recorded.",
    (
        "Time begins at the landmark. Who died or had the event before it is in no group, for those who lived long "
        "enough to be treated would look better for that alone."
    ),
    "Who has no event is censored at the last record: if people are lost because they fare badly, curves are too high.",
    "One person may be near a patient in all that the rule compares, and differ in what matters most.",
)
_COLOURS = ("#1f5fa8", "#b3501c", "#3a7d44", "#7b3f98", "#8a6d00", "#a02c4a")
_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 320, 50, 16


@dataclass(frozen=True, slots=True)
class SimilarPatients:
    """
    The content of the report.

    Attributes
    ----------
    outcomes
        None if too few people are followed.
    """

    rule: Rule
    as_of: str
    funnel: tuple[FunnelStep, ...]
    outcomes: Outcomes | None
    notes: tuple[str, ...]
    minimum: int


def summary(result: SimilarPatients) -> str:
    """Return the report as text for readers."""
    rule = result.rule
    lines = [f"# {rule.similar}", "", f"Similar patients in the data, as of {result.as_of}. {_followed(rule)}", ""]
    lines += ["| step | people | cannot be decided |", "|---|---|---|"]
    for step in result.funnel:
        cells = (text(count, result.minimum) for count in (step.counted.people, step.counted.undecided))
        lines.append(f"| {step.words} | {' | '.join(cells)} |")
    lines.append("")
    if result.outcomes is None:
        lines += [f"Fewer than {result.minimum} similar people are followed, so no curve is shown.", ""]
    else:
        lines += _curves(result, result.outcomes)
    lines += [f"Note: {note}." for note in result.notes]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in _LIMITS)]
    return "\n".join(lines).rstrip().replace("\n\n\n", "\n\n") + "\n"


def _followed(rule: Rule) -> str:
    events = " or ".join(
        f"a {event.kind} of {event.codes}" if isinstance(event, Coded) else event for event in rule.follow.event
    )
    follow = rule.follow
    return (
        f"Followed from {follow.landmark.times(1)} after the diagnosis (the landmark) until {events}, for "
        f"{follow.until.times(1)} at most; treatments are those begun between the diagnosis and the landmark."
    )


def _curves(result: SimilarPatients, outcomes: Outcomes) -> list[str]:
    follow, minimum = result.rule.follow, result.minimum
    times = [follow.every.times(number) for number in range(follow.points + 1)]
    lines = ["## Without the event, in per cent (95 % interval), and how many are at risk", ""]
    lines += [
        f"| treatments | people | events | {' | '.join(times)} | half of them after |",
        "|---" * (len(times) + 4) + "|",
    ]
    for group in outcomes.groups:
        points = [
            "" if point is None else f"{point.survival} {_interval(point.low, point.high)} n={point.at_risk}"
            for point in group.points or (None,) * len(times)
        ]
        median = "" if group.median is None else f"{group.median / 365.25 * 12:.0f} months"
        events = text(group.events, minimum) if group.points else ""
        lines.append(f"| {group.name} | {text(group.people, minimum)} | {events} | {' | '.join(points)} | {median} |")
    lines += [
        "",
        f"An empty cell: fewer than {minimum} at risk, or fewer than {minimum} who left since the time before.",
    ]
    if outcomes.test is not None:
        lines += [
            "",
            (
                f"Log-rank test of the groups with a curve: χ² = {outcomes.test.chi_squared:.2f}, "
                f"{outcomes.test.degrees} degrees of freedom, p = {_p(outcomes.test.p)}."
            ),
        ]
    if len([group for group in outcomes.groups if group.points]) > 1:
        lines += ["", "## Are the groups alike?", ""]
        names = [group.name for group in outcomes.groups if group.points]
        lines += [f"| | {' | '.join(names)} | largest standardised difference |", "|---" * (len(names) + 2) + "|"]
        for row in outcomes.balance:
            cells = " | ".join("hidden" if value is None else value for value in row.values)
            size = "" if row.difference is None else f"{row.difference:.2f}"
            mark = " (unbalanced)" if row.difference is not None and row.difference >= UNBALANCED else ""
            lines.append(f"| {row.covariate} | {cells} | {size}{mark} |")
    return [*lines, ""]


def _interval(low: int | None, high: int | None) -> str:
    return "" if low is None or high is None else f"({low}-{high})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004 -- as in papers


def as_json(result: SimilarPatients) -> dict[str, Any]:
    """Return the report as JSON; a hidden figure is None."""
    outcomes = result.outcomes
    return {
        "similar": result.rule.similar,
        "as_of": result.as_of,
        "minimum": result.minimum,
        "funnel": [{"what": step.words, **asdict(step.counted)} for step in result.funnel],
        "groups": [asdict(group) for group in outcomes.groups] if outcomes else None,
        "log_rank": {
            "chi_squared": round(outcomes.test.chi_squared, 4),
            "degrees": outcomes.test.degrees,
            "p": round(outcomes.test.p, 6),
        }
        if outcomes and outcomes.test
        else None,
        "balance": [asdict(row) for row in outcomes.balance] if outcomes else None,
        "notes": list(result.notes),
        "limits": list(_LIMITS),
    }


def curves_csv(outcomes: Outcomes) -> str:
    """Return the points of the curves that may be shown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["treatments", "days", "at_risk", "per_cent", "low", "high"])
    for group in outcomes.groups:
        for point in group.points:
            if point is not None:
                row = [group.name, f"{point.days:g}", point.at_risk, point.survival, point.low, point.high]
                writer.writerow(row)
    return out.getvalue()


def curves_svg(outcomes: Outcomes, days: float) -> str:
    """Return a drawing of the curves with interval and name; their steps are at the times of the table."""
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _LEFT} {_HEIGHT + 60}" role="img" '
            'font-family="sans-serif" font-size="12"><title>Without the event, per cent</title>'
            '<rect width="100%" height="100%" fill="#fff"/>'
        )
    ]
    for share in range(0, 101, 25):
        y = _y(share)
        parts.append(f'<path d="M{_LEFT} {y}H{_LEFT + _WIDTH}" stroke="#ccc"/><text x="8" y="{y + 4}">{share} %</text>')
    curves = [group for group in outcomes.groups if group.points]
    for number, group in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [point for point in group.points if point is not None]
        line = _steps([(point.days, point.survival) for point in points], days)
        if all(point.low is not None for point in points[1:]):
            bounds = [[(p.days, p.low or 0), (p.days, p.high or 0)] for p in points[1:]]
            bars = "".join(f"M{_x(low[0], days)} {_y(low[1])}V{_y(high[1])}" for low, high in bounds)
            parts.append(f'<path d="{bars}" stroke="{colour}" opacity=".5"/>')
        dash = f' stroke-dasharray="{2 * number} {number}"' if number else ""
        parts.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        label = f"{escape(group.name)} ({text(group.people, 0)})"
        parts.append(f'<text x="{_LEFT + 12}" y="{_HEIGHT - 12 * number - 4}" fill="{colour}">{label}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT + 44}">years from the landmark: 0 to {days / 365.25:g}</text></svg>')
    return "".join(parts) + "\n"


def _steps(points: Sequence[tuple[float, int]], days: float) -> str:
    first, *others = points
    return f"M{_x(first[0], days)} {_y(first[1])}" + "".join(f"H{_x(day, days)}V{_y(share)}" for day, share in others)


def _x(day: float, days: float) -> float:
    return round(_LEFT + _WIDTH * day / days, 1)


def _y(share: float) -> float:
    return round(_TOP + _HEIGHT * (1 - share / 100), 1)
