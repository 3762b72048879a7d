"""
The elements of a resource that are read: a tree that the compiler fills and that gives the types of DuckDB's reader.

Inferred schemas fail if an element is absent from a file, and need a second read; a shape is exact, and the rest of
each resource is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from insights.views.elements import MOMENTS, STRINGS, WHOLE


@dataclass(slots=True)
class Shape:
    """
    The used part of one element.

    Attributes
    ----------
    type
        FHIR type.
    many
        Whether the element repeats.
    parts
        Used children; none for a primitive.
    raw
        Whether the element is kept as JSON text, for a recursion.
    """

    type: str
    many: bool = False
    parts: dict[str, Shape] = field(default_factory=dict)
    raw: bool = False

    def use(self, name: str, type_name: str, *, many: bool) -> Shape:
        """Add a child to the elements that are read, and return it."""
        return self.parts.setdefault(name, Shape(type_name, many))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        parts = {name: part.as_json() for name, part in sorted(self.parts.items())}
        return {"type": self.type, "many": self.many, "raw": self.raw, "parts": parts}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Shape:
        """Return the shape from the result of `as_json`."""
        parts = {name: cls.from_json(part) for name, part in raw["parts"].items()}
        return cls(raw["type"], raw["many"], parts, raw["raw"])

    def sql(self) -> str:
        """Return the DuckDB type."""
        if self.raw:
            one = "JSON"
        elif self.parts:
            one = (
                "STRUCT(" + ", ".join(f"{quoted(name)} {part.sql()}" for name, part in sorted(self.parts.items())) + ")"
            )
        else:
            one = sql_type(self.type)
        return f"{one}[]" if self.many else one

    def columns(self) -> dict[str, str]:
        """Return the DuckDB types of the columns of a resource."""
        return {name: part.sql() for name, part in sorted(self.parts.items())}


def sql_type(fhir_type: str) -> str:
    """
    Return the DuckDB type of a primitive.

    Dates stay text, as written: ``2024-03`` is an interval of 31 days, not a day.
    """
    if fhir_type in STRINGS or fhir_type in MOMENTS:
        return "VARCHAR"
    if fhir_type in WHOLE:
        return "BIGINT"
    return {"boolean": "BOOLEAN", "decimal": "DOUBLE"}.get(fhir_type, "JSON")


def quoted(name: str) -> str:
    """Quote an identifier: ``at`` and others are reserved in DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text."""
    return "'" + text.replace("'", "''") + "'"
