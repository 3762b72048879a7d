"""What is decided in one place is done by one module; another that begins to do it too fails here."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SYNC = Path(__file__).parents[2] / "sync"
LOST_RACES = frozenset({"StoreConflict", "Conflict"})
TREES = {
    path.relative_to(SYNC).with_suffix("").as_posix(): ast.parse(path.read_text("utf-8"))
    for path in sorted(SYNC.rglob("*.py"))
    if "testing" not in path.parts
}


def imports(library: str) -> Callable[[ast.AST], bool]:
    """Whether a node imports something of a library."""

    def is_one(node: ast.AST) -> bool:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        return library in (names or [getattr(node, "module", None)])

    return is_one


def calls(*names: str) -> Callable[[ast.AST], bool]:
    """Whether a node calls what ends with these names: ``calls("drifts", "note")`` is met by ``s.drifts.note(…)``."""
    ending = ".".join(names)

    def is_one(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call) or names[-1] not in {
            getattr(node.func, "attr", None),
            getattr(node.func, "id", None),
        }:
            return False
        called = ast.unparse(node.func)
        return called == ending or called.endswith(f".{ending}")

    return is_one


def goes_on_after_a_lost_race(node: ast.AST) -> bool:
    """Whether a node is a loop that catches a lost race and then makes another round."""
    if not isinstance(node, (ast.For, ast.While)):
        return False
    handlers = [handler for part in ast.walk(node) if isinstance(part, ast.Try) for handler in part.handlers]
    return any(
        LOST_RACES & set(_names(handler.type)) and not isinstance(handler.body[-1], (ast.Return, ast.Raise))
        for handler in handlers
    )


def takes_a_lease(node: ast.AST) -> bool:
    """Whether a node imports what takes a lease and leaves its release to the caller."""
    is_of_leases = isinstance(node, ast.ImportFrom) and node.module == "sync.protocol.leases"
    return is_of_leases and "take" in {alias.name for alias in node.names}


def doubles(node: ast.AST) -> bool:
    """Whether a node is a power of two: a delay that grows with the attempts."""
    is_power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    return is_power and ast.unparse(node.left) == "2" and not isinstance(node.right, ast.Constant)


def _names(node: ast.AST | None) -> Iterator[str]:
    return (part.id for part in ast.walk(node) if isinstance(part, ast.Name)) if node is not None else iter(())


NODES = {name: list(ast.walk(tree)) for name, tree in TREES.items()}


def modules_with(is_one: Callable[[ast.AST], bool]) -> set[str]:
    return {name for name, nodes in NODES.items() if any(map(is_one, nodes))}


PLACES = {
    "dead letters are written": (calls("dead_letters", "put"), {"protocol/dead_letters"}),
    "drift is judged and noted": (calls("drifts", "note"), {"verify/judge"}),
    "the trail of operators is written": (calls("audit", "add"), {"operators/audit"}),
    "a row is written until no other writer came first": (
        goes_on_after_a_lost_race,
        # The pipeline's two passes, for what they lost changes what they may trust; a dry run, which writes nothing.
        {"pipeline", "protocol/optimistic", "replay/preview"},
    ),
    "a lease is taken": (
        takes_a_lease,
        {"walks/walk"},  # a job, which renews it for as long as it runs; all others ask `held` of the same module
    ),
    "requests are made again": (
        imports("tenacity"),
        {"adapters/http/retrying", "verify/checking", "walks/walk"},  # a request; a comparison; an object of a walk
    ),
    "a delay grows": (doubles, {"dead_letters/self_retry", "delivery/backoff"}),
    "messages of objects are read": (
        calls("parse_object_message"),
        {"delivery/handlers", "events/parsing"},
    ),
}
"""What is done -> how it looks, and where alone it stands."""


@pytest.mark.parametrize("what", PLACES)
def test_one_module_does_it(what):
    looks, places = PLACES[what]
    assert modules_with(looks) == places


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("async def f(s):\n    await s.dead_letters.put(1)", calls("dead_letters", "put")),
        ("from tenacity import retry", imports("tenacity")),
        ("import tenacity", imports("tenacity")),
        ("for _ in x:\n    try:\n        f()\n    except StoreConflict:\n        continue", goes_on_after_a_lost_race),
        (
            "while 1:\n    try:\n        f()\n    except (A, errors.Conflict, Conflict):\n        g()",
            goes_on_after_a_lost_race,
        ),
        ("from sync.protocol.leases import held, take", takes_a_lease),
        ("delay = 5.0 * 2 ** attempts", doubles),
    ],
)
def test_a_second_place_would_be_seen(text, looks):
    assert any(looks(node) for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("put(1)", calls("dead_letters", "put")),
        ("for _ in x:\n    try:\n        f()\n    except StoreConflict:\n        return", goes_on_after_a_lost_race),
        ("size = 2**20", doubles),
    ],
)
def test_what_only_resembles_it_is_let_be(text, looks):
    assert not any(looks(node) for node in ast.walk(ast.parse(text)))
