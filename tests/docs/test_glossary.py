"""The glossary of CONTRIBUTING.md holds in names, docstrings, comments, pages, help, hints and the dashboard."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.typed import PAGES, ROOT

STYLE = ROOT / "CONTRIBUTING.md"
CODE = ("sync", "insights", "local", "scripts", "infra", "deploy")
KINDS = frozenset({".py", ".html", ".js", ".css", ".md", ".bicep", ".yaml", ".mjs", ""})
"""Of files that are ours and read by people; standards and snapshots are not."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FILLING = re.compile(r"[\s_#*`]+")


def glossary() -> list[tuple[str, str]]:
    """Return the rows of the table: what to say, and one word or phrase that is not said."""
    section = STYLE.read_text().partition("### Glossary")[2]
    rows = re.findall(r"^\| (?!say \|)([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    return [(say, word.strip()) for say, words in rows for word in words.split(",")]


def texts() -> Iterator[tuple[str, str]]:
    """Give each file that people read: its path, and its words with one space between; names come apart."""
    files = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*")) if path.suffix in KINDS]
    for path in (*files, ROOT / "function_app.py", *PAGES):
        if path.is_file() and path != STYLE:
            yield str(path.relative_to(ROOT)), plain(path.read_text(errors="replace"))


def plain(text: str) -> str:
    return _FILLING.sub(" ", _CAMEL.sub(" ", text)).lower()


@pytest.fixture(scope="module")
def read() -> list[tuple[str, str]]:
    return list(texts())


@pytest.mark.parametrize(("say", "word"), glossary())
def test_a_word_that_the_glossary_replaces_stands_nowhere(read, say, word):
    used = re.compile(rf"\b{re.escape(word)}\b")
    texts = [(path, text) for path, text in read if word in text]
    places = [
        f"{path}: …{text[max(0, m.start() - 30) : m.end() + 30]}…" for path, text in texts for m in used.finditer(text)
    ]
    assert places == [], f"say {say}"


_PLURAL = re.compile(r"""(["'])([a-z ]*?)\w{0,1}\1 if [^"'\n]*== 1 else (["'])\2""")
"""A word, or nothing, and how else it ends for many."""


def test_one_module_knows_how_english_counts():
    kinds = {".py", ".html", ".js"}
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    for told in ('"study" if n == 1 else "studies"', '{{ "item" if n == 1 else "items" }}', "'' if n == 1 else 's'"):
        assert _PLURAL.search(told)
    assert [str(path.relative_to(ROOT)) for path in files if _PLURAL.search(path.read_text())] == []


EMPTY = frozenset({"each", "found"})
"""Names that say that there is something, not what it is."""

_SPELLED = re.compile(rf"\b_*(?:{'|'.join(EMPTY)})\b")
"""Only a file that spells one can have one: most need no parsing."""

NAMED = ("sync", "insights", "local", "scripts", "bench", "tests", "function_app.py")


def empty_names(source: str) -> Iterator[tuple[int, str]]:
    """Give line and name of each variable, parameter and function that is called so; fields of classes may be."""
    if not _SPELLED.search(source):
        return
    nodes = list(ast.walk(ast.parse(source)))
    fields = {
        id(statement.target)
        for kind in nodes
        if isinstance(kind, ast.ClassDef)
        for statement in kind.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) if id(node) not in fields:
                pass
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                pass
            case _:
                continue
        if name.lstrip("_") in EMPTY:
            yield node.lineno, name


def test_empty_names_are_seen():
    source = "class A:\n    found: int\ndef f(each):\n    return [found for found in each.found]\ndef _found(): ..."
    assert sorted(empty_names(source)) == [(3, "each"), (4, "found"), (5, "_found")]


def test_names_say_what_they_hold():
    files = [
        path for place in NAMED for path in ((ROOT / place).rglob("*.py") if "." not in place else (ROOT / place,))
    ]
    places = [
        f"{path.relative_to(ROOT)}:{line} {name}" for path in files for line, name in empty_names(path.read_text())
    ]
    assert places == [], "say what it holds"


def test_names_and_broken_lines_are_seen():
    assert len(glossary()) > 20
    for text in ("def mend_study():", "class MendStudy:", "# to\n    # mend study"):
        assert "mend study" in plain(text)


def test_the_pages_the_core_and_the_dashboard_are_read(read):
    paths = {path for path, _ in read}
    assert {"README.md", "docs/runbook.md", "sync/pipeline.py", "function_app.py", "infra/main.bicep"} <= paths
    assert any(Path(path).match("sync/web/*") for path in paths)
