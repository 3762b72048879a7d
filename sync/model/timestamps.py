"""Points in time: aware, UTC, and written in JSON as ISO 8601 with an offset, so that equal times are equal texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, PlainSerializer

Timestamp = Annotated[AwareDatetime, PlainSerializer(datetime.isoformat, when_used="json")]
"""
The type of time fields in JSON values; pydantic alone would write ``Z`` for UTC.

A text without an offset is refused when it is read: comparing it with an aware time later would raise a TypeError.
"""


def aware_time(text: Any) -> datetime | None:
    """Return the time in an ISO 8601 text with an offset; None for any other value."""
    try:
        timestamp = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return timestamp if timestamp.tzinfo else None


def utc_of(text: Any) -> datetime:
    """
    Read a time that a service stated, ISO 8601, as aware UTC; one without an offset is UTC.

    Raises
    ------
    ValueError
        The value is no text, no time, or outside what a `datetime` holds.
    """
    if not isinstance(text, str):
        raise ValueError("no text")  # noqa: TRY004 -- of one kind for callers, whatever a service sent
    timestamp = datetime.fromisoformat(text)
    try:
        return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)
    except OverflowError as problem:
        raise ValueError("outside the calendar") from problem


def typed_time(text: Any) -> datetime:
    """
    Read a time that an operator typed, as UTC: ISO 8601 with an offset, or a date, which begins at midnight UTC.

    Raises
    ------
    ValueError
        The text is not a time, or has no zone. The message says which, and holds nothing of the value.
    """
    try:
        is_date = isinstance(text, str) and len(text) <= len("2026-03-04")
        stated = datetime.fromisoformat(text)
        utc = utc_of(text)
    except (TypeError, ValueError):
        raise ValueError("expected a time such as 2026-03-04T05:06:07Z, or a date") from None
    if stated.tzinfo is None and not is_date:
        raise ValueError("the time has no zone; add Z for UTC, or an offset such as +01:00")
    return utc
