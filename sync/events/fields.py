"""
Reads the JSON of a message, whatever its content; an unusable part raises `BadEvent`.

Published samples disagree on the case of keys (``specVersion``), so all keys are read in lower case.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from sync.errors import BadEvent

_LARGEST_SEQUENCE = 2**63
_LONGEST_SEQUENCE = 20
"""Maximum length of a decimal text: the digits of the largest sequence, and a space."""


def document_of(text: str, name: str) -> Any:
    """Return the JSON of a message, or raise `BadEvent`, whose text calls the message ``name``."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    raise BadEvent(f"the {name} is not JSON")


def events_of(text: str) -> list[Any]:
    """Return the events of a message, which holds an array of events or a single one."""
    document = document_of(text, "message")
    return document if isinstance(document, list) else [document]


def fields_of(value: Any, name: str) -> dict[str, Any]:
    """Return the JSON object with its keys in lower case, or raise `BadEvent`, whose text calls it ``name``."""
    if not isinstance(value, dict):
        raise BadEvent(f"the {name} is not a JSON object")
    return {key.lower(): item for key, item in value.items()}


def text_of(fields: Mapping[str, Any], key: str) -> str:
    """Return a field that must hold non-empty text; `BadEvent` when it does not."""
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise BadEvent(f"{key} is missing or not text")
    return value


def kind_of(fields: Mapping[str, Any]) -> str:
    """Return the type of an event, in either schema, in lower case."""
    return text_of(fields, "type" if "specversion" in fields else "eventtype").casefold()


def is_unicode(text: str) -> bool:
    """Return whether the text can be encoded: JSON escapes may leave half a surrogate pair, which cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def sequence_from(value: Any) -> int | None:
    """
    Return the sequence number of a change feed from a number or its decimal text; None for any other value.

    >>> [sequence_from(value) for value in (7, " 7 ", True, -1, 2**63, "7.0", None)]
    [7, 7, None, None, None, None, None]
    """
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < _LONGEST_SEQUENCE:
        value = int(value)
    return value if type(value) is int and 0 <= value < _LARGEST_SEQUENCE else None
