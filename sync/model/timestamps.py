"""Points in time: aware, UTC, and written in JSON as ISO 8601 with an offset, so that equal times are equal texts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import PlainSerializer

Timestamp = Annotated[datetime, PlainSerializer(datetime.isoformat, when_used="json")]
"""A time as the fields of values have it; pydantic alone would write ``Z`` for UTC."""


def timestamp_from(text: Any) -> datetime | None:
    """
    Return the time that a stored text tells; None for what is empty or no text. Inverse of ``isoformat``.

    Raises
    ------
    ValueError
        The text is no time: the row was not written by us.
    """
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
