"""
Slips within one file that the compiler refuses or warns of.

Names, functions and their arguments, conditions, what must be known at the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.infra.bicep.functions import DECORATORS, FILES, PURE
from tests.infra.bicep.syntax import (
    Call,
    Declaration,
    Loop,
    Member,
    Name,
    Node,
    Object,
    Template,
    inside,
)

_KNOWN_AT_ONCE = frozenset({"id", "name", "type", "apiVersion"})
"""Properties of a resource that are calculated before anything is made."""


def faults(template: Template) -> Iterator[str]:
    """Give what is wrong with a file, each with its line."""
    declared = template.of("param", "var", "resource", "module")
    yield from _twice(template)
    yield from _unknown(template, declared)
    yield from _unused(template)
    yield from _calls(template)
    for each in declared.values():
        yield from _too_late(each, declared)
    for node in inside(template):
        if isinstance(node, Member):
            yield from _conditions(node, declared)
        if isinstance(node, Object):
            yield from (f"line {node.line}: {key} twice" for key, count in Counter(node.keys()).items() if count > 1)


def _twice(template: Template) -> Iterator[str]:
    names = Counter(each.name for each in template.declarations if each.kind != "output")
    yield from (f"{name} is declared twice" for name, count in names.items() if count > 1)


def _unknown(node: Node, known: object) -> Iterator[str]:
    """Give the names that nobody declared; a loop declares its own."""
    names = set(known)  # type: ignore[call-overload]
    yield from _unknown_in(node, names)


def _unknown_in(node: object, names: set[str]) -> Iterator[str]:
    if isinstance(node, Name) and node.name not in names:
        yield f"line {node.line}: nothing is called {node.name}"
    if isinstance(node, Loop):
        yield from _unknown_in(node.over, names)
        yield from _unknown_in(node.body, names | {node.item, node.index})
        if not {node.item, node.index} & {each.name for each in inside(node.body) if isinstance(each, Name)}:
            yield f"line {node.line}: {node.item} is not used"
    elif isinstance(node, Member) and node.nested:
        yield from _unknown_in(node.of, names)
    elif isinstance(node, Node):
        for field in node.__dataclass_fields__:
            yield from _unknown_in(getattr(node, field), names)
    elif isinstance(node, tuple):
        for each in node:
            yield from _unknown_in(each, names)


def _unused(template: Template) -> Iterator[str]:
    used = {node.name for node in inside(template) if isinstance(node, Name | Member)}
    for name, declaration in template.of("param", "var", "resource").items():
        wanted = declaration.kind != "resource" or declaration.existing
        if wanted and name not in used:
            yield f"line {declaration.line}: {name} is not used"


def _calls(template: Template) -> Iterator[str]:
    decorators = [
        each
        for declaration in template.of("param", "var", "resource", "module", "output").values()
        for each in declaration.decorators
    ]
    yield from (
        f"line {each.line}: no decorator {each.function}" for each in decorators if each.function not in DECORATORS
    )
    for node in inside(template):
        if not isinstance(node, Call) or node in decorators:
            continue
        least, most = (1, 1) if node.function in FILES else PURE.get(node.function, (0, 0, None))[:2]
        if node.function not in PURE and node.function not in FILES:
            yield f"line {node.line}: no function {node.function}"
        elif not least <= len(node.arguments) <= most:
            yield f"line {node.line}: {node.function} takes {least} to {most} arguments"


def _conditions(node: Member, declared: dict[str, Declaration]) -> Iterator[str]:
    """What may not be there is looked into with ``!``, and nothing else is."""
    of = declared.get(node.of.name) if isinstance(node.of, Name) else None
    if of is None or of.kind not in ("resource", "module") or node.nested:
        return
    looked_into = of.kind == "module" or node.name not in _KNOWN_AT_ONCE
    if looked_into and of.condition is not None and not (node.forced or node.safe):
        yield f"line {node.line}: {of.name} may not be there: write {of.name}!.{node.name}"
    if node.forced and of.condition is None:
        yield f"line {node.line}: {of.name} is always there: no ! is needed"


def _too_late(declaration: Declaration, declared: dict[str, Declaration]) -> Iterator[str]:
    """Name, place and number of what is made must be known before anything is."""
    if declaration.kind not in ("resource", "module"):
        return
    parts = [declaration.body.get(key) for key in ("name", "scope", "parent")]
    parts += [declaration.condition, declaration.value.over if isinstance(declaration.value, Loop) else None]
    for node in (each for part in parts for each in _followed(part, declared)):
        if not isinstance(node, Member) or not isinstance(node.of, Name) or node.nested:
            continue
        of = declared.get(node.of.name)
        if of is not None and (of.kind == "module" or (of.kind == "resource" and node.name not in _KNOWN_AT_ONCE)):
            yield f"line {node.line}: {declaration.name} must be known at the start, and {of.name}.{node.name} is not"


def _followed(node: Node | None, declared: dict[str, Declaration]) -> Iterator[Node]:
    """Give all that a node consists of, with the variables that stand in it."""
    for each in inside(node):
        yield each
        found = declared.get(each.name) if isinstance(each, Name) else None
        if found is not None and found.kind == "var":
            yield from _followed(found.value, declared)
