"""Compiles the FHIRPath functions that SQL on FHIR requires to SQL, and refuses all others by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from insights.errors import ViewError
from insights.views import moments
from insights.views.fhirpath import Expression, Literal, Member, This
from insights.views.scope import Compiler, Scope
from insights.views.shape import literal
from insights.views.values import Value, boolean, condition, length, listed, one, primitive, settled

Arguments = tuple[Expression, ...]

_REFERENCE = r"^([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/.*)?$"
"""A relative reference; an absolute one is a key of another server."""


def call(compiler: Compiler, base: Value, name: str, arguments: Arguments, scope: Scope) -> Value:
    """
    Compile `base.name(arguments)`.

    Raises
    ------
    ViewError
        ``view.unsupported_function``, ``view.arguments``.
    """
    known = _FUNCTIONS.get(name)
    if known is None:
        raise ViewError(f"the function {name}() is not supported", code="view.unsupported_function")
    least, most, function = known
    if not least <= len(arguments) <= most:
        raise ViewError(f"{name}() does not take {len(arguments)} arguments", code="view.arguments")
    result = function(compiler, base, arguments, scope)
    return replace(result, text=f"{base.text}.{name}()".lstrip("."))


def _where(compiler: Compiler, base: Value, arguments: Arguments, scope: Scope) -> Value:
    settled(base)
    if base.root or not base.many:
        holds = condition(compiler.value(arguments[0], replace(scope, focus=base)))
        if base.root:
            return replace(base, sql=f"({base.sql} AND {holds})")
        return replace(base, sql=f"CASE WHEN {holds} THEN {base.sql} END")
    item = compiler.fresh()
    focus = replace(base, sql=item, many=False)
    holds = condition(compiler.value(arguments[0], replace(scope, focus=focus)))
    return replace(base, sql=f"list_filter({base.sql}, lambda {item}: coalesce({holds}, FALSE))")


def _exists(compiler: Compiler, base: Value, arguments: Arguments, scope: Scope) -> Value:
    return boolean(compiler.exists(_where(compiler, base, arguments, scope) if arguments else base))


def _empty(compiler: Compiler, base: Value, _: Arguments, __: Scope) -> Value:
    return boolean(f"(NOT {compiler.exists(base)})")


def _not(_: Compiler, base: Value, __: Arguments, ___: Scope) -> Value:
    return boolean(f"(NOT {condition(base)})")


def _count(_: Compiler, base: Value, __: Arguments, ___: Scope) -> Value:
    settled(base)
    return Value(length(base) if base.many else f"CASE WHEN {base.sql} IS NULL THEN 0 ELSE 1 END", "integer")


def _first(_: Compiler, base: Value, __: Arguments, ___: Scope) -> Value:
    settled(base)
    return base.to(f"({base.sql})[1]") if base.many else base


def _last(_: Compiler, base: Value, __: Arguments, ___: Scope) -> Value:
    settled(base)
    return base.to(f"({base.sql})[-1]") if base.many else base


def _join(compiler: Compiler, base: Value, arguments: Arguments, scope: Scope) -> Value:
    primitive(base)
    separator = one(compiler.value(arguments[0], scope)).sql if arguments else "''"
    values = listed(base)
    return Value(f"CASE WHEN len({values}) > 0 THEN array_to_string({values}, {separator}) END", "string")


def _of_type(compiler: Compiler, base: Value, arguments: Arguments, _: Scope) -> Value:
    return compiler.of_type(base, _type_name(arguments[0]))


def _extension(compiler: Compiler, base: Value, arguments: Arguments, _: Scope) -> Value:
    url = arguments[0]
    if not isinstance(url, Literal) or url.kind != "string":
        raise ViewError("extension() takes the URL as a literal", code="view.arguments")
    extensions = compiler.member(base, "extension")
    item = compiler.fresh()
    focus = replace(extensions, sql=item, many=False)
    sql = f"list_filter({extensions.sql}, lambda {item}: {compiler.member(focus, 'url').sql} = {literal(url.text)})"
    return replace(extensions, sql=sql)


def _resource_key(compiler: Compiler, base: Value, _: Arguments, __: Scope) -> Value:
    if not base.root:
        raise ViewError("getResourceKey() is of the resource only", code="view.arguments")
    return compiler.member(base, "id")


def _reference_key(compiler: Compiler, base: Value, arguments: Arguments, _: Scope) -> Value:
    settled(base)
    if base.type != "Reference":
        raise ViewError(f"getReferenceKey() of {base.type}", code="view.type_mismatch")
    kind = _type_name(arguments[0]) if arguments else None
    if not base.many:
        return base.to(_key(compiler.member(base, "reference").sql, kind), "id")
    item = compiler.fresh()
    key = _key(compiler.member(replace(base, sql=item, many=False), "reference").sql, kind)
    present = compiler.fresh()
    keys = f"list_filter(list_transform({base.sql}, lambda {item}: {key}), lambda {present}: {present} IS NOT NULL)"
    return base.to(keys, "id", many=True)


def _key(reference: str, kind: str | None) -> str:
    relative = f"regexp_matches({reference}, '{_REFERENCE}')"
    key = f"regexp_extract({reference}, '{_REFERENCE}', 2)"
    if kind is not None:
        return f"CASE WHEN {relative} AND starts_with({reference}, '{kind}/') THEN {key} END"
    return f"CASE WHEN {relative} THEN {key} WHEN NOT starts_with({reference}, '#') THEN {reference} END"


def _low(_: Compiler, base: Value, __: Arguments, ___: Scope) -> Value:
    return _boundary(base, moments.low_boundary)


def _high(_: Compiler, base: Value, __: Arguments, ___: Scope) -> Value:
    return _boundary(base, moments.high_boundary)


def _boundary(base: Value, bound: Callable[[str, str], str]) -> Value:
    value = one(base)
    if value.type == "decimal":
        raise ViewError("boundaries of decimals need their written precision", code="view.decimal_boundary")
    if value.family not in ("moment", "time"):
        raise ViewError(f"{base.text!r} is {value.type} and has no boundaries", code="view.type_mismatch")
    return value.to(bound(value.sql, value.type))


def _type_name(argument: Expression) -> str:
    match argument:
        case Member(This(), name) | Member(Member(This(), "FHIR"), name):
            return name
        case _:
            raise ViewError("the argument is not the name of a type", code="view.arguments")


_FUNCTIONS: dict[str, tuple[int, int, Callable[[Compiler, Value, Arguments, Scope], Value]]] = {
    "count": (0, 0, _count),
    "empty": (0, 0, _empty),
    "exists": (0, 1, _exists),
    "extension": (1, 1, _extension),
    "first": (0, 0, _first),
    "getReferenceKey": (0, 1, _reference_key),
    "getResourceKey": (0, 0, _resource_key),
    "highBoundary": (0, 0, _high),
    "join": (0, 1, _join),
    "last": (0, 0, _last),
    "lowBoundary": (0, 0, _low),
    "not": (0, 0, _not),
    "ofType": (1, 1, _of_type),
    "where": (1, 1, _where),
}
"""Name, minimum and maximum number of arguments, and the compiling function."""
