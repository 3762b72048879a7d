"""Every error code is in the runbook."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import sync
from sync import errors
from sync.model import DriftKind

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"""(?:(?:\bcode|_CODE)\s*[:=]\s*(?:str\s*=\s*)?|_poison\()"([a-z_]+\.[a-z_]+)\"""")
AREAS = {
    "access",
    "alert",
    "clock",
    "config",
    "connection",
    "delivery",
    "event",
    "events",
    "feed",
    "fhir",
    "header",
    "mapping",
    "poison",
    "removal",
    "replay",
    "request",
    "source",
    "store",
    "sync",
    "timer",
    "walk",
}
"""Areas of errors; findings, which are documented beside the mapping, have others."""


def codes_in_source() -> set[str]:
    used = {code for path in (ROOT / "sync").rglob("*.py") for code in CODE.findall(path.read_text("utf-8"))}
    errors = {code for code in used if code.partition(".")[0] in AREAS} - {"sync.error"}
    return errors | {kind.value for kind in DriftKind}


def codes_in_runbook() -> set[str]:
    return set(re.findall(r"^### (\S+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE))


def test_every_error_code_has_a_heading():
    assert codes_in_source() - codes_in_runbook() == set()


def test_every_heading_is_an_error_code():
    assert codes_in_runbook() - codes_in_source() == set()


def kinds_of(error: type[Exception]) -> Iterator[type[Exception]]:
    for kind in error.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_every_error_is_defined_in_one_place_and_stands_in_its_tree():
    for module in pkgutil.walk_packages(sync.__path__, "sync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in kinds_of(errors.SyncError) if kind.__module__.startswith("sync.")}
    assert {kind.__module__ for kind in ours} == {"sync.errors"}
    assert {kind.__name__ for kind in ours if not re.search(rf"\b{kind.__name__}\b", errors.__doc__)} == set()
