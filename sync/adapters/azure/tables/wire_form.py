"""
Rows in the form in which requests carry them: columns as JSON with their types, keys as part of an address. Pure.

Source: Azure "Payload format for Table service operations" (types of columns).
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_MOST_INTEGER = 2**31


def quoted(key: str) -> str:
    """Return a key in the form of an address, apostrophes doubled."""
    return quote(key.replace("'", "''"), safe="")


def columns_of(entity: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a row in the service's form: values without a JSON type have their type in a second property.

    Raises
    ------
    TypeError
        A value has a type that our rows do not use, or is an integer of more than 32 bits.
    """
    columns: dict[str, Any] = {}
    for name, value in entity.items():
        kind = type(value)
        if kind is str:
            columns[name], columns[f"{name}@odata.type"] = value, "Edm.String"
        elif kind is bytes:
            columns[name], columns[f"{name}@odata.type"] = b64encode(value).decode("ascii"), "Edm.Binary"
        elif kind is bool or (kind is int and -_MOST_INTEGER <= value < _MOST_INTEGER):
            columns[name] = value
        elif kind is float and math.isfinite(value):
            columns[name], columns[f"{name}@odata.type"] = value, "Edm.Double"
        else:
            raise TypeError(f"column {name}: no row holds a value of this type or size")
    return columns
