"""
ViewDefinition as a value: the elements that HL7 SQL on FHIR 2.0 defines, without its metadata.

Source: https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError, model_validator

from insights.errors import ViewError

_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
"""Names of views, columns and constants (constraint ``sql-name``)."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)


class Column(_Part):
    """
    One column of the table.

    Attributes
    ----------
    name
        Of the column, unique in the view.
    path
        FHIRPath from the focus of its select.
    type
        FHIR type of the values; None lets the compiler infer it.
    collection
        True: the column holds a list. Otherwise more than one value is an error.
    description
        Text for readers; it becomes the documentation of the column.
    """

    name: StrictStr = Field(pattern=_NAME)
    path: StrictStr
    type: StrictStr | None = None
    collection: StrictBool = False
    description: StrictStr = ""


class Select(_Part):
    """Columns of one focus, nested selects (joined crosswise) and unions."""

    column: tuple[Column, ...] = ()
    select: tuple[Select, ...] = ()
    union_all: tuple[Select, ...] = Field(default=(), alias="unionAll")
    for_each: StrictStr | None = Field(default=None, alias="forEach")
    for_each_or_null: StrictStr | None = Field(default=None, alias="forEachOrNull")
    repeat: tuple[StrictStr, ...] = ()

    @model_validator(mode="after")
    def _one_iteration(self) -> Self:
        if sum(map(bool, (self.for_each, self.for_each_or_null, self.repeat))) > 1:
            raise ValueError("forEach, forEachOrNull and repeat exclude each other")
        return self


class Where(_Part):
    """A condition that a resource must meet to appear in the table."""

    path: StrictStr


class Constant(_Part):
    """A named value: `%name` in paths. Exactly one ``value[x]`` of a primitive type."""

    name: StrictStr = Field(pattern=_NAME)
    type: StrictStr
    value: str | int | float | bool

    @model_validator(mode="before")
    @classmethod
    def _choice(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or "type" in raw:
            return raw
        values = {key: value for key, value in raw.items() if key.startswith("value")}
        if len(values) != 1:
            raise ValueError("a constant has exactly one value[x]")
        key, value = next(iter(values.items()))
        kind = key.removeprefix("value")
        return {"name": raw.get("name"), "type": kind[:1].lower() + kind[1:], "value": value}


class ViewDefinition(_Part):
    """
    A flat table over one type of resource.

    Attributes
    ----------
    name
        Of the table.
    resource
        FHIR type that the view reads.
    select
        1..*; sibling selects are joined crosswise within a resource.
    where
        All must hold.
    """

    name: StrictStr = Field(default="view", pattern=_NAME)
    resource: StrictStr = Field(pattern=r"^[A-Z][A-Za-z]+$")
    title: StrictStr = ""
    description: StrictStr = ""
    constant: tuple[Constant, ...] = ()
    select: tuple[Select, ...] = Field(min_length=1)
    where: tuple[Where, ...] = ()


def parse_view(raw: Mapping[str, Any]) -> ViewDefinition:
    """
    Read a ViewDefinition resource.

    Raises
    ------
    ViewError
        ``view.invalid``, naming the element.
    """
    try:
        return ViewDefinition.model_validate(raw)
    except ValidationError as problem:
        first = problem.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "ViewDefinition"
        text = str(first["msg"]).removeprefix("Value error, ")
        raise ViewError(f"{where}: {text}", code="view.invalid") from None
