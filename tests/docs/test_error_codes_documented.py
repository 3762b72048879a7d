"""Whoever meets an error code finds it in the runbook."""

from __future__ import annotations

import re
from pathlib import Path

from sync.model import DriftKind

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"""(?:\bcode\s*[:=]\s*(?:str\s*=\s*)?|_poison\()"([a-z_]+\.[a-z_]+)\"""")
AREAS = {
    "access",
    "alert",
    "config",
    "event",
    "events",
    "feed",
    "fhir",
    "header",
    "mapping",
    "poison",
    "replay",
    "request",
    "source",
    "store",
    "sync",
    "walk",
}
"""Areas of errors; findings, which are documented beside the mapping, have others."""


def codes_in_source() -> set[str]:
    found = {code for path in (ROOT / "sync").rglob("*.py") for code in CODE.findall(path.read_text("utf-8"))}
    errors = {code for code in found if code.partition(".")[0] in AREAS} - {"sync.error"}
    return errors | {kind.value for kind in DriftKind}


def codes_in_runbook() -> set[str]:
    return set(re.findall(r"^### (\S+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE))


def test_every_error_code_has_a_heading():
    assert codes_in_source() - codes_in_runbook() == set()


def test_every_heading_is_an_error_code():
    assert codes_in_runbook() - codes_in_source() == set()
