"""Compiles FHIRPath expressions to DuckDB SQL, typed by FHIR's own element definitions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from insights.errors import ViewError
from insights.views import fhirpath, functions, operators
from insights.views.definition import Constant
from insights.views.elements import MOMENTS, PRIMITIVES, STRINGS, WHOLE, choices, elements
from insights.views.fhirpath import Binary, Call, Expression, Index, Literal, Member, Name, This, Unary
from insights.views.scope import Scope
from insights.views.shape import Shape, literal, quoted
from insights.views.values import Value, length, one, settled


@dataclass(slots=True)
class Paths:
    """
    Compiles the paths of one view.

    Parameters
    ----------
    constants
        Of the view, by name.
    recursive
        Names of elements into which a `repeat` descends. They are read as JSON text and typed at each use, because a
        type that contains itself has no finite SQL type.
    """

    constants: Mapping[str, Constant]
    recursive: frozenset[str] = frozenset()
    recursive_shapes: dict[str, Shape] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def compile(self, path: str, scope: Scope) -> Value:
        """
        Compile one path.

        Raises
        ------
        ViewError
            Names the part that is wrong or not supported.
        """
        return replace(self.value(fhirpath.parse(path), scope), text=path)

    def fresh(self) -> str:
        """Return a unique name for a lambda's parameter."""
        return f"x{next(self._numbers)}"

    def value(self, expression: Expression, scope: Scope) -> Value:  # noqa: PLR0911 -- one return per construct
        """Compile a parsed expression."""
        match expression:
            case This():
                return scope.focus
            case Literal(kind, text):
                return literal_value(kind, text)
            case Name(name):
                return self._named(name, scope)
            case Member(This(), name) if scope.focus.root and name == scope.focus.type:
                return scope.focus
            case Member(base, name):
                return self.member(self.value(base, scope), name)
            case Index(base, index):
                return self._indexed(self.value(base, scope), one(self.value(index, scope)))
            case Unary(operator, operand):
                return operators.sign(operator, one(self.value(operand, scope)))
            case Binary(operator, left, right):
                return operators.binary(operator, self.value(left, scope), self.value(right, scope))
            case Call(base, name, arguments):
                return functions.call(self, self.value(base, scope), name, arguments, scope)

    def member(self, base: Value, name: str) -> Value:
        """
        Compile `base.name`.

        Raises
        ------
        ViewError
            ``view.unknown_element``, ``view.primitive_extension``.
        """
        settled(base)
        text = f"{base.text}.{name}".lstrip(".")
        if base.type in PRIMITIVES or base.shape is None:
            code = "view.primitive_extension" if name in ("extension", "id") else "view.unknown_element"
            raise ViewError(f"{text!r}: elements below a primitive are not read", code=code)
        options = choices(base.type).get(name)
        if options:
            return Value("", "choice", choice=options, base=base, text=text)
        element = elements(base.type).get(name)
        if element is None or any(name in by_type.values() for by_type in choices(base.type).values()):
            raise ViewError(f"{base.type} has no element {name!r}", code="view.unknown_element")
        if element.type in ("Resource", "FHIR", "Any"):
            raise ViewError(f"{text!r}: contained resources are not read", code="view.contained")
        return self._element(base, name, element.type, many=element.many, text=text)

    def of_type(self, value: Value, kind: str) -> Value:
        """Compile `value.ofType(kind)`."""
        if value.choice and value.base is not None:
            name = value.choice.get(kind)
            if name is None:
                known = ", ".join(sorted(value.choice))
                raise ViewError(
                    f"{value.text!r} is never {kind}", code="view.unknown_type", hint=f"It may be: {known}."
                )
            return self._element(value.base, name, kind, many=False, text=f"{value.text}.ofType({kind})")
        settled(value)
        return value if value.type == kind else Value("NULL", "empty", text=value.text)

    def exists(self, value: Value) -> str:
        """Return whether a value has any element, as SQL."""
        if value.root:
            return f"coalesce({value.sql}, FALSE)"
        if value.choice:
            options = (self.of_type(value, kind) for kind in sorted(value.choice))
            return "(" + " OR ".join(self.exists(option) for option in options) + ")"
        return f"({length(value)} > 0)" if value.many else f"({value.sql} IS NOT NULL)"

    def _element(self, base: Value, name: str, kind: str, *, many: bool, text: str) -> Value:
        assert base.shape is not None
        part = base.shape.use(name, kind, many=many)
        raw = name in self.recursive and kind not in PRIMITIVES
        shape = part
        if raw:
            part.raw = True
            shape = self.recursive_shapes.setdefault(kind, Shape(kind))
        if base.root:
            column = f"r.{quoted(name)}"
            sql = column if base.sql == "TRUE" else f"CASE WHEN {base.sql} THEN {column} END"
        elif base.many:
            sql = self._spread(base, name, many=many)
        else:
            sql = f"({base.sql}).{quoted(name)}"
        several = many or base.many
        if several and not base.many and kind in PRIMITIVES:
            sql = self._present(sql)
        if raw:
            sql = self._typed(sql, kind, many=several)
        return Value(sql, kind, several, None if kind in PRIMITIVES else shape, text=text)

    def _spread(self, base: Value, name: str, *, many: bool) -> str:
        item = self.fresh()
        spread = f"list_transform({base.sql}, lambda {item}: ({item}).{quoted(name)})"
        return self._present(f"flatten({spread})" if many else spread)

    def _present(self, sql: str) -> str:
        """Leave out nulls of absent elements, and those in place of primitives that only have an extension."""
        item = self.fresh()
        return f"list_filter({sql}, lambda {item}: {item} IS NOT NULL)"

    def _typed(self, sql: str, kind: str, *, many: bool) -> str:
        if not many:
            return f"from_json({sql}, {placeholder(kind)})"
        item = self.fresh()
        return f"list_transform({sql}, lambda {item}: from_json({item}, {placeholder(kind)}))"

    def _named(self, name: str, scope: Scope) -> Value:
        if name == "rowIndex":
            return Value(scope.row_index, "integer", text="%rowIndex")
        constant = self.constants.get(name)
        if constant is None:
            raise ViewError(f"there is no constant %{name}", code="view.unknown_constant")
        return constant_value(constant)

    def _indexed(self, base: Value, index: Value) -> Value:
        settled(base)
        if index.family != "number":
            raise ViewError(f"an index of {base.text!r} is not a number", code="view.type_mismatch")
        if base.root or not base.many:
            return replace(base, sql=f"CASE WHEN {index.sql} = 0 THEN {base.sql} END")
        return base.to(f"({base.sql})[{index.sql} + 1]")


