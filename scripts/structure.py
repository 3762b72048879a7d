"""
Counts the figures of ADR 0037: modules, imports, cycles, and the length of functions.

    .venv/bin/python -m scripts.structure            this tree
    .venv/bin/python -m scripts.structure FOLDER     another one, such as ``git worktree add ../then COMMIT``

A *part* is a package or a module directly in ``sync/``; an *import between parts* is counted once for each pair. A
function's length is its statements' lines, without signature and docstring.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]


def _lengths(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                if body:
                    yield (body[-1].end_lineno or 0) - body[0].lineno + 1


def _part(module: str) -> str:
    return module.split(".")[1]


def structure(folder: Path) -> dict[str, float]:
    """Return the figures of the package ``sync`` in a folder, by name."""
    sys.path.insert(0, str(folder))
    graph = grimp.build_graph("sync", cache_dir=None)
    modules = sorted(graph.modules - {"sync"})
    packages = {_part(name) for name in modules if name.count(".") > 1}
    pairs = {
        (_part(importer), _part(imported))
        for importer in modules
        for imported in graph.find_modules_directly_imported_by(importer) - {"sync"}
    }
    between = {(importer, imported) for importer, imported in pairs if importer != imported}
    lengths = sorted(_lengths(folder / "sync"))
    return {
        "modules": len(modules) + 1,
        "packages": len(packages),
        "modules directly in sync/": len({_part(name) for name in modules} - packages),
        "imports between parts": len(between),
        "parts that import each other": sum((imported, importer) in between for importer, imported in between) // 2,
        "functions": len(lengths),
        "lines of a function, median": statistics.median(lengths),
        "lines of a function, 95 of 100 at most": lengths[len(lengths) * 95 // 100],
        "lines of a function, longest": lengths[-1],
    }


if __name__ == "__main__":
    for name, value in structure(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT).items():
        print(f"{name:40} {value:g}")
