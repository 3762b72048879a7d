"""Draws agreement by month, and builds a FHIR MeasureReport of a report on a model. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 240, 60, 20
_MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
_IMPROVES = "http://terminology.hl7.org/CodeSystem/measure-improvement-notation"
CODES = "urn:dicom-fhir-sync:model-report"


def monthly_svg(months: Sequence[Mapping[str, Any]]) -> str:
    """Return a drawing of agreement by month with its interval; a hidden month keeps its place without a mark."""
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _LEFT} {_HEIGHT + 70}" role="img" '
            'font-family="sans-serif" font-size="12"><title>Agreement by month, per cent, 95 % intervals</title>'
            '<rect width="100%" height="100%" fill="#fff"/>'
        )
    ]
    for share in range(0, 101, 25):
        parts.append(f'<path d="M{_LEFT} {_y(share / 100)}H{_LEFT + _WIDTH}" stroke="#ccc"/>')
        parts.append(f'<text x="8" y="{_y(share / 100) + 4}">{share} %</text>')
    points = []
    every = max(1, len(months) // 8)
    for number, month in enumerate(months):
        x = round(_LEFT + _WIDTH * (number + 0.5) / len(months), 1)
        if number % every == 0:
            parts.append(f'<text x="{x}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">{escape(month["name"])}</text>')
        share = month["agreement"]
        if share is None:
            continue
        y, interval = _y(share["value"]), share["interval"]
        points.append(f"{x},{y}")
        parts.append(f'<path d="M{x} {_y(interval["low"])}V{_y(interval["high"])}" stroke="#0b5cad" opacity=".5"/>')
        words = f"{month['name']}: {share['count']} of {share['total']}"
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="#0b5cad"><title>{escape(words)}</title></circle>')
    parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="#0b5cad" stroke-width="1.5"/>')
    parts.append(
        f'<text x="{_LEFT}" y="{_TOP + _HEIGHT + 44}">agreement with the outcome, by month of the finding</text>'
    )
    return "".join([*parts, "</svg>\n"])


def _y(share: float) -> float:
    return round(_TOP + _HEIGHT * (1 - share), 1)


def measure_report(facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a summary MeasureReport of the findings: the cells as populations, months and subgroups as stratifiers.

    A hidden figure has no count and the reason ``masked``. Source: FHIR R4 measurereport.html.
    """
    findings = facts["findings"]
    cells = findings["all"]["cells"]
    group: dict[str, Any] = {
        "code": _code("agreement"),
        "population": [{"code": _code(name), **_count(count)} for name, count in cells.items()],
        **_score(findings["all"]["agreement"]),
        "stratifier": [
            {"code": [_code(name)], "stratum": [_stratum(part) for part in strata]}
            for name, strata in findings["strata"].items()
            if strata
        ],
    }
    if not group["stratifier"]:
        del group["stratifier"]
    day = facts["as_of"]
    return {
        "resourceType": "MeasureReport",
        "status": "complete",
        "type": "summary",
        "measure": f"urn:dicom-fhir-sync:measure:model-agreement|{facts['rule']}",
        "date": day,
        "reporter": {"display": facts["model"]},
        "period": {"end": day},
        "improvementNotation": {"coding": [{"system": _IMPROVES, "code": "increase"}]},
        "group": [group],
    }


def _stratum(part: Mapping[str, Any]) -> dict[str, Any]:
    population = [{"code": _code("findings"), **_count(part["findings"])}]
    return {"value": {"text": part["name"]}, "population": population, **_score(part["agreement"])}


def _code(name: str) -> dict[str, Any]:
    return {"coding": [{"system": CODES, "code": name.replace("_", "-")}]}


def _count(count: int | None) -> dict[str, Any]:
    return {"_count": _MASKED} if count is None else {"count": count}


def _score(share: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"measureScore": _MASKED} if share is None else {"measureScore": {"value": round(share["value"], 4)}}
