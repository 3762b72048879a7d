"""Compiles a ViewDefinition to one SELECT and the shape of the elements that it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from insights.views import fhirpath
from insights.views.definition import Select, ViewDefinition
from insights.views.fhirpath import Call, Expression, Index, Member
from insights.views.paths import Paths
from insights.views.rows import OutputColumn, product, select_rows
from insights.views.scope import Scope
from insights.views.shape import Shape, quoted
from insights.views.values import Value, condition

_STRUCTURE = re.compile("\x01structure:(\\w+)\x01")


@dataclass(frozen=True, slots=True)
class CompiledView:
    """
    A view that is ready to run.

    Attributes
    ----------
    name, resource
        Of the definition.
    columns
        Of the table, in order.
    shape
        Required columns of a relation that `select` reads; shared by all views that were compiled with it.
    key
        Column with the id of the resource (path ``getResourceKey()``); None if there is none.
    """

    name: str
    resource: str
    columns: tuple[OutputColumn, ...]
    shape: Shape
    key: str | None
    _template: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, without its shape."""
        columns = [asdict(column) for column in self.columns]
        return {"resource": self.resource, "key": self.key, "columns": columns, "sql": self._template}

    @classmethod
    def from_json(cls, name: str, raw: dict[str, Any], shape: Shape) -> CompiledView:
        """Return the view from the result of `as_json`."""
        columns = tuple(OutputColumn(**column) for column in raw["columns"])
        return cls(name, raw["resource"], columns, shape, raw["key"], raw["sql"])

    def declared(self) -> str:
        """Return names and types of the columns of `select`, in the form of CREATE TABLE."""
        return ", ".join(f"{quoted(column.name)} {column.sql_type}" for column in self.columns)

    def select(self, source: str) -> str:
        """
        Return the query.

        Parameters
        ----------
        source
            A relation with the columns of `shape`, one row per resource: a table, or a table function.
        """
        return self._template.replace("\x01source\x01", source)


def recursive_names(view: ViewDefinition) -> frozenset[str]:
    """Return the elements into which the repeats of a view descend."""

    def of(selects: Iterable[Select]) -> Iterable[str]:
        for select in selects:
            for path in select.repeat:
                yield from _members(fhirpath.parse(path))
            yield from of(select.select)
            yield from of(select.union_all)

    return frozenset(of(view.select))


def _members(expression: Expression) -> Iterable[str]:
    match expression:
        case Member(base, name):
            yield from _members(base)
            yield name
        case Call(base, _, _) | Index(base, _):
            yield from _members(base)
        case _:
            return


def compile_view(
    view: ViewDefinition, shape: Shape | None = None, *, recursive: frozenset[str] = frozenset()
) -> CompiledView:
    """
    Compile a view.

    Parameters
    ----------
    shape
        Shape of other views over the same type, to be read together; this view adds its elements to it.
    recursive
        Elements over which those other views repeat.

    Raises
    ------
    ViewError
        Names the part that is wrong or not supported; no view is compiled partly.
    """
    shape = shape if shape is not None else Shape(view.resource)
    paths = Paths({constant.name: constant for constant in view.constant}, recursive | recursive_names(view))
    scope = Scope(Value("TRUE", view.resource, shape=shape, root=True))
    conditions = [f"coalesce({condition(paths.compile(where.path, scope))}, FALSE)" for where in view.where]
    rows = product(paths, [select_rows(paths, select, scope) for select in view.select])
    if not shape.parts:
        shape.use("id", "id", many=False)
    filtered = " WHERE " + " AND ".join(conditions) if conditions else ""
    names = [column.name for column in rows.columns]
    if rows.fields is not None:
        listing = ", ".join(f"{rows.fields[name]} AS {quoted(name)}" for name in names)
        template = f"SELECT {listing} FROM \x01source\x01 AS r{filtered}"
    else:
        listing = ", ".join(f"(u).{quoted(name)} AS {quoted(name)}" for name in names)
        template = f"SELECT {listing} FROM (SELECT unnest({rows.sql}) AS u FROM \x01source\x01 AS r{filtered})"
    template = _STRUCTURE.sub(lambda match: json.dumps(structure(paths.recursive_shapes[match.group(1)])), template)
    return CompiledView(view.name, view.resource, rows.columns, shape, _key(view), template)


def _key(view: ViewDefinition) -> str | None:
    """Return the column with the resource's id; it must be in a select that does not iterate."""
    plain = (select for select in view.select if not (select.for_each or select.for_each_or_null or select.repeat))
    names = (column.name for select in plain for column in select.column if column.path == "getResourceKey()")
    return next(names, None)


def structure(shape: Shape) -> object:
    """Return the structure of an element in the form that DuckDB's ``from_json`` takes."""
    parts = {name: _part(part) for name, part in sorted(shape.parts.items())}
    return parts or "JSON"


def _part(shape: Shape) -> object:
    one = "JSON" if shape.raw else structure(shape) if shape.parts else Shape(shape.type).sql()
    return [one] if shape.many else one
