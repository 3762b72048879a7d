"""Writes sync/web/runbook.json, the entries that the dashboard shows: ``python -m tests.docs.runbook_entries``."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
ENTRIES = ROOT / "sync" / "web" / "runbook.json"

_HEADING = re.compile(r"^### (\S+)\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def entries() -> dict[str, str]:
    """Return the text of each code's heading, one paragraph a line, links as their words."""
    text = RUNBOOK.read_text("utf-8")
    by_code = {code: _LINK.sub(r"\1", body).strip() for code, body in _HEADING.findall(text)}
    return {code: "\n".join(" ".join(part.split()) for part in body.split("\n\n")) for code, body in by_code.items()}


def text() -> str:
    """Return the file."""
    return json.dumps(entries(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    ENTRIES.write_text(text(), "utf-8")
