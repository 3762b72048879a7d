"""What the pages tell people to type: the commands of their shell blocks and of their running text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)
PROGRAMS = "az|azd|cosign|curl|docker|func|git|helm|jq|kubectl|make|npm|pip"

NEEDED = {
    "az": "an Azure subscription",
    "azd": "an Azure subscription",
    "cosign": "cosign",
    "docker": "Docker",
    "func": "Azure Functions Core Tools",
    "helm": "Kubernetes",
    "kubectl": "Kubernetes",
}
"""Programs that no test runs: what they take, which is what their pages must say."""

_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:\.|{PROGRAMS}|[\w./]*python|scripts/[\w-]+) \S")
_LOOKS_TYPED = re.compile(rf"\s*(?:\$ )?(?:(?:{PROGRAMS}) |[\w./]*python -m )")
_SYNOPSIS = re.compile(r"python -m sync [a-z-]+( [a-z]+)?( \[OPTIONS\])?( \[?[A-Z]+…?\]?)*")
"""How the page of all commands shows their form."""


@dataclass(frozen=True, order=True)
class Typed:
    """One command of a page."""

    page: str
    """Path of the page in the project."""

    line: str
    """What is typed, on one line and without its comment."""

    in_block: bool = False
    """Whether it stands in a block, among lines that are typed one after the other."""


def typed() -> Iterator[Typed]:
    """Give every command of every page: a page's blocks as they follow, then what its text names."""
    for page, text in _texts():
        for language, block in _BLOCK.findall(text):
            if language == "sh":
                yield from _lines(page, block)
        for paragraph in re.split(r"\n\s*\n", _BLOCK.sub("\n\n", text)):
            spans = (" ".join(span.split()) for span in _SPAN.findall(paragraph))
            yield from (Typed(page, span) for span in spans if _COMMAND.match(span))


def strays() -> Iterator[Typed]:
    """Give what looks like a command but stands where none is expected, such as a block of another kind."""
    for page, text in _texts():
        elsewhere = [block for language, block in _BLOCK.findall(text) if language != "sh"]
        indented = [line for line in _BLOCK.sub("", text).splitlines() if line.startswith("    ")]
        for line in "\n".join([*elsewhere, *indented]).splitlines():
            if _LOOKS_TYPED.match(line) and not _SYNOPSIS.fullmatch(line):
                yield Typed(page, line.strip())


def _texts() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def _lines(page: str, block: str) -> Iterator[Typed]:
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        if command := f" {line}".partition(" #")[0].strip():
            yield Typed(page, command, in_block=True)
