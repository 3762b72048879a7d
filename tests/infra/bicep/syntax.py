"""What a template consists of. Every node knows its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Anything that stands somewhere in a file."""

    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(Node):
    """A number, ``true``, ``false`` or ``null``."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Node):
    """A string: texts and expressions, in turn."""

    parts: tuple[str | Node, ...]

    @property
    def plain(self) -> str | None:
        """What it says, if nothing is filled in."""
        return "".join(part for part in self.parts if isinstance(part, str)) if self.is_plain else None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is filled in."""
        return all(isinstance(part, str) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Node):
    """A symbol."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Node):
    """``of.name``, ``of!.name`` (forced) or ``of.?name`` (safe); ``of::name`` with nested."""

    of: Node
    name: str
    forced: bool = False
    safe: bool = False
    nested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Node):
    """``of[at]``."""

    of: Node
    at: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    """``function(arguments)``."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Node):
    """One or two operands, and what is done to them."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Node):
    """``condition ? then : otherwise``."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Array(Node):
    """``[items]``."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Object(Node):
    """``{key: value}``, and the resources that are declared in it."""

    members: tuple[tuple[Text, Node], ...]
    nested: tuple[Declaration, ...] = ()

    def get(self, key: str) -> Node | None:
        """Return the value of a key that is written out."""
        return next((value for name, value in self.members if name.plain == key), None)

    def keys(self) -> list[str]:
        """Return the keys that are written out, as often as they are."""
        return [name.plain for name, _ in self.members if name.plain is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop(Node):
    """``[for item in over: body]``, ``[for (item, index) in over: body]``."""

    item: str
    index: str
    over: Node
    body: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditional(Node):
    """``if (condition) body``."""

    condition: Node
    body: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration(Node):
    """``param``, ``var``, ``resource``, ``module`` or ``output``."""

    kind: str
    name: str
    type: str = ""
    existing: bool = False
    value: Node | None = None
    decorators: tuple[Call, ...] = ()

    @property
    def body(self) -> Object:
        """What a resource or module is given, whether in a loop or under a condition."""
        found = self.value
        while isinstance(found, Loop | Conditional):
            found = found.body
        assert isinstance(found, Object), self
        return found

    @property
    def condition(self) -> Node | None:
        """Condition under which it is made."""
        found = self.value.body if isinstance(self.value, Loop) else self.value
        return found.condition if isinstance(found, Conditional) else None

    def decorator(self, name: str) -> Node | None:
        """Return the argument of a decorator."""
        return next((each.arguments[0] for each in self.decorators if each.function == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Node):
    """One file."""

    scope: str
    declarations: tuple[Declaration, ...]

    def of(self, *kinds: str) -> dict[str, Declaration]:
        """Return what is declared, by name; with resources come those that are nested in them."""
        every = list(self.declarations)
        for each in every:
            if each.kind == "resource":
                every += each.body.nested
        return {each.name: each for each in every if each.kind in kinds}


def inside(node: Any) -> Iterator[Node]:
    """Give a node and all that it consists of."""
    if isinstance(node, Node):
        yield node
        for each in fields(node):
            yield from inside(getattr(node, each.name))
    elif isinstance(node, tuple):
        for each in node:
            yield from inside(each)
