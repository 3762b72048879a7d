"""A timeline as one HTML page without script, and as rows. Pure; Jinja2 escapes the values from FHIR."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from insights.pages import template
from insights.timeline.entries import LANES, Entry
from insights.timeline.gather import Gathered

_WIDTH = 1000
_COLUMNS = ("lane", "start", "end", "label", "detail", "prior", "new", "group", "value", "unit", "reference")


@dataclass(frozen=True, slots=True)
class Shown:
    """
    The content of the page.

    Attributes
    ----------
    viewer
        Address of the viewer with ``{uid}`` for the Study Instance UID; empty for none.
    """

    gathered: Gathered
    entries: tuple[Entry, ...]
    since: str = ""
    viewer: str = ""


@cache
def style() -> str:
    """Return the style sheet, which is embedded in the page."""
    return files("insights.timeline").joinpath("page.css").read_text("utf-8")


def policy(form_action: str = "'none'") -> str:
    """Return the Content-Security-Policy: allows only this style sheet, by its hash, and the targets of forms."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action {form_action}"


def html(shown: Shown) -> str:
    """Return the complete page as one file."""
    dated = [_position(entry.start) for entry in shown.entries if entry.start]
    first, last = (min(dated), max(dated)) if dated else (0.0, 0.0)
    scale = _WIDTH / (last - first) if last > first else 0.0

    def x(written: str) -> float:
        return round((_position(written) - first) * scale, 1) if scale else _WIDTH / 2

    lanes = [(name, [entry for entry in shown.entries if entry.lane == name]) for name in LANES.values()]
    years = [(year, x(f"{year}-01-01")) for year in range(int(first) + 1, int(last) + 1)] if scale else []
    return template("insights.timeline").render(
        policy=policy(),
        style=style(),
        lanes=lanes,
        missing=dict(shown.gathered.missing),
        entries=shown.entries,
        patients=shown.gathered.patients,
        since=shown.since,
        growth=growth(shown.entries),
        x=x,
        years=years[:: max(1, len(years) // 12)],
        width=_WIDTH,
        link=lambda entry: shown.viewer.replace("{uid}", quote(entry.study)) if shown.viewer and entry.study else "",
    )


def growth(entries: Sequence[Entry]) -> list[tuple[str, str, list[tuple[Entry, str]]]]:
    """Return repeated measurements by tracking UID: name, unit, and each measurement with its change."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.group and entry.value is not None and entry.start:
            groups.setdefault((entry.group, entry.label, entry.unit), []).append(entry)
    tables = []
    for (_, label, unit), measured in sorted(groups.items()):
        if len(measured) > 1:
            first = measured[0].value or 0.0
            changes = [f"{((value.value or 0.0) - first) / first * 100:+.0f} %" if first else "" for value in measured]
            tables.append((label, unit, list(zip(measured, ["", *changes[1:]], strict=True))))
    return tables


def rows_csv(shown: Shown) -> str:
    """Return the entries as CSV; a text that a spreadsheet would run as a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in shown.entries:
        writer.writerow([_cell(getattr(entry, name)) for name in _COLUMNS])
    return out.getvalue()


def as_json(shown: Shown) -> dict[str, Any]:
    """Return the entries as JSON values."""
    rows = [
        {**asdict(entry), "modalities": sorted(entry.modalities), "sites": sorted(entry.sites)}
        for entry in shown.entries
    ]
    missing = dict(shown.gathered.missing)
    return {"patients": list(shown.gathered.patients), "since": shown.since, "missing": missing, "entries": rows}


def _cell(value: object) -> object:
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return value


def _position(written: str) -> float:
    """Return the first day that a date can mean, as a decimal year."""
    parts = [int(part) for part in written.split("-")]
    year, month, day = (*parts, 1, 1)[:3]
    try:
        passed = (date(year, month, day) - date(year, 1, 1)).days
    except ValueError:
        passed = 0
    return year + passed / 366
