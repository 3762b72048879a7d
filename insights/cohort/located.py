"""YAML with the place of every value, so that every error names line and column."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from insights.errors import CohortError, unreadable

Place = tuple[int, int]

MOST_VALUES = 100_000
"""A file whose aliases multiply beyond this is refused before it fills the memory."""


@dataclass(frozen=True, slots=True)
class Located:
    """
    The content of a file.

    Attributes
    ----------
    value
        Mappings, lists and scalars; dates stay text.
    places
        Line and column, from 1, of each value by its path; for an entry of a mapping, those of its key.
    """

    file: str
    value: Any
    places: dict[tuple[str | int, ...], Place]

    def where(self, path: Sequence[str | int]) -> str:
        """Return ``file:line:column`` of a path, or of its closest existing ancestor."""
        steps = tuple(path)
        while steps and steps not in self.places:
            steps = steps[:-1]
        line, column = self.places.get(steps, (1, 1))
        return f"{self.file}:{line}:{column}"

    def error(self, path: Sequence[str | int], message: str, code: str, hint: str = "") -> CohortError:
        """Return an error about the value at a path."""
        return CohortError(f"{self.where(path)}: {message}", code=code, hint=hint)


def read_located(file: Path) -> Located:
    """
    Read a file.

    Raises
    ------
    CohortError
        ``cohort.no_file``; ``cohort.yaml`` with line and column: no YAML, or a duplicate key.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise CohortError(f"{file}: {unreadable(problem)}", code="cohort.no_file") from None
    return parse_located(text, str(file))


def parse_located(text: str, file: str) -> Located:
    """Read a text; see `read_located`."""
    places: dict[tuple[str | int, ...], Place] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return Located(file, _Reader(file, places).value(node, ()), places)
    except RecursionError:
        raise CohortError(f"{file}:1:1: nested too deep, or an alias within itself", code="cohort.yaml") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise CohortError(f"{file}:{place}: {problem.problem}", code="cohort.yaml") from None
    except yaml.YAMLError:
        raise CohortError(f"{file}:1:1: not YAML", code="cohort.yaml") from None


@dataclass(frozen=True, slots=True)
class _Reader:
    file: str
    places: dict[tuple[str | int, ...], Place]

    def value(self, node: Any, path: tuple[str | int, ...]) -> Any:
        if node is None:
            return None
        self.places.setdefault(path, _place(node))
        if len(self.places) > MOST_VALUES:
            line, column = _place(node)
            raise CohortError(f"{self.file}:{line}:{column}: more than {MOST_VALUES} values", code="cohort.yaml")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in mapping:
                line, column = _place(key_node)
                raise CohortError(f"{self.file}:{line}:{column}: {key!r} is there twice", code="cohort.yaml")
            self.places[(*path, key)] = _place(key_node)
            mapping[key] = self.value(value_node, (*path, key))
        return mapping


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _scalar(node: yaml.ScalarNode) -> Any:
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() in ("true", "yes", "on")
    text = node.value.replace("_", "")
    with contextlib.suppress(ValueError):  # YAML's other numbers, such as 1:30, stay text
        if kind == "int" and not text.lstrip("-").startswith("0"):
            return int(text, 0)
        if kind == "float":
            return float(text)
    return node.value
