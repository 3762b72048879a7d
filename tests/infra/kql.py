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
_COALESCE = re.compile(r"extend value = coalesce\(value, (\S+)\)")
_FRESH = re.compile(r"extend value = iff\(now\(\) < datetime\((\S+)\) \+ 1h, (\S+), value\)")


class NotSpoken(ValueError):
    """The query has something that is not understood here: it must not be taken as evaluated."""


def value(query: str, rows: Sequence[Row], now: datetime) -> float:
    """Return the column ``value`` of the one row that a query gives."""
    table, *steps = (step.strip() for step in query.split(" | "))
    if table != "customMetrics":
        raise NotSpoken(table)
    found, result = list(rows), None
    for step in steps:
        if name := _NAME.fullmatch(step):
            found = [row for row in found if row["name"] == name[1]]
        elif limit := _IN.fullmatch(step):
            allowed = json.loads(f"[{limit[2]}]")
            found = [row for row in found if str(row["customDimensions"].get(limit[1], "")) in allowed]
        elif aggregate := _SUMMARIZE.fullmatch(step):
            result = _aggregate(aggregate[1], found)
        elif default := _COALESCE.fullmatch(step):
            result = float(default[1]) if result is None else result
        elif fresh := _FRESH.fullmatch(step):
            calm = now < datetime.fromisoformat(fresh[1]) + timedelta(hours=1)
            result = float(fresh[2]) if calm else result
        else:
            raise NotSpoken(step)
    assert result is not None
    return result


def _aggregate(said: str, rows: Sequence[Row]) -> float | None:
    """Aggregate; of no rows ``max`` and ``sum`` give null, and ``count`` gives 0."""
    if said == "max(coalesce(valueMax, valueSum))":
        return max((row["valueMax"] if row["valueMax"] is not None else row["valueSum"] for row in rows), default=None)
    if said == "sum(valueSum)":
        return sum(row["valueSum"] for row in rows) if rows else None
    if said == "todouble(count())":
        return float(len(rows))
    raise NotSpoken(said)
