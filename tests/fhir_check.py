"""
The program ``fhir-check``, which says what a FHIR server on the Firely .NET SDK, as Azure's, makes of resources.

It is not part of this project: it is found beside the checkout (``../shared/tools/fhir-check``), or where the variable
FHIR_CHECK says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "tools" / "fhir-check" / "fhir-check"
ABSENT = "fhir-check is not here: nothing says what Azure's FHIR server makes of these resources (set FHIR_CHECK)"


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong with a resource; ``check`` says who minds, as ``server.parse`` or ``index.date``."""

    check: str
    severity: str
    path: str
    message: str
    line: int

    @property
    def matters_to_azure(self) -> bool:
        """Whether the server refuses it, mistakes it in a search, or gives it back otherwise."""
        return self.check.startswith(("server.", "return.")) or (self.check.startswith("index.") and self._misleads)

    @property
    def _misleads(self) -> bool:
        # our own search compares matches character by character, so a token beyond Windows-1252 is found too
        return self.severity == "error" or self.check == "index.date"


def program() -> Path | None:
    """Return where it is, or None."""
    named = os.environ.get("FHIR_CHECK")
    path = Path(named) if named else BESIDE
    return path if shutil.which(path) else None


def needed() -> Path:
    """Return where it is; without it the test is skipped, with the reason."""
    checker = program()
    if checker is None:
        pytest.skip(ABSENT)
    return checker


def problems_of(resources: Iterable[dict[str, Any]], tool: Path) -> list[Problem]:
    """Check resources or Bundles, all in one run: it takes some seconds to start."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "emitted.ndjson"
        lines = (json.dumps(resource, ensure_ascii=False).encode("utf-8", "replace") for resource in resources)
        file.write_bytes(b"\n".join(lines))
        done = subprocess.run([tool, "--no-profiles", file], capture_output=True, check=False, timeout=900)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"fhir-check failed: {done.stderr.decode('utf-8', 'replace')[:500]}")
    return [_problem(line) for line in done.stdout.decode("utf-8", "replace").splitlines() if line.count("\t") >= 6]


def _problem(line: str) -> Problem:
    file, _, _, path, severity, check, message = line.split("\t", 6)
    return Problem(check=check, severity=severity, path=path, message=message, line=int(file.rpartition(":")[2] or 0))
