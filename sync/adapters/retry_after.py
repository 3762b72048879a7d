"""Reads the times that a server states: how long clients should wait, in any of three forms, and its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 24 * 3600.0
"""Seconds; a longer request is cut to this. The caller limits the wait by its own setting."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the service asks for, at most `LONGEST`; None unless one of three forms is present."""
    try:
        if milliseconds := headers.get("x-ms-retry-after-ms"):
            seconds = float(milliseconds) / 1000
        elif (text := headers.get("Retry-After", "").strip()).isdecimal():
            seconds = float(text)
        else:
            seconds = (parsedate_to_datetime(text) - (date_of(headers) or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST) if math.isfinite(seconds) else None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return the server's own time, by which it names others: our clock may be wrong. None if it states none."""
    try:
        return parsedate_to_datetime(headers.get("Date") or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
