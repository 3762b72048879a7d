"""Edits of a module's syntax tree."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("sync.protocol", "sync.projection", "sync.delivery", "sync.feeds", "sync.walks")
"""What the campaign is over, beside the pipeline."""

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_TOLD = ("telemetry.", "traced.", "span.", "logger.")
"""Calls that only tell people; nothing of the protocol depends on them."""

Edit = Callable[[ast.AST], None]


@dataclass(frozen=True)
class Mutation:
    """One edit: the module, a name for it, and what the module is then."""

    module: str
    name: str
    line: int
    make: Callable[[], str] = field(repr=False)
    """Makes the source; only of those that are tried."""

    @property
    def key(self) -> str:
        """What it is called in lists."""
        return f"{self.module}: {self.name}"


def modules() -> list[str]:
    """Return the names of the modules of the core."""
    names_of_modules = ["sync.pipeline"]
    for package in PACKAGES:
        names = sorted(path.stem for path in _path(package).parent.glob("*.py") if path.stem != "__init__")
        names_of_modules += [f"{package}.{name}" for name in names]
    return names_of_modules


def _path(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def mutations(module: str) -> list[Mutation]:
    """Return every edit of a module, in the order of its lines."""
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    made: list[Mutation] = []
    times: Counter[str] = Counter()
    for where, index, node in _nodes(tree):
        for what, edit in _edits(node):
            before = ast.unparse(node).partition("\n")[0][:80]
            name = f"{where}: {what} in `{before}`"
            times[name] += 1
            numbered = name if times[name] == 1 else f"{name} ({times[name]})"
            made.append(Mutation(module, numbered, getattr(node, "lineno", 0), partial(_mutated, tree, index, edit)))
    return made


def _mutated(tree: ast.Module, index: int, edit: Edit) -> str:
    copied = copy.deepcopy(tree)
    edit(list(ast.walk(copied))[index])
    return ast.unparse(ast.fix_missing_locations(copied))


def _nodes(tree: ast.Module) -> Iterator[tuple[str, int, ast.AST]]:
    """Iterate over the nodes within functions: the function's name, the place in the walk, the node."""
    place = {id(node): index for index, node in enumerate(ast.walk(tree))}
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for statement in function.body:
                for node in ast.walk(statement):
                    yield function.name, place[id(node)], node


def _edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:  # noqa: C901, PLR0912 -- one table of kinds of nodes
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _SWAPS:
            yield "swap the comparison", _swapped("ops")
        case ast.BoolOp(values=values):
            yield "swap and/or", _swapped("op")
            for number in range(len(values)):
                yield f"drop operand {number}", _without("values", number)
        case ast.BinOp(op=operator) if type(operator) in _SWAPS:
            yield "swap plus/minus", _swapped("op")
        case ast.UnaryOp(op=ast.Not()):
            yield "drop not", _negated
        case ast.If():
            yield "always", _tested(value=True)
            yield "never", _tested(value=False)
        case ast.Expr(value=ast.Await() | ast.Call()) if not _only_tells(node):
            yield "drop the call", _dropped
        case ast.Continue() | ast.Raise():
            yield "drop the statement", _dropped
        case ast.Constant(value=bool(value)):
            yield f"{not value}", _valued(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield f"{value + 1}", _valued(value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield f"{_NAMES[name]}", _renamed(_NAMES[name])
        case ast.Call(func=ast.Name(id="replace"), keywords=keywords) if len(keywords) > 1:
            for number, keyword in enumerate(keywords):
                yield f"leave {keyword.arg} as it is", _without("keywords", number)


def _only_tells(node: ast.Expr) -> bool:
    text = ast.unparse(node)
    return isinstance(node.value, ast.Constant) or any(told in text.partition("(")[0] for told in _TOLD)


def _swapped(name: str) -> Edit:
    def edit(node: ast.AST) -> None:
        old = getattr(node, name)
        many = isinstance(old, list)
        new = _SWAPS[type(old[0] if many else old)]()
        setattr(node, name, [new] if many else new)

    return edit


def _without(name: str, number: int) -> Edit:
    def edit(node: ast.AST) -> None:
        del getattr(node, name)[number]

    return edit


def _tested(*, value: bool) -> Edit:
    def edit(node: ast.AST) -> None:
        assert isinstance(node, ast.If)
        node.test = ast.Constant(value=value)

    return edit


def _valued(value: object) -> Edit:
    def edit(node: ast.AST) -> None:
        assert isinstance(node, ast.Constant)
        node.value = value  # type: ignore[assignment]

    return edit


def _renamed(name: str) -> Edit:
    def edit(node: ast.AST) -> None:
        assert isinstance(node, ast.Call)
        node.func = ast.Name(id=name, ctx=ast.Load())

    return edit


def _negated(node: ast.AST) -> None:
    """Make ``not x`` of ``not x`` vanish: what is left is a plain truth value of x."""
    assert isinstance(node, ast.UnaryOp)
    node.op = ast.Not()
    node.operand = ast.UnaryOp(op=ast.Not(), operand=node.operand)


def _dropped(node: ast.AST) -> None:
    """Make a statement do nothing, in place."""
    node.__class__ = ast.Expr
    for name in ("exc", "cause"):
        if hasattr(node, name):
            delattr(node, name)
    node.value = ast.Constant(value=None)  # type: ignore[attr-defined]
