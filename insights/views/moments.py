"""
Compares FHIR dates and times of unequal precision in SQL, and computes their boundaries.

``2024-03`` against ``2024-03-15`` is neither equal nor unequal: SQL's NULL, FHIRPath's empty. Source: FHIRPath 2.0.0,
6.1 equality and 6.2 comparison; lowBoundary and highBoundary as SQL on FHIR defines them.
"""

from __future__ import annotations

_DAY = 10
"""Characters of a date; a longer value has a time."""


def _timestamp(sql: str) -> str:
    return f"try_cast({sql} AS TIMESTAMPTZ)"


def compare(operator: str, left: str, right: str, kind: str) -> str:
    """
    Compare two moments.

    Parameters
    ----------
    operator
        ``=``, ``<``, ``<=``, ``>`` or ``>=``.
    kind
        ``time`` or ``moment``.
    """
    if kind == "time":
        return f"(try_cast({left} AS TIME) {operator} try_cast({right} AS TIME))"
    common = f"least(length({left}), length({right}), {_DAY})"
    a, b = f"left({left}, {common})", f"left({right}, {common})"
    timed = f"length({left}) > {_DAY} AND length({right}) > {_DAY}"
    same = f"length({left}) = length({right})"
    unequal = f"({a} {operator} {b})"
    return (
        f"CASE WHEN {timed} THEN {_timestamp(left)} {operator} {_timestamp(right)} "
        f"WHEN {a} <> {b} OR {same} THEN {unequal} END"
    )


def low_boundary(sql: str, kind: str) -> str:
    """Return the earliest time that a value can mean."""
    if kind == "time":
        return _time(sql, "00", "000")
    day = f"CASE length({sql}) WHEN 4 THEN {sql} || '-01-01' WHEN 7 THEN {sql} || '-01' ELSE left({sql}, 10) END"
    return f"({day})" if kind == "date" else _date_time(sql, day, "00:00:00.000+14:00", "000")


def high_boundary(sql: str, kind: str) -> str:
    """Return the latest time that a value can mean."""
    if kind == "time":
        return _time(sql, "59", "999")
    last = f"strftime(last_day(try_cast({sql} || '-01' AS DATE)), '%Y-%m-%d')"
    day = f"CASE length({sql}) WHEN 4 THEN {sql} || '-12-31' WHEN 7 THEN {last} ELSE left({sql}, 10) END"
    return f"({day})" if kind == "date" else _date_time(sql, day, "23:59:59.999-12:00", "999")


def _time(sql: str, seconds: str, fraction: str) -> str:
    return (
        f"CASE length({sql}) WHEN 5 THEN {sql} || ':{seconds}.{fraction}' WHEN 8 THEN {sql} || '.{fraction}' "
        f"ELSE left(rpad({sql}, 12, '{fraction[0]}'), 12) END"
    )


def _date_time(sql: str, day: str, time: str, fraction: str) -> str:
    clock = f"regexp_extract({sql}, 'T([0-9:]+)', 1)"
    part = f"left(rpad(regexp_extract({sql}, '\\.([0-9]+)', 1), 3, '{fraction[0]}'), 3)"
    zone = f"regexp_extract({sql}, '(Z|[+-][0-9]{{2}}:[0-9]{{2}})$', 1)"
    whole = f"left({sql}, 10) || 'T' || {clock} || '.' || {part} || {zone}"
    return f"CASE WHEN length({sql}) > {_DAY} THEN {whole} ELSE ({day}) || 'T{time}' END"
