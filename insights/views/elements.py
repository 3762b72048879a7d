"""
The elements of FHIR R4 types with type and cardinality, read from the models of ``fhir.resources``.

`fhir.resources` contains R4B. In the elements that the shipped views use, R4B and R4 do not differ.
"""

from __future__ import annotations

import functools
import re
import types
import typing
import uuid
from dataclasses import dataclass
from typing import Any

from insights.errors import ViewError

STRINGS = frozenset(
    {"base64Binary", "canonical", "code", "id", "markdown", "oid", "string", "uri", "url", "uuid", "xhtml"}
)
MOMENTS = frozenset({"date", "dateTime", "instant", "time"})
WHOLE = frozenset({"integer", "positiveInt", "unsignedInt", "integer64"})
PRIMITIVES = STRINGS | MOMENTS | WHOLE | {"boolean", "decimal"}

_MODEL = re.compile(r"(?:^|\.)([A-Za-z]+)Type$")


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a type: its FHIR type (or types, if it is a choice) and whether it repeats."""

    name: str
    type: str
    many: bool


@functools.cache
def elements(type_name: str) -> dict[str, Element]:
    """
    Return the elements of a type by name; a choice is listed by its JSON names, such as ``valueQuantity``.

    Raises
    ------
    ViewError
        ``view.unknown_type``.
    """
    by_name = {}
    for name, field in _model(type_name).model_fields.items():
        if name == "fhir_comments" or name.endswith("__ext"):
            continue
        kind, many = _type_of(field.annotation, field.metadata)
        by_name[field.alias or name] = Element(field.alias or name, kind, many)
    return by_name


@functools.cache
def choices(type_name: str) -> dict[str, dict[str, str]]:
    """Return each choice of a type: its name, and the JSON names by FHIR type."""
    by_choice: dict[str, dict[str, str]] = {}
    for name, field in _model(type_name).model_fields.items():
        choice = (field.json_schema_extra or {}).get("one_of_many")
        if choice:
            by_choice.setdefault(choice, {})[_type_of(field.annotation, field.metadata)[0]] = field.alias or name
    return by_choice


def _model(type_name: str) -> Any:
    # The models take half a second to load, and views that are compiled already need none.
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415

    try:
        return get_fhir_model_class(type_name)
    except (LookupError, ValueError):
        raise ViewError(f"FHIR R4 has no type {type_name}", code="view.unknown_type") from None


def _type_of(annotation: Any, metadata: list[Any]) -> tuple[str, bool]:
    many = False
    while typing.get_origin(annotation) in (typing.Union, types.UnionType, list):
        many |= typing.get_origin(annotation) is list
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *marks = typing.get_args(annotation)
        metadata = [*metadata, *marks]
    match = _MODEL.search(getattr(annotation, "__name__", ""))
    if match:
        return match.group(1), many
    if annotation is bool:
        return "boolean", many
    if annotation is uuid.UUID:
        return "uuid", many
    names = [type(mark).__name__ for mark in metadata]
    known = [name[:1].lower() + name[1:] for name in names]
    return next((name for name in known if name in PRIMITIVES), "string"), many
