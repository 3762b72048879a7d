"""
Compiles the selects of a view to one SQL expression: the list of rows of a resource.

Iterations are list functions with lambdas instead of lateral joins: they stream, nest to any depth, and work
in DuckDB and, transpiled, in Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from insights.errors import ViewError
from insights.views.definition import Column, Select
from insights.views.elements import PRIMITIVES, WHOLE
from insights.views.paths import Paths
from insights.views.scope import Scope
from insights.views.shape import Shape, literal, sql_type
from insights.views.values import TOO_DEEP, Value, family, listed, one, primitive

MAX_DEPTH = 12
"""Maximum depth of a repeat; deeper data is an error when the view runs, never a shorter table."""


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of the table: its FHIR type and its DuckDB type."""

    name: str
    type: str
    sql_type: str
    collection: bool
    description: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one focus: `fields` if there is exactly one row, else `sql`, a list of structs."""

    columns: tuple[OutputColumn, ...]
    fields: Mapping[str, str] | None = None
    sql: str = ""

    def listed(self) -> str:
        """Return the rows as an SQL list of structs."""
        return self.sql if self.fields is None else f"[{struct(self.fields)}]"


def struct(fields: Mapping[str, str]) -> str:
    """Return an SQL struct."""
    return "{" + ", ".join(f"{literal(name)}: {sql}" for name, sql in fields.items()) + "}"


def select_rows(paths: Paths, select: Select, scope: Scope) -> Rows:
    """
    Compile one select with all nested selects.

    Raises
    ------
    ViewError
        The select is wrong or not supported.
    """
    if select.repeat:
        return _repeated(paths, select, scope)
    path = select.for_each or select.for_each_or_null
    if path is None:
        return _parts(paths, select, scope)
    over = paths.compile(path, scope)
    items = listed(over)
    if select.for_each_or_null is not None:
        items = f"CASE WHEN len({items}) > 0 THEN {items} ELSE [NULL] END"
    return _iterated(paths, select, over, items)


def _iterated(paths: Paths, select: Select, over: Value, items: str) -> Rows:
    item, position = paths.fresh(), paths.fresh()
    focus = replace(over, sql=item, many=False, text="")
    inner = _parts(paths, select, Scope(focus, f"({position} - 1)"))
    if inner.fields is not None:
        return Rows(inner.columns, sql=f"list_transform({items}, lambda {item}, {position}: {struct(inner.fields)})")
    return Rows(inner.columns, sql=f"flatten(list_transform({items}, lambda {item}, {position}: {inner.sql}))")


def _parts(paths: Paths, select: Select, scope: Scope) -> Rows:
    parts = [_columns(paths, select.column, scope)]
    parts += [select_rows(paths, inner, scope) for inner in select.select]
    if select.union_all:
        parts.append(_union([select_rows(paths, branch, scope) for branch in select.union_all]))
    return product(paths, parts)


def _columns(paths: Paths, columns: Sequence[Column], scope: Scope) -> Rows:
    fields, outputs = {}, []
    for column in columns:
        value = paths.compile(column.path, scope)
        primitive(value)
        kind = _output_type(column, value)
        sql = listed(value) if column.collection else one(value).sql
        wanted = sql_type(kind) + ("[]" if column.collection else "")
        fields[column.name] = f"CAST({sql} AS {wanted})" if _needs_cast(value, kind) else sql
        outputs.append(OutputColumn(column.name, kind, wanted, column.collection, column.description))
    return Rows(tuple(outputs), fields)


def _needs_cast(value: Value, kind: str) -> bool:
    return (
        value.type == "empty" or sql_type(value.type) != sql_type(kind) or value.type in WHOLE or "'" in value.sql[:1]
    )


def _output_type(column: Column, value: Value) -> str:
    declared = column.type or value.type
    if value.type == "empty":
        return declared if declared in PRIMITIVES else "string"
    narrowed = value.type == "decimal" and declared in WHOLE
    if declared not in PRIMITIVES or family(declared) != value.family or narrowed:
        raise ViewError(
            f"column {column.name!r} is declared {declared}, but its path is {value.type}", code="view.column_type"
        )
    return declared


def _union(branches: Sequence[Rows]) -> Rows:
    first = branches[0]
    signature = [(column.name, column.sql_type) for column in first.columns]
    for branch in branches[1:]:
        if [(column.name, column.sql_type) for column in branch.columns] != signature:
            raise ViewError("the branches of unionAll differ in columns, order or types", code="view.union_columns")
    if len(branches) == 1:
        return first
    return Rows(first.columns, sql=f"list_concat({', '.join(branch.listed() for branch in branches)})")


def product(paths: Paths, parts: Sequence[Rows]) -> Rows:
    """
    Join the rows of sibling selects crosswise.

    Raises
    ------
    ViewError
        ``view.duplicate_column``.
    """
    columns = tuple(column for part in parts for column in part.columns)
    _check_names(columns)
    fields: dict[str, str] = {}
    loops: list[tuple[str, str]] = []
    for part in parts:
        if part.fields is not None:
            fields |= part.fields
            continue
        row = paths.fresh()
        loops.append((row, part.sql))
        fields |= {column.name: f"({row}).{_field(column.name)}" for column in part.columns}
    if not loops:
        return Rows(columns, fields)
    sql = struct(fields)
    for depth, (row, rows) in enumerate(reversed(loops)):
        sql = f"list_transform({rows}, lambda {row}: {sql})"
        sql = f"flatten({sql})" if depth else sql
    return Rows(columns, sql=sql)


def _field(name: str) -> str:
    return '"' + name + '"'


def _check_names(columns: Sequence[OutputColumn]) -> None:
    names = [column.name.lower() for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise ViewError(f"two columns are named {name!r}", code="view.duplicate_column")


def _repeated(paths: Paths, select: Select, scope: Scope) -> Rows:
    start = _children(paths, select, scope.focus)
    kind = next(iter(start.values())).type
    shape = paths.recursive_shapes.get(kind)
    if shape is None or {value.type for value in start.values()} != {kind}:
        raise ViewError("the paths of a repeat lead to several types", code="view.repeat_types")
    below = _children(paths, select, Value("NULL", kind, shape=shape))
    unknown = [path for path in select.repeat if path not in start and path not in below]
    if unknown:
        raise ViewError(f"repeat: there is no element {unknown[0]!r}", code="view.unknown_element")
    items = _descend(paths, select, _joined(start), shape, MAX_DEPTH)
    return _iterated(paths, select, Value(items, kind, many=True, shape=shape), items)


def _descend(paths: Paths, select: Select, children: str, shape: Shape, depth: int) -> str:
    """Return children and all their descendants, parents first."""
    if depth == 0:
        return f"CASE WHEN len({children}) > 0 THEN error({literal(f'{TOO_DEEP}|{MAX_DEPTH}')}) ELSE {children} END"
    item = paths.fresh()
    below = _children(paths, select, Value(item, shape.type, shape=shape))
    if not below:
        return children
    deeper = _descend(paths, select, _joined(below), shape, depth - 1)
    return f"flatten(list_transform({children}, lambda {item}: list_concat([{item}], {deeper})))"


def _joined(children: Mapping[str, Value]) -> str:
    lists = [listed(value) for value in children.values()]
    return lists[0] if len(lists) == 1 else f"list_concat({', '.join(lists)})"


def _children(paths: Paths, select: Select, focus: Value) -> dict[str, Value]:
    """Return the targets of a repeat's paths; a path may exist at one level and not at another."""
    compiled, problem = {}, None
    for path in select.repeat:
        try:
            compiled[path] = paths.compile(path, Scope(focus))
        except ViewError as unknown:
            if unknown.code != "view.unknown_element":
                raise
            problem = unknown
    if problem is not None and not compiled and focus.root:
        raise problem
    return compiled
