"""
Compiles FHIRPath operators to SQL. FHIRPath's empty is SQL's NULL, so three-valued logic carries over.

Source: FHIRPath 2.0.0, section 6.
"""

from __future__ import annotations

from insights.errors import ViewError
from insights.views import moments
from insights.views.values import Value, boolean, condition, length, one, primitive

_LOGIC = {"and": "AND", "or": "OR"}
_ORDER = frozenset({"<", "<=", ">", ">="})
_ARITHMETIC = frozenset({"+", "-", "*", "/"})


def binary(operator: str, left: Value, right: Value) -> Value:
    """
    Compile `left operator right`.

    Raises
    ------
    ViewError
        ``view.unsupported_operator``, ``view.type_mismatch``.
    """
    if operator in _LOGIC:
        return boolean(f"({condition(left)} {_LOGIC[operator]} {condition(right)})")
    if operator == "xor":
        return boolean(f"({condition(left)} <> {condition(right)})")
    if operator == "implies":
        return boolean(f"((NOT {condition(left)}) OR {condition(right)})")
    if operator in ("=", "!="):
        equal = _equal(left, right)
        return boolean(equal if operator == "=" else f"(NOT {equal})")
    if operator in _ORDER:
        return _ordered(operator, one(left), one(right))
    if operator in _ARITHMETIC:
        return _arithmetic(operator, one(left), one(right))
    raise ViewError(f"the operator {operator!r} is not supported", code="view.unsupported_operator")


def sign(operator: str, value: Value) -> Value:
    """Compile `-value`."""
    if value.family not in ("number", "empty"):
        raise ViewError(f"{value.text!r} is no number", code="view.type_mismatch")
    return value.to(f"({operator}{value.sql})")


def _same_family(left: Value, right: Value) -> str:
    primitive(left)
    primitive(right)
    if left.family != right.family and "empty" not in (left.family, right.family):
        raise ViewError(
            f"{left.text!r} is {left.type} and {right.text!r} is {right.type}: they do not compare",
            code="view.type_mismatch",
        )
    return left.family if left.family != "empty" else right.family


def _equal(left: Value, right: Value) -> str:
    kind = _same_family(left, right)
    if not left.many and not right.many:
        return _equal_ones(left.sql, right.sql, kind)
    if left.many and right.many:
        if kind in ("moment", "time"):
            raise ViewError("lists of dates do not compare", code="view.unsupported_operator")
        equal = f"{left.sql} = {right.sql}"
        return f"CASE WHEN {length(left)} > 0 AND {length(right)} > 0 THEN {equal} END"
    several, single = (left, right) if left.many else (right, left)
    equal = _equal_ones(f"({several.sql})[1]", single.sql, kind)
    return (
        f"CASE WHEN {length(several)} = 0 OR {single.sql} IS NULL THEN NULL "
        f"WHEN {length(several)} > 1 THEN FALSE ELSE {equal} END"
    )


def _equal_ones(left: str, right: str, kind: str) -> str:
    if kind in ("moment", "time"):
        return moments.compare("=", left, right, kind)
    return f"({left} = {right})"


def _ordered(operator: str, left: Value, right: Value) -> Value:
    kind = _same_family(left, right)
    if kind == "boolean":
        raise ViewError(f"{left.text!r}: booleans have no order", code="view.type_mismatch")
    if kind in ("moment", "time"):
        return boolean(moments.compare(operator, left.sql, right.sql, kind))
    return boolean(f"({left.sql} {operator} {right.sql})")


def _arithmetic(operator: str, left: Value, right: Value) -> Value:
    kind = _same_family(left, right)
    if kind == "string" and operator == "+":
        return left.to(f"({left.sql} || {right.sql})", "string")
    if kind not in ("number", "empty"):
        raise ViewError(f"{operator!r} needs numbers", code="view.type_mismatch")
    if operator == "/":
        return left.to(f"(CAST({left.sql} AS DOUBLE) / nullif({right.sql}, 0))", "decimal")
    whole = "decimal" not in (left.type, right.type)
    return left.to(f"({left.sql} {operator} {right.sql})", "integer" if whole else "decimal")
