"""``make release-check``: lists the conditions of a release that are not met, and exits 1 if there is any."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ("requirements.txt", "requirements-local.txt", "requirements-dev.txt", "requirements-spark.txt")


def main() -> int:
    """Print what is missing; 1 when anything is."""
    missing = [*_changelog(), *_bench(), *_git(), *_locked(), *_sbom()]
    for item in missing:
        print(f"missing  {item}")
    if not missing:
        print(f"ready    version {_version()}: tag it v{_version()}")
    return 1 if missing else 0


def _version() -> str:
    match = re.search(r'__version__ = "(.+)"', (ROOT / "sync" / "__init__.py").read_text())
    if match is None:
        raise SystemExit("sync/__init__.py names no version")
    return match[1]


def _changelog() -> Iterator[str]:
    text = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## {re.escape(_version())} - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE):
        yield f"CHANGELOG.md: a heading '## {_version()} - YYYY-MM-DD' over what is new"


def _bench() -> Iterator[str]:
    releases = json.loads((ROOT / "bench" / "history.json").read_text("utf-8"))
    if _version() not in {line["version"] for line in releases}:
        yield f"bench/history.json: a line of this version; run 'make bench' and 'python -m bench record {_version()}'"


def _git() -> Iterator[str]:
    if _output("git", "status", "--porcelain"):
        yield "a clean work tree: commit or remove what 'git status' names"
    if f"v{_version()}" in _output("git", "tag", "--list").split():
        yield f"a new version in sync/__init__.py: v{_version()} is tagged already"


def _locked() -> Iterator[str]:
    """Lock once more and compare; the files are put back as they were."""
    before = {name: (ROOT / name).read_text() for name in REQUIREMENTS}
    subprocess.run([ROOT / "scripts" / "lock", Path(sys.executable).parent], cwd=ROOT, check=True)
    for name, text in before.items():
        if (ROOT / name).read_text() != text:
            yield f"{name} in step with pyproject.toml: run 'make lock'"
            (ROOT / name).write_text(text)


def _sbom() -> Iterator[str]:
    if not (ROOT / ".local" / "sbom.json").exists():
        yield "the software bill of materials: run 'make sbom'"


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
