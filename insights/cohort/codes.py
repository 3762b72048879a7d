"""
Code sets: codes listed in the definition or in files beside it, and expressions that a terminology server expanded.

No tables of SNOMED CT are shipped. The site's own server expands an ECL expression into a lock file, whose hash is
written to the manifest: later editions of SNOMED CT change nothing until the expression is expanded again.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from insights.cohort.definition import CodeExpression, CodeFile, Coding
from insights.cohort.located import Located
from insights.errors import unreadable

SNOMED_CT = "http://snomed.info/sct"


@dataclass(frozen=True, slots=True, order=True)
class Code:
    """A code of a system; `*` in it matches any text."""

    system: str
    code: str

    @property
    def like(self) -> str | None:
        r"""Return the pattern for SQL's LIKE with the escape character ``\``; None for a plain code."""
        if "*" not in self.code:
            return None
        escaped = self.code.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        return escaped.replace("*", "%")


CodeSets = dict[str, tuple[Code, ...]]


def lock_file(definition_file: Path) -> Path:
    """Return the file with the expansions of a definition."""
    return definition_file.with_suffix(".lock.json")


def read_codes(definition: Coding, located: Located) -> CodeSets:
    """
    Resolve every code set.

    Raises
    ------
    CohortError
        ``cohort.code_file``, ``cohort.empty_codes``, ``cohort.no_terminology``, with line and column.
    """
    return {name: _set(name, definition, located) for name in sorted(definition.codes)}


def _set(name: str, definition: Coding, located: Located) -> tuple[Code, ...]:
    members: set[Code] = set()
    for number, entry in enumerate(definition.codes[name]):
        path = ("codes", name, number)
        if isinstance(entry, CodeFile):
            more = _from_file(entry, path, located)
        elif isinstance(entry, CodeExpression):
            more = _from_lock(entry, path, located)
        else:
            system, _, code = entry.partition("|")
            more = {Code(system, code)}
        if not more:
            raise located.error(path, "these are no codes at all", "cohort.empty_codes")
        members |= more
    return tuple(sorted(members))


def _from_file(entry: CodeFile, path: tuple[str | int, ...], located: Located) -> set[Code]:
    file = Path(located.file).parent / entry.file
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if not {"system", "code"} <= set(rows.fieldnames or ()):
                raise located.error(path, f"{file} has no columns system and code", "cohort.code_file")
            return {
                Code(row["system"].strip(), row["code"].strip())
                for row in rows
                if (row["system"] or "").strip() and (row["code"] or "").strip()
            }
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise located.error(path, f"{file}: {unreadable(problem)}", "cohort.code_file") from None


def _from_lock(entry: CodeExpression, path: tuple[str | int, ...], located: Located) -> set[Code]:
    lock = lock_file(Path(located.file))
    hint = "Run cohort lock with --terminology."
    if not lock.exists():
        raise located.error(path, f"an ECL expression, and there is no {lock.name}", "cohort.no_terminology", hint)
    try:
        expansions = json.loads(lock.read_text("utf-8"))["expansions"]
        codes = expansions.get(entry.ecl)
        if codes is None:
            raise located.error(path, f"{lock.name} does not have this expression", "cohort.no_terminology", hint)
        return {Code(SNOMED_CT, str(code)) for code in codes}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise located.error(path, f"{lock.name} is not readable", "cohort.no_terminology", hint) from None
