"""The docstring of a public function names the errors that it raises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sync import errors

ROOT = Path(__file__).parents[2]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Give public functions, and public methods of public classes but those of a port, which the port documents."""
    ports = {
        name.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "sync.ports"
        for name in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            if not bases & ports:
                yield from (
                    function for function in node.body if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
                )


def raised(function: ast.AST) -> Iterator[type[errors.SyncError]]:
    """Give our errors that the function itself raises."""
    for node in ast.walk(function):
        raises = node.exc if isinstance(node, ast.Raise) else None
        name = raises.func if isinstance(raises, ast.Call) else raises
        kind = getattr(errors, name.id, None) if isinstance(name, ast.Name) else None
        if isinstance(kind, type) and issubclass(kind, errors.SyncError):
            yield kind


def is_told(kind: type[errors.SyncError], text: str) -> bool:
    """Whether the docstring names the error, a wider one, or the port that does."""
    wider = {base.__name__ for base in kind.__mro__ if issubclass(base, errors.SyncError)} - {"SyncError"}
    return "`sync.ports." in text or any(name in text for name in wider)


def test_a_public_function_tells_which_errors_it_raises():
    silent = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {kind.__name__}"
        for path in sorted((ROOT / "sync").rglob("*.py"))
        for function in functions(ast.parse(path.read_text("utf-8")))
        if not function.name.startswith("_")
        for kind in raised(function)
        if not is_told(kind, ast.get_docstring(function) or "")
    ]
    assert silent == []
