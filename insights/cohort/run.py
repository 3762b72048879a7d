"""Runs a definition on collected data, and writes the results that may be given out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insights import __version__
from insights.cohort.answer import Answer, ask, check_systems, codes_hash_lines, day_of_question
from insights.cohort.codes import CodeSets, read_codes
from insights.cohort.definition import Definition, read_definition
from insights.cohort.deidentify import Pseudonyms, read_key
from insights.cohort.engine import Tables, in_duckdb
from insights.cohort.extracts import extracts
from insights.cohort.located import Located
from insights.cohort.protection import MINIMUM
from insights.cohort.question import Question, compile_question
from insights.cohort.results import (
    MANIFEST,
    ResultFolder,
    Rows,
    anonymity,
    funnel_rows,
    group,
    hashes,
    summary,
    write_counts,
    write_extract,
    write_json,
)
from insights.cohort.words import paraphrase
from insights.data_folder import KEY, note
from insights.errors import Withheld

Opened = Callable[[Path], AbstractContextManager[Tables]]
"""Opens the tables of a folder in an engine."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    The options of a run.

    Attributes
    ----------
    rows
        Whether to write rows about members, not only counts.
    identified
        Whether rows have real ids, UIDs, dates and texts.
    key
        File with the site's key; None for the file beside the data.
    """

    out: Path
    overwrite: bool = False
    rows: bool = False
    identified: bool = False
    format: str = "csv"
    key: Path | None = None
    minimum: int = MINIMUM


@dataclass(frozen=True, slots=True)
class Prepared:
    """A definition that was read, with its codes."""

    definition: Definition
    located: Located
    codes: CodeSets


def prepare(file: Path) -> Prepared:
    """
    Read a definition and its codes.

    Raises
    ------
    CohortError
        With line and column.
    """
    definition, located = read_definition(file)
    return Prepared(definition, located, read_codes(definition, located))


def question_of(prepared: Prepared, tables: Tables) -> Question:
    """Return the question for the data at hand; see `day_of_question`."""
    as_of = day_of_question(prepared.definition, tables.collected, prepared.located)
    return compile_question(prepared.definition, prepared.codes, as_of)


def run(file: Path, data: Path, wanted: Wanted, *, opened: Opened = in_duckdb) -> tuple[str, Answer]:
    """
    Run a definition and write the results; return the summary and the answer.

    Parameters
    ----------
    opened
        Opens the tables of the folder in the engine that answers the question.

    Raises
    ------
    CohortError
        The definition is wrong or the data cannot answer it; nothing was written.
    Withheld
        ``cohort.approval_missing``, ``cohort.too_few``: rows were requested but may not be given out.
    """
    prepared = prepare(file)
    if wanted.rows:
        _check_approval(prepared)
    with opened(data) as tables, ResultFolder(wanted.out, overwrite=wanted.overwrite) as folder:
        notes = check_systems(tables, prepared.definition, prepared.codes, prepared.located)
        question = question_of(prepared, tables)
        answer = ask(tables, question, wanted.minimum)
        text = summary(question, paraphrase(prepared.definition, question.asked.as_of), answer, notes, wanted.minimum)
        write_counts(folder, answer, text, tables.spoken(question.funnel()))
        facts: dict[str, Any] = {"rows": None}
        if wanted.rows:
            facts = _write_rows(folder, tables, question, answer, wanted, data)
        write_json(folder / MANIFEST, _manifest(prepared, question, tables, wanted, facts, hashes(folder), answer))
        if wanted.rows:  # last: only rows that are given out are recorded, and before the folder gets its name
            note(data, _noted(prepared, wanted, facts))
    return text, answer


def _check_approval(prepared: Prepared) -> None:
    for field in ("purpose", "approval"):
        if getattr(prepared.definition, field) is None:
            place = prepared.located.where((field,))
            raise Withheld(f"{place}: rows need {field}", code="cohort.approval_missing", hint="Counts need neither.")


def _write_rows(  # noqa: PLR0917 -- one step of `run`
    folder: Path, tables: Tables, question: Question, answer: Answer, wanted: Wanted, data: Path
) -> dict[str, Any]:
    if answer.people < wanted.minimum:
        raise Withheld(
            f"fewer than {wanted.minimum} people are in",
            code="cohort.too_few",
            hint="Widen the definition; no rows left.",
        )
    pseudonyms = None
    if not wanted.identified:
        project = str(question.definition.approval)
        pseudonyms = Pseudonyms.of_project(read_key(wanted.key or data / KEY), project)
    rows = Rows(wanted.format, pseudonyms)
    wanted_tables = extracts(question)
    written = dict(write_extract(folder, tables, table, rows) for table in wanted_tables)
    members = [row[0] for row in tables.rows("SELECT patient_id FROM member")]
    write_json(folder / "group.json", group(question.definition.cohort, members, pseudonyms))
    return {
        "rows": written,
        "identified": wanted.identified,
        "key": pseudonyms.fingerprint() if pseudonyms else None,
        "k_anonymity": anonymity(tables, wanted_tables[0], wanted.minimum),
    }


def _manifest(  # noqa: PLR0917 -- each is one part of it
    prepared: Prepared,
    question: Question,
    tables: Tables,
    wanted: Wanted,
    facts: dict[str, Any],
    outputs: dict[str, str],
    answer: Answer,
) -> dict[str, Any]:
    return {
        "cohort": prepared.definition.cohort,
        "as_of": question.asked.as_of.isoformat(),
        "minimum": wanted.minimum,
        "definition": _sha256(json.dumps(prepared.definition.model_dump(mode="json", by_alias=True), sort_keys=True)),
        "codes": _sha256("\n".join(codes_hash_lines(prepared.codes))),
        "views": tables.collected.views,
        "data": tables.collected.data_version,
        "engine": {**tables.engine, "insights": __version__},
        "funnel": funnel_rows(answer),
        "outputs": outputs,
        **facts,
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _noted(prepared: Prepared, wanted: Wanted, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of the audit file about rows that were given out: purpose, number and destination."""
    return {
        "cohort": prepared.definition.cohort,
        "purpose": prepared.definition.purpose,
        "approval": prepared.definition.approval,
        "identified": wanted.identified,
        "rows": facts["rows"],
        "out": str(wanted.out),
    }
