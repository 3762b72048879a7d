"""Every error code of insights has a heading on its page, and every heading is an error code."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = re.compile(
    r"\"((?:view|data|collect|cohort|similar|timeline|spark|outcome|feedback|models|insights)\.[a-z_]+)\""
    r"|\b(insights\.not_installed):"
)
MODULE = re.compile(r"^insights\.(?:views|cli|collect|cohort|fetch|similar|timeline|spark|outcomes|inbox)")


def codes_in_source():
    texts = (path.read_text("utf-8") for path in (ROOT / "insights").rglob("*.py"))
    codes = {one or other for text in texts for one, other in CODE.findall(text)}
    return {code for code in codes if not MODULE.match(code)}


def codes_on_page():
    page = (ROOT / "docs" / "insights-errors.md").read_text("utf-8")
    return re.findall(r"^### (\S+)$", page, re.MULTILINE)


def test_every_code_has_one_heading():
    assert sorted(codes_on_page()) == sorted(codes_in_source())
