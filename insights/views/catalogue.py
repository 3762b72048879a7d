"""
The views that are shipped, and how those over one type of resource are read together.

The shipped views are compiled ahead into ``compiled.json``: ``python -m insights.views.ahead`` writes it, and tests
compare it. A command then starts without the models of FHIR. A file that is not of these views is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path

from insights.views.compiler import CompiledView, compile_view, recursive_names
from insights.views.definition import ViewDefinition, parse_view
from insights.views.shape import Shape


@cache
def shipped_views() -> tuple[ViewDefinition, ...]:
    """Return the shipped views, by name."""
    folder = files("insights.views") / "shipped"
    texts = (entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".json"))
    return tuple(sorted((parse_view(json.loads(text)) for text in texts), key=lambda view: view.name))


@dataclass(frozen=True)
class Catalogue:
    """
    Views that are run together: one read of each type's files serves all its views.

    Parameters
    ----------
    definitions
        With unique names.
    compiled
        The same, compiled; None to compile them when they are needed.
    """

    definitions: tuple[ViewDefinition, ...]
    compiled: Mapping[str, CompiledView] | None = None

    @classmethod
    def shipped(cls, more: Iterable[ViewDefinition] = ()) -> Catalogue:
        """Return the shipped views, and more that replace those of the same name; without more the same catalogue."""
        shipped, others = _shipped(), tuple(more)
        if not others:
            return shipped
        by_name = {view.name: view for view in (*shipped.definitions, *others)}
        return cls(tuple(by_name[name] for name in sorted(by_name)))

    def only(self, names: Collection[str]) -> Catalogue:
        """Return some of the views, compiled as they are here."""
        chosen = tuple(view for view in self.definitions if view.name in names)
        return Catalogue(chosen, {view.name: self.views[view.name] for view in chosen})

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of each view definition, by name."""
        return {view.name: _sha256(view.model_dump(mode="json")) for view in self.definitions}

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 of the view definitions."""
        return _sha256(self.hashes)

    @cached_property
    def views(self) -> Mapping[str, CompiledView]:
        """Return the compiled views by name; views over one type share a shape."""
        return self.compiled or _ahead(self.definitions) or self.compile()

    def compile(self) -> dict[str, CompiledView]:
        """
        Compile the views, whatever was compiled ahead.

        Raises
        ------
        ViewError
            A view is wrong.
        """
        shapes: dict[str, Shape] = {}
        recursive: dict[str, frozenset[str]] = {}
        for view in self.definitions:
            recursive[view.resource] = recursive.get(view.resource, frozenset()) | recursive_names(view)
        return {
            view.name: compile_view(
                view, shapes.setdefault(view.resource, Shape(view.resource)), recursive=recursive[view.resource]
            )
            for view in self.definitions
        }

    @cached_property
    def by_resource(self) -> dict[str, tuple[CompiledView, ...]]:
        """Return the compiled views by the type of resource that they read."""
        types = sorted({view.resource for view in self.views.values()})
        return {kind: tuple(view for view in self.views.values() if view.resource == kind) for kind in types}


@cache
def _shipped() -> Catalogue:
    return Catalogue(shipped_views())


COMPILED = Path(__file__).with_name("compiled.json")


def fingerprint(definitions: Iterable[ViewDefinition]) -> str:
    """Return what tells the definitions that were compiled ahead from others."""
    return _sha256([view.model_dump(mode="json") for view in definitions])


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _ahead(definitions: tuple[ViewDefinition, ...]) -> dict[str, CompiledView] | None:
    """Return the views as they were compiled ahead; None for other views."""
    if not COMPILED.exists():
        return None
    stored = json.loads(COMPILED.read_text("utf-8"))
    if stored["views_hash"] != fingerprint(definitions):
        return None
    shapes = {kind: Shape.from_json(raw) for kind, raw in stored["shapes"].items()}
    views = stored["views"]
    return {name: CompiledView.from_json(name, raw, shapes[raw["resource"]]) for name, raw in views.items()}
