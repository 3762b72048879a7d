"""
Dates and times: VR DA and TM (PS3.5 6.2) -> FHIR *date* and *dateTime*, with known offsets only.

A FHIR dateTime with a time must have an offset from UTC. It comes from the file (0008,0201), else from the configured
time zone, if that zone had exactly one offset at that time; otherwise the time is left out. An offset is never
invented.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sync.mapping.values import Findings, clean, first
from sync.model import Attributes

_DATE = re.compile(r"([0-9]{4})(?:([0-9]{2})([0-9]{2})?)?|([0-9]{4})\.([0-9]{2})\.([0-9]{2})")
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_SPELT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_UTC = ("Z", "-00:00")
_LEAP = "60"
_OFFSET = re.compile(r"(?:UTC)?([+-])([0-9]{2}):?([0-9]{2})", re.IGNORECASE)

_MINUTE = timedelta(minutes=1)
_LOWEST, _HIGHEST = timedelta(hours=-12), timedelta(hours=14)
"""PS3.3 C.12.1.1.8: range of (0008,0201)."""


class Keywords(NamedTuple):
    """The attributes that form a timestamp."""

    date: str
    time: str
    offset: str = "TimezoneOffsetFromUTC"


def fhir_date(raw: str | None, keyword: str, findings: Findings) -> str | None:
    """
    Return the FHIR *date* of a DA value: ``YYYYMMDD``, the old ``YYYY.MM.DD``, or partial (``YYYY``, ``YYYYMM``).

    Returns
    -------
    str or None
        None, with a finding, for a day that no calendar has and for anything that is not a date.
    """
    value = _written_in(raw)
    if value is None:
        return None
    match = _DATE.fullmatch(value)
    parts = [part for part in match.groups() if part] if match else []
    if not parts or not _on_calendar(parts):
        findings.note(keyword, "date.impossible" if parts else "date.invalid", "omitted")
        return None
    return "-".join(parts)


def _written_in(raw: str | None) -> str | None:
    """Return the value without padding; None when it is only padding."""
    return clean(raw) if raw and raw.strip(" \x00") else None


def _on_calendar(parts: list[str]) -> bool:
    try:
        date(*(int(part) for part in [*parts, "1", "1"][:3]))
    except ValueError:
        return False
    return True


def fhir_datetime(attributes: Attributes, keywords: Keywords, zone: str, findings: Findings) -> str | None:
    """
    Return the FHIR *dateTime* of a DA and a TM value.

    Parameters
    ----------
    attributes
        Holds date, time and (0008,0201) as the file has them. ``+-HHMM`` is the standard's form of the offset;
        ``UTC+-HH:MM`` is in real files too.
    keywords
        Which attributes date and time are in.
    zone
        IANA zone of the scanner for files without an offset; empty when unknown.

    Returns
    -------
    str or None
        None without a date. A date alone when there is no time, the time is no time, its offset is unknown or
        ambiguous, or the moment lies outside the years 1 to 9999 in UTC. Fractions stay as they are. A leap second
        becomes the second before it: servers on .NET refuse a resource with second 60 whole.
    """
    day, clock, offset = (first(attributes, keyword, findings) for keyword in keywords)
    dated = fhir_date(day, keywords.date, findings)
    if dated is None or len(dated) < len("YYYY-MM-DD"):
        return dated
    timed = _fhir_time(clock, keywords.time, findings)
    if timed is None:
        return dated
    shift = _offset_of_file(offset, keywords.offset, findings) or _offset_of_zone(
        dated, timed, zone, keywords, findings
    )
    return _joined(dated, timed, shift, keywords, findings) if shift else dated


def _joined(dated: str, timed: str, shift: str, keywords: Keywords, findings: Findings) -> str:
    """Return date, time and offset as one dateTime; the date alone if the UTC time is outside the calendar's years."""
    timestamp = f"{dated}T{timed}{shift}"
    try:
        datetime.fromisoformat(timestamp).astimezone(UTC)
    except OverflowError:
        findings.note(keywords.time, "time.out_of_range", "date only")
        return dated
    return timestamp


def instant(timestamp: str | None) -> str | None:
    """
    Return the FHIR *instant* of a dateTime with a time; None for a bare date.

    Its fraction has no trailing zeros, because servers on .NET return an instant without them, and a comparison as text
    would always differ. Source: PS3.5 6.2 (TM); R4 ``instant``.
    """
    return without_trailing_zeros(timestamp) if timestamp and "T" in timestamp else None


def without_trailing_zeros(timestamp: str) -> str:
    """Spell a dateTime with a time as .NET does: no trailing zeros in the fraction, no ``Z``."""
    match = _SPELT.fullmatch(timestamp)
    if match is None:
        return timestamp
    seconds, fraction, offset = match.groups(default="")
    digits = fraction.rstrip("0")
    return f"{seconds}{digits if digits != '.' else ''}{'+00:00' if offset in _UTC else offset}"


def instant_key(timestamp: str) -> tuple[str, str]:
    """Order timestamps of any precision and offset by their instant in UTC, a bare date after the times of its day."""
    if "T" not in timestamp:
        return f"{timestamp}~", timestamp
    try:
        in_utc = datetime.fromisoformat(timestamp).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return timestamp, timestamp
    return in_utc, timestamp


def _fhir_time(raw: str | None, keyword: str, findings: Findings) -> str | None:
    value = _written_in(raw)
    if value is None:
        return None
    match = _TIME.fullmatch(value)
    hour, minute, second, fraction = match.groups(default="00") if match else ("99", "", "", "")
    if match is None or int(hour) > 23 or int(minute) > 59 or int(second) > 60:  # noqa: PLR2004 - a day's own limits
        findings.note(keyword, "time.invalid", "date only")
        return None
    if second == _LEAP:
        findings.note(keyword, "time.leap_second", "the second before it")
        second = "59"
    return f"{hour}:{minute}:{second}" + (f".{fraction}" if match[4] else "")


def _offset_of_file(raw: str | None, keyword: str, findings: Findings) -> str | None:
    value = _written_in(raw)
    if value is None:
        return None
    match = _OFFSET.fullmatch(value)
    shift = timedelta(hours=int(match[2]), minutes=int(match[3])) if match else timedelta.max
    signed = -shift if match and match[1] == "-" else shift
    if match is None or int(match[3]) > 59 or not _LOWEST <= signed <= _HIGHEST:  # noqa: PLR2004 - minutes of an hour
        findings.note(keyword, "offset.invalid", "ignored")
        return None
    return _written(signed)


def _offset_of_zone(day: str, clock: str, zone: str, keywords: Keywords, findings: Findings) -> str | None:
    """
    Return the zone's offset at that local time; None if it had none or two.

    In the hour that a clock change repeats or skips, the offset is unknown; before standard time, local mean time has
    seconds that FHIR cannot express.
    """
    if not zone:
        findings.note(keywords.time, "time.no_offset", "date only")
        return None
    local = datetime.fromisoformat(f"{day}T{clock[:5]}")
    try:
        offsets = {local.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1)}
    except OverflowError:
        offsets = set()
    shift = offsets.pop() if len(offsets) == 1 else None
    if shift is None or shift % _MINUTE:
        findings.note(keywords.time, "time.ambiguous_offset", "date only")
        return None
    return _written(shift)


def _written(shift: timedelta) -> str:
    sign = "-" if shift < timedelta(0) else "+"
    hours, minutes = divmod(abs(shift) // _MINUTE, 60)
    return f"{sign}{hours:02}:{minutes:02}"
