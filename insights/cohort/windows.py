"""
Windows of time in words, and the answer for a partial date.

A date as it was written is an interval of days: ``2024-03`` is 1 to 31 March. Inside a window is *yes*, outside *no*,
across its edge *cannot be decided*.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta

_LAST = re.compile(r"^last (\d{1,4}) (day|week|month|year)s?$")
_SPAN = re.compile(r"^(\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d)$")
_EDGE = re.compile(r"^(since|before) (\d{4}-\d\d-\d\d)$")

FORMS = "last N days|weeks|months|years, since DATE, before DATE, DATE to DATE, ever"


@dataclass(frozen=True, slots=True)
class Window:
    """
    A span of days, both ends included; None is open.

    Attributes
    ----------
    words
        As it was written.
    """

    words: str
    start: date | None
    end: date | None


def window(words: str, as_of: date) -> Window:
    """
    Read a window.

    Parameters
    ----------
    as_of
        The last day that counts: no later day is in any window.

    Raises
    ------
    ValueError
        It is none of `FORMS`, or ends before it starts.
    """
    text = " ".join(words.split())
    if text == "ever":
        return Window(text, None, as_of)
    if last := _LAST.match(text):
        return Window(text, back(as_of, int(last.group(1)), last.group(2)), as_of)
    if span := _SPAN.match(text):
        start, end = (date.fromisoformat(day) for day in span.groups())
        if end < start:
            raise ValueError("the window ends before it starts")
        return Window(text, start, min(end, as_of))
    if edge := _EDGE.match(text):
        day = date.fromisoformat(edge.group(2))
        if edge.group(1) == "since":
            return Window(text, day, as_of)
        return Window(text, None, min(day - timedelta(days=1), as_of))
    raise ValueError(f"not a window: {FORMS}")


def back(day: date, count: int, unit: str) -> date:
    """Go back from a day; 31 March less a month is the last of February."""
    if unit in ("day", "week"):
        return day - timedelta(days=count * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    if year < 1:
        raise ValueError("the window starts before the year 1")
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
