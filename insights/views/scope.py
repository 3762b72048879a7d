"""The scope of an expression, and the interface of the compiler that functions call back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from insights.views.fhirpath import Expression
from insights.views.values import Value


@dataclass(frozen=True, slots=True)
class Scope:
    """The focus of an expression, and the position of the row in the nearest iteration."""

    focus: Value
    row_index: str = "0"


class Compiler(Protocol):
    """Compiles expressions; `insights.views.paths.Paths`."""

    def value(self, expression: Expression, scope: Scope) -> Value:
        """Compile a parsed expression."""

    def member(self, base: Value, name: str) -> Value:
        """Compile `base.name`."""

    def of_type(self, value: Value, kind: str) -> Value:
        """Compile `value.ofType(kind)`."""

    def exists(self, value: Value) -> str:
        """Return whether a value has any element, as SQL."""

    def fresh(self) -> str:
        """Return a unique name for a lambda's parameter."""
