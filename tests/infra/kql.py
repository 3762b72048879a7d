"""The part of the Kusto Query Language that the alert rules use, evaluated over rows of ``customMetrics``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

Row = Mapping[str, Any]

_NAME = re.compile(r'where name == "([\w.]+)"')
_IN = re.compile(r'where tostring\(customDimensions\["([\w.]+)"\]\) in \((.*)\)')
_SUMMARIZE = re.compile(r"summarize value = (.+)")
_COALESCE = re.compile(r"extend value = coalesce\((?:toreal\()?value\)?, (\S+)\)")
_FAILING = re.compile(
    r'summarize done = countif\((?P<outcome>tostring\(customDimensions\["([\w.]+)"\]\)) == "done"\), '
    r'failed = countif\((?P=outcome) == "failed"\), since = min\(timestamp\) '
    r'by tostring\(customDimensions\["([\w.]+)"\]\), tostring\(customDimensions\["([\w.]+)"\]\)'
)
_ONLY_FAILED = "where done == 0 and failed > 0"
_FOR_SECONDS = "summarize value = max((now() - since) / 1s)"
_FRESH = re.compile(r"extend value = iff\(now\(\) < datetime\((\S+)\) \+ 1h, (\S+), value\)")


class NotSpoken(ValueError):
    """The query has something that is not understood here: it must not be taken as evaluated."""


def value(query: str, rows: Sequence[Row], now: datetime) -> float:
    """Return the column ``value`` of the one row that a query gives."""
    table, *steps = (step.strip() for step in query.split(" | "))
    if table != "customMetrics":
        raise NotSpoken(table)
    rows_left, result = list(rows), None
    for step in steps:
        if (filtered := _filtered(step, rows_left)) is not None:
            rows_left = filtered
        elif step == _FOR_SECONDS:
            result = max(((now - row["since"]).total_seconds() for row in rows_left), default=None)
        elif aggregate := _SUMMARIZE.fullmatch(step):
            result = _aggregate(aggregate[1], rows_left)
        elif default := _COALESCE.fullmatch(step):
            result = float(default[1]) if result is None else result
        elif fresh := _FRESH.fullmatch(step):
            calm = now < datetime.fromisoformat(fresh[1]) + timedelta(hours=1)
            result = float(fresh[2]) if calm else result
        else:
            raise NotSpoken(step)
    assert result is not None
    return result


def _filtered(step: str, rows: Sequence[Row]) -> list[Row] | None:
    """Return the rows after a step that gives rows; None if it is none of these."""
    if name := _NAME.fullmatch(step):
        return [row for row in rows if row["name"] == name[1]]
    if limit := _IN.fullmatch(step):
        allowed = json.loads(f"[{limit[2]}]")
        return [row for row in rows if str(row["customDimensions"].get(limit[1], "")) in allowed]
    if grouped := _FAILING.fullmatch(step):
        return _runs(rows, outcome=grouped[2], by=grouped.groups()[2:])
    if step == _ONLY_FAILED:
        return [row for row in rows if row["done"] == 0 and row["failed"] > 0]
    return None


def _aggregate(said: str, rows: Sequence[Row]) -> float | None:
    """Aggregate; of no rows ``max`` and ``sum`` give null, and ``count`` gives 0."""
    if said == "max(coalesce(valueMax, valueSum))":
        return max((row["valueMax"] if row["valueMax"] is not None else row["valueSum"] for row in rows), default=None)
    if said == "sum(valueSum)":
        return sum(row["valueSum"] for row in rows) if rows else None
    if said == "todouble(count())":
        return float(len(rows))
    raise NotSpoken(said)


def _runs(rows: Sequence[Row], *, outcome: str, by: Sequence[str]) -> list[Row]:
    """Count runs that are done and that failed, and give the first time, of each combination of attributes."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row["customDimensions"].get(key, "")) for key in by), []).append(row)
    return [
        {
            **{word: sum(row["customDimensions"].get(outcome) == word for row in group) for word in ("done", "failed")},
            "since": min(row["timestamp"] for row in group),
        }
        for group in groups.values()
    ]
