"""
Reads elements of FHIR resources and answers of other systems: one of another JSON type counts as missing. Pure.

The R4 definitions give the types; a service that does not validate what it stores may return anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Element = Mapping[str, Any]


def part(of: Element, name: str) -> Element:
    """Return a complex element (0..1); empty if it is missing or no object."""
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def parts(of: Element, name: str) -> list[Element]:
    """Return the complex elements of a list (0..*), in their order; what is no object is left out."""
    value = of.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(of: Element, name: str) -> str:
    """Return a primitive element (0..1) that JSON writes as text; empty if it is missing or no text."""
    value = of.get(name)
    return value if isinstance(value, str) else ""


def number(of: Element, name: str) -> int | None:
    """Return a whole number (0..1); None if it is missing or no whole number."""
    value = of.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
