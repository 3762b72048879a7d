"""The value of a FHIRPath expression during compilation: SQL, FHIR type, one or many."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from insights.errors import ViewError
from insights.views.elements import MOMENTS, PRIMITIVES, STRINGS, WHOLE
from insights.views.shape import Shape, literal

MANY_VALUES = "view.many_values"
TOO_DEEP = "view.repeat_too_deep"


@dataclass(frozen=True, slots=True)
class Value:
    """
    A compiled expression.

    Attributes
    ----------
    sql
        DuckDB expression. A list if `many`; NULL and the empty list both mean FHIRPath's empty collection.
    type
        FHIR type; ``empty`` for ``{}``.
    many
        Whether it is a list.
    shape
        Shape of a complex element, which collects the children in use.
    root
        The resource itself: its elements are columns; `sql` is the condition under which it is there.
    choice
        JSON names by type of a choice whose `ofType` is still to follow, in the element `base`.
    text
        The path, for messages.
    """

    sql: str
    type: str
    many: bool = False
    shape: Shape | None = None
    root: bool = False
    choice: dict[str, str] = field(default_factory=dict)
    base: Value | None = None
    text: str = ""

    @property
    def family(self) -> str:
        """Return the group of values with which this one may be compared."""
        return family(self.type)

    def to(self, sql: str, kind: str | None = None, *, many: bool = False) -> Value:
        """Return a value computed from this one."""
        return replace(self, sql=sql, type=kind or self.type, many=many, root=False, choice={}, base=None)


def family(kind: str) -> str:
    """Return the group of FHIR types whose values can be compared with each other."""
    if kind in STRINGS:
        return "string"
    if kind in WHOLE or kind == "decimal":
        return "number"
    if kind == "time":
        return "time"
    return "moment" if kind in MOMENTS else kind


def boolean(sql: str) -> Value:
    """Return a computed boolean."""
    return Value(sql, "boolean")


def length(value: Value) -> str:
    """Return the number of values, as SQL."""
    return f"coalesce(len({value.sql}), 0)"


def one(value: Value) -> Value:
    """
    Return the only value of a collection; more than one is an error when the view runs.

    Source: FHIRPath 2.0.0, 5.1 singleton evaluation of collections.
    """
    settled(value)
    if not value.many:
        return value
    message = literal(f"{MANY_VALUES}|{value.text}")
    sql = f"CASE WHEN {length(value)} > 1 THEN error({message}) ELSE ({value.sql})[1] END"
    return value.to(sql)


def listed(value: Value) -> str:
    """Return the values as an SQL list, never NULL."""
    settled(value)
    if value.many:
        return f"coalesce({value.sql}, [])"
    return f"CASE WHEN {value.sql} IS NULL THEN [] ELSE [{value.sql}] END"


def condition(value: Value) -> str:
    """
    Return a boolean as SQL.

    Raises
    ------
    ViewError
        ``view.not_boolean``.
    """
    if value.type not in ("boolean", "empty"):
        raise ViewError(f"{value.text!r} is {value.type}, not boolean", code="view.not_boolean")
    return one(value).sql


def settled(value: Value) -> None:
    """
    Check that the type of a choice was selected.

    Raises
    ------
    ViewError
        ``view.choice_without_type``.
    """
    if value.choice:
        names = ", ".join(sorted(value.choice))
        raise ViewError(
            f"{value.text!r} has one of several types",
            code="view.choice_without_type",
            hint=f"Use ofType() with: {names}.",
        )


def primitive(value: Value) -> None:
    """
    Check that values are primitive.

    Raises
    ------
    ViewError
        ``view.not_primitive``.
    """
    settled(value)
    if value.root or value.type not in PRIMITIVES | {"empty"}:
        raise ViewError(
            f"{value.text!r} is a whole {value.type}", code="view.not_primitive", hint="Name one element of it."
        )
