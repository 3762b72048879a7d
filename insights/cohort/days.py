"""Dates as they were written, as intervals of days in SQL."""

from __future__ import annotations

from datetime import date

from insights.cohort.windows import Window


def day(value: date) -> str:
    """Return a day as SQL."""
    return f"DATE '{value.isoformat()}'"


def first_day(sql: str) -> str:
    """Return the first day that a date can mean; for a time, the day as written."""
    whole = f"CASE length({sql}) WHEN 4 THEN {sql} || '-01-01' WHEN 7 THEN {sql} || '-01' ELSE left({sql}, 10) END"
    return f"try_cast({whole} AS DATE)"


def last_day(sql: str) -> str:
    """Return the last day that a date can mean."""
    return (
        f"CASE length({sql}) WHEN 4 THEN try_cast({sql} || '-12-31' AS DATE) "
        f"WHEN 7 THEN last_day(try_cast({sql} || '-01' AS DATE)) ELSE try_cast(left({sql}, 10) AS DATE) END"
    )


def inside(window: Window, first: str, last: str) -> str:
    """
    Return whether an interval of days is inside a window: TRUE, FALSE, or NULL if it cannot be decided.

    Parameters
    ----------
    first, last
        Days as SQL; NULL if there is no date.
    """
    assert window.end is not None
    if window.words == "ever":  # a record in the data has happened, whatever its date
        return f"({first} IS NULL OR {first} <= {day(window.end)})"
    parts = [(f"{first} >= {day(window.start)}", f"{last} < {day(window.start)}")] if window.start else []
    parts.append((f"{last} <= {day(window.end)}", f"{first} > {day(window.end)}"))
    within = " AND ".join(part[0] for part in parts)
    outside = " OR ".join(part[1] for part in parts)
    return (
        f"CASE WHEN {first} IS NULL OR {last} IS NULL THEN NULL WHEN {within} THEN TRUE WHEN {outside} THEN FALSE END"
    )


def completed_years(born: str, at: date | str) -> str:
    """
    Return the completed years on a day; a person born on 29 February completes a year on 1 March in common years.

    Parameters
    ----------
    at
        The day, or a day as SQL.
    """
    year, month_and_day = f"year({at})", f"month({at}) * 100 + day({at})"
    if isinstance(at, date):
        year, month_and_day = str(at.year), str(at.month * 100 + at.day)
    later = f"month({born}) * 100 + day({born}) > {month_and_day}"
    return f"({year} - year({born}) - CASE WHEN {later} THEN 1 ELSE 0 END)"
