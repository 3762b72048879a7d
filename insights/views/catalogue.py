"""
The shipped views; all views of one resource type are read together.

The shipped views are compiled in advance: ``python -m insights.views.ahead`` writes ``compiled.json``, and tests
compare it. Commands then start without the models of FHIR. If the file belongs to other views, it is not used.
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
    Views that run together: the files of each type are read once for all its views.

    Parameters
    ----------
    definitions
        With unique names.
    compiled
        The same views, compiled; None to compile them on first use.
    """

    definitions: tuple[ViewDefinition, ...]
    compiled: Mapping[str, CompiledView] | None = None

    @classmethod
    def shipped(cls, more: Iterable[ViewDefinition] = ()) -> Catalogue:
        """Return the shipped views and further ones, which replace those of the same name; cached if there are none."""
        shipped, others = _shipped(), tuple(more)
        if not others:
            return shipped
        by_name = {view.name: view for view in (*shipped.definitions, *others)}
        return cls(tuple(by_name[name] for name in sorted(by_name)))

    def only(self, names: Collection[str]) -> Catalogue:
        """Return some of the views, as compiled here."""
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
        Compile the views, ignoring ``compiled.json``.

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
    """Return a fingerprint of the definitions, which tells whether ``compiled.json`` belongs to them."""
    return _sha256([view.model_dump(mode="json") for view in definitions])


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _ahead(definitions: tuple[ViewDefinition, ...]) -> dict[str, CompiledView] | None:
    """Return the views from ``compiled.json``; None if it belongs to other views."""
    if not COMPILED.exists():
        return None
    stored = json.loads(COMPILED.read_text("utf-8"))
    if stored["views_hash"] != fingerprint(definitions):
        return None
    shapes = {kind: Shape.from_json(raw) for kind, raw in stored["shapes"].items()}
    views = stored["views"]
    return {name: CompiledView.from_json(name, raw, shapes[raw["resource"]]) for name, raw in views.items()}
