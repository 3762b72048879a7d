"""Each stage works with its own bundle alone, and a bundle is frozen."""

from __future__ import annotations

import ast
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from sync.delivery.handlers import handle_object_message, handle_study_message
from sync.events import study_message
from sync.model import Ingested, Projected
from sync.monitoring.alerts.unread_feeds import note_unread_feeds
from sync.monitoring.counts import read_counts
from sync.operators.pause import pause_projection, projection_pause
from sync.pipeline import ingest, project_study
from sync.ports import Caches, Control, Deliver, Ingest, Jobs, Measure, Project, Services, services
from sync.ports.services import Core
from sync.verify.studies import check_study
from tests.worlds import SOURCES, STUDY, MemoryWorld, events

SYNC = Path(__file__).parents[3] / "sync"
EVERYWHERE = {"bootstrap", "cli", "web"}
"""Packages that lead to every stage, and so take all services."""


def only(bundle: type[Any], s: Services) -> Any:
    """Return a bundle that holds nothing but its own fields."""
    return bundle(**{field.name: getattr(s, field.name) for field in fields(bundle)})


async def test_an_object_is_ingested_with_what_ingest_declares():
    w = MemoryWorld()
    assert await ingest(w.put("a.dcm"), only(Ingest, w.services)) is Ingested.SYNCED
    assert await ingest(w.put("a.dcm", b"no DICOM"), only(Ingest, w.services)) is Ingested.REJECTED


async def test_a_study_is_projected_with_what_project_declares():
    w = MemoryWorld()
    await w.ingest(w.put("a.dcm"))
    w.clock.advance(100)
    assert await project_study(STUDY, only(Project, w.services)) is Projected.WRITTEN


async def test_messages_are_delivered_with_what_deliver_declares():
    w = MemoryWorld()
    delivery = only(Deliver, w.services)
    await handle_object_message(events(w.put("a.dcm")), SOURCES, delivery)
    w.clock.advance(100)
    await handle_study_message(study_message(STUDY), delivery)
    assert w.imaging_study() is not None
    assert await check_study(STUDY, delivery) == []


async def test_counts_and_pauses_need_neither_fhir_nor_objects():
    w = MemoryWorld()
    counting = only(Measure, w.services)
    assert (await read_counts(counting)).idle
    await note_unread_feeds(counting)
    await pause_projection(only(Control, w.services), who="a", why="b")
    assert (await projection_pause(only(Jobs, w.services))) is not None


def test_a_bundle_is_frozen_and_only_the_caches_change():
    s = MemoryWorld().services
    with pytest.raises(FrozenInstanceError):
        s.clock = None  # type: ignore[misc]
    assert Caches() is not Caches()
    assert only(Core, s).caches is s.caches


def declared() -> list[tuple[str, str]]:
    """Return package and name of all functions that take all services."""
    names_declared = []
    for path in SYNC.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Services" in text else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = [*node.args.args, *node.args.kwonlyargs]
                if any(a.annotation and ast.unparse(a.annotation) == "Services" for a in given):
                    names_declared.append((path.relative_to(SYNC).parts[0], node.name))
    return names_declared


def test_no_step_takes_all_services():
    functions = declared()
    assert functions, "pages and commands take them"
    assert [function for function in functions if function[0] not in EVERYWHERE] == []


BUNDLES = {name: kind for name, kind in vars(services).items() if isinstance(kind, type) and issubclass(kind, Core)}


def uses(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> set[str] | None:
    """Return which fields of an argument a function uses; None when it hands on the argument itself."""
    inner = list(ast.walk(function))
    taken = [n for n in inner if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == name]
    named = [n for n in inner if isinstance(n, ast.Name) and n.id == name]
    return {n.attr for n in taken} if len(named) == len(taken) else None


def narrowest(bundle: type[Any], used: set[str]) -> int:
    """Return of how many fields the smallest bundle is that has these, of one and its bases."""
    sizes = [{field.name for field in fields(kind)} for kind in bundle.__mro__ if kind is not object]
    return min((len(names) for names in sizes if used <= names), default=len(fields(bundle)))


def test_a_function_that_hands_its_bundle_to_none_declares_the_smallest_that_serves():
    wide, seen = [], 0
    for path in SYNC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for given in (*node.args.args, *node.args.kwonlyargs):
                bundle = BUNDLES.get(ast.unparse(given.annotation)) if given.annotation else None
                used = uses(node, given.arg) if bundle is not None else None
                if bundle is not None and used:
                    seen += 1
                    if narrowest(bundle, used) < len(fields(bundle)):
                        wide.append(f"{path.relative_to(SYNC)}:{node.lineno} {node.name} uses {sorted(used)}")
    assert seen > 50
    assert wide == []
