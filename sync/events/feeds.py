"""
Events of a DICOM service: they only wake the reader of its change feed, which has the order and the metadata.

Source: Azure Health Data Services, "DICOM service events".
"""

from __future__ import annotations

import contextlib
from typing import Any

from sync.errors import BadEvent
from sync.events.fields import fields_of, kind_of, sequence_from

_PREFIX = "microsoft.healthcareapis.dicomimage"


def is_of_feed(event: Any) -> bool:
    """Return whether an event, of whatever form, comes from a DICOM service."""
    with contextlib.suppress(BadEvent):
        return kind_of(fields_of(event, "event")).startswith(_PREFIX)
    return False


def sequence_of(event: Any) -> int | None:
    """
    Return the feed sequence in an event of a DICOM service; None when there is none.

    Malformed or not, such an event only says that the feed has entries to read.
    """
    with contextlib.suppress(BadEvent):
        data = fields_of(fields_of(event, "event").get("data"), "data")
        return sequence_from(data.get("sequencenumber"))
    return None