def placeholder(kind: str) -> str:
    """Return a placeholder for the structure of a recursive type until all paths of the view are compiled."""
    return f"'\x01structure:{kind}\x01'"


def literal_value(kind: str, text: str) -> Value:
    """Return a literal of FHIRPath."""
    if kind == "empty":
        return Value("NULL", "empty", text="{}")
    if kind == "boolean":
        return Value(text.upper(), kind, text=text)
    if kind in ("integer", "decimal"):
        return Value(text if kind == "integer" else f"CAST({text} AS DOUBLE)", kind, text=text)
    return Value(literal(text), kind, text=text)


def constant_value(constant: Constant) -> Value:
    """
    Return a constant of the view.

    Raises
    ------
    ViewError
        ``view.invalid``: a constant may not have this type, or its value is of another type.
    """
    kind, value = constant.type, constant.value
    fits = {
        "boolean": isinstance(value, bool),
        "decimal": isinstance(value, int | float) and not isinstance(value, bool),
        **dict.fromkeys(WHOLE, isinstance(value, int) and not isinstance(value, bool)),
        **dict.fromkeys(STRINGS | MOMENTS, isinstance(value, str)),
    }.get(kind, False)
    if not fits:
        raise ViewError(f"constant {constant.name!r} holds no {kind}", code="view.invalid")
    if isinstance(value, str):
        return Value(literal(value), kind, text=f"%{constant.name}")
    sql = str(value).upper() if kind != "decimal" else f"CAST({value!r} AS DOUBLE)"
    return Value(sql, kind, text=f"%{constant.name}")
