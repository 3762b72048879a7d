"""Writes the computed part of docs/scaling-and-cost.md: ``python -m tests.docs.model_section``."""

from __future__ import annotations

import re
from pathlib import Path

from bench import model

PAGE = Path(__file__).parents[2] / "docs" / "scaling-and-cost.md"

_PART = re.compile(r"(<!-- computed by: python -m bench model -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


def page() -> str:
    """Return the page with the tables that the newest line of the history gives."""
    said = model.tables().rstrip("\n")
    return _PART.sub(lambda match: f"{match[1]}{said}{match[2]}", PAGE.read_text("utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
