"""
The functions of Bicep that our templates use, and how many arguments each takes.

Source: Azure Resource Manager, "Bicep functions". What is not here is either no function or new to our templates: look
it up, then add it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
TENANT = "22222222-2222-2222-2222-222222222222"


class Runtime(str):
    """Something that is known only when Azure has made it; the text says what."""

    __slots__ = ()


def text(value: Any) -> str:
    """Return a value as it is filled into a string."""
    return json.dumps(value) if isinstance(value, bool | int) or value is None else str(value)


def joined(*parts: Any) -> str:
    """Return texts as one; known only at run time if one of them is."""
    made = "".join(text(part) for part in parts)
    return Runtime(made) if any(isinstance(part, Runtime) for part in parts) else made


def unique(*parts: Any) -> str:
    """Return thirteen letters and digits, always the same for the same parts."""
    number = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(text(part) for part in parts)).int
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(digits[number >> (5 * place) & 31] for place in range(13))


def _union(*parts: Any) -> Any:
    if all(isinstance(part, dict) for part in parts):
        return {key: value for part in parts for key, value in part.items()}
    return list(dict.fromkeys(item for part in parts for item in part))


def _contains(whole: Any, part: Any) -> bool:
    """Names of an object's properties are the same in any case."""
    return str(part).lower() in {name.lower() for name in whole} if isinstance(whole, dict) else part in whole


def _role_or_other(kind: str, *names: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/providers/{kind}/{'/'.join(names)}"


_ENVIRONMENT = {
    "suffixes": {"storage": "core.windows.net"},
    "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
}

PURE: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "empty": (1, 1, lambda value: not value),
    "contains": (2, 2, _contains),
    "length": (1, 1, len),
    "toLower": (1, 1, lambda value: value.lower()),
    "replace": (3, 3, lambda value, old, new: value.replace(old, new)),
    "take": (2, 2, lambda value, count: value[:count]),
    "uniqueString": (1, 99, unique),
    "guid": (1, 99, lambda *parts: str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(map(text, parts))))),
    "union": (2, 99, _union),
    "last": (1, 1, lambda value: value[-1]),
    "split": (2, 2, lambda value, mark: value.split(mark)),
    "join": (2, 2, lambda value, mark: mark.join(value)),
    "subscription": (0, 0, lambda: {"id": f"/subscriptions/{SUBSCRIPTION}", "subscriptionId": SUBSCRIPTION}),
    "tenant": (0, 0, lambda: {"tenantId": TENANT}),
    "environment": (0, 0, lambda: _ENVIRONMENT),
    "resourceGroup": (1, 2, lambda *names: names if len(names) == 2 else (SUBSCRIPTION, *names)),
    "subscriptionResourceId": (2, 99, _role_or_other),
}
"""Least and most arguments, and what it returns."""

FILES: Mapping[str, Callable[[Path], Any]] = {
    "loadJsonContent": lambda file: json.loads(file.read_text("utf-8")),
    "loadTextContent": lambda file: file.read_text("utf-8"),
}
"""Functions of a file beside the template."""

DECORATORS = frozenset({"description", "allowed", "minLength", "maxLength", "minValue", "maxValue"})

RESULTS: Mapping[str, str] = {
    **dict.fromkeys(("empty", "contains"), "bool"),
    "length": "int",
    **dict.fromkeys(("toLower", "replace", "uniqueString", "guid", "join", "subscriptionResourceId"), "string"),
    "split": "array",
    **dict.fromkeys(("subscription", "tenant", "environment"), "object"),
    "loadTextContent": "string",
    "loadJsonContent": "object",
}
"""Types of results, where they are always the same."""
