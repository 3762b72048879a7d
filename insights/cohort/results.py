"""
The folder of results: counts always, rows about members if requested, and a manifest.

All files are written to a folder beside it, which is renamed when it is complete. No content depends on the time or
the machine: the same definition, codes, data and program give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from insights.cohort.answer import Answer
from insights.cohort.deidentify import Pseudonyms, age_group
from insights.cohort.engine import Tables
from insights.cohort.extracts import Column, Extract
from insights.cohort.protection import text
from insights.cohort.question import Question
from insights.errors import CohortError
from insights.views.reader import connect
from insights.views.shape import literal
from sync.adapters.file_locks import beside, held

MANIFEST = "manifest.json"
FORMATS = {"csv": "FORMAT csv, HEADER", "ndjson": "FORMAT json", "parquet": "FORMAT parquet, COMPRESSION zstd"}


@dataclass(frozen=True, slots=True)
class Rows:
    """
    The form in which rows are given out.

    Attributes
    ----------
    pseudonyms
        None for real identities.
    """

    format: str
    pseudonyms: Pseudonyms | None


class ResultFolder:
    """
    A folder that appears whole or not at all.

    Parameters
    ----------
    folder
        Its name; it must not exist yet, unless it holds results and may be overwritten.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self.folder = folder
        self.overwrite = overwrite
        self.partial = folder.with_name(f".{folder.name}.partial")
        self._held = ExitStack()

    def __enter__(self) -> Path:
        with ExitStack() as stack:
            try:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(beside(self.folder)))
            except OSError as problem:
                raise self._unwritable(problem) from None
            partial = self._begun()
            self._held = stack.pop_all()
        return partial

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, _: object) -> None:
        with self._held:
            self._end(kind, problem)

    def _begun(self) -> Path:
        if self.folder.exists():
            results = self.folder.is_dir() and (self.folder / MANIFEST).exists()
            if not (self.overwrite and results):
                hint = "Use --overwrite." if results else "Choose another name."
                raise CohortError(f"{self.folder} exists", code="cohort.out_exists", hint=hint)
        try:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True, mode=0o700)
        except OSError as problem:
            raise self._unwritable(problem) from None
        return self.partial

    def _end(self, kind: type[BaseException] | None, problem: BaseException | None) -> None:
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            if isinstance(problem, OSError):
                raise self._unwritable(problem) from None
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.partial.replace(self.folder)

    def _unwritable(self, problem: OSError) -> CohortError:
        return CohortError(f"{self.folder}: {problem.strerror}", code="cohort.out")


def funnel_rows(answer: Answer) -> list[dict[str, Any]]:
    """Return the funnel as rows; a hidden count is None."""
    return [{"step": number, "what": step.words, **asdict(step.counted)} for number, step in enumerate(answer.funnel)]


def summary(question: Question, paraphrased: Iterable[str], answer: Answer, notes: Iterable[str], minimum: int) -> str:
    """Return the results as text for readers."""
    head = "| step | people | cannot be decided | records | undated | uncoded |"
    lines = [
        f"# {question.definition.cohort}",
        "",
        *paraphrased,
        "",
        head,
    ]
    lines.append("|---|---|---|---|---|---|")
    for step in answer.funnel:
        counts = step.counted
        cells = [counts.people, counts.undecided, counts.records, counts.undated, counts.uncoded]
        lines.append(f"| {step.words} | " + " | ".join(text(cell, minimum) for cell in cells) + " |")
    if question.definition.get.studies is not None:
        name = "/".join(question.definition.get.studies.modality or ("all",))
        told = f"{text(answer.studies, minimum)}; without report: {text(answer.without_report, minimum)}"
        lines += ["", f"Studies ({name}): {told}"]
    lines += ["", *(f"Note: {note}." for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def write_counts(folder: Path, answer: Answer, text: str, sql: str) -> None:
    """Write the files without rows: funnel, summary and the question itself."""
    with (folder / "funnel.csv").open("w", encoding="utf-8", newline="") as out:
        rows = funnel_rows(answer)
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "summary.md").write_text(text, "utf-8")
    (folder / "question.sql").write_text(sql + "\n", "utf-8")


def write_extract(folder: Path, tables: Tables, extract: Extract, rows: Rows) -> tuple[str, int]:
    """Write one extract, sorted, and return its name and number of rows."""
    identified = rows.pseudonyms is None
    columns = [column for column in extract.columns if identified or column.role != "identifying"]
    raw = folder / f".{extract.name}.raw"
    count = 0
    with raw.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        for row in tables.rows(extract.query):
            count += 1
            writer.writerow(_leaving(extract.columns, row, rows.pseudonyms))
    name = f"{extract.name}.{rows.format}"
    types = ", ".join(f"{literal(column.name)}: {literal(_type(column, identified=identified))}" for column in columns)
    with connect() as writer_connection:
        writer_connection.execute("SET threads = 1")
        writer_connection.execute(
            f"COPY (SELECT * FROM read_csv({literal(str(raw))}, header = FALSE, delim = ',', "
            f"quote = '\"', escape = '\"', nullstr = '\\N', auto_detect = FALSE, columns = {{{types}}}) ORDER BY ALL) "
            f"TO {literal(str(folder / name))} ({FORMATS[rows.format]})"
        )
    raw.unlink()
    return name, count


def _type(column: Column, *, identified: bool) -> str:
    if column.role == "age":
        return "INTEGER" if identified else "VARCHAR"
    return column.type


def _leaving(columns: Sequence[Column], row: tuple[Any, ...], pseudonyms: Pseudonyms | None) -> list[Any]:
    """Return a row as it may be given out; the first value is the member whom it describes."""
    person, *values = row
    if pseudonyms is None:
        return [_null(value) for value in values]
    return [
        _null(_replaced(column, value, str(person), pseudonyms))
        for column, value in zip(columns, values, strict=True)
        if column.role != "identifying"
    ]


def _null(value: Any) -> Any:
    return r"\N" if value is None else value


def _replaced(column: Column, value: Any, person: str, pseudonyms: Pseudonyms) -> Any:
    if value is None:
        return None
    replaced: dict[str, Callable[[], str | None]] = {
        "patient": lambda: pseudonyms.name("patient", str(value)),
        "id": lambda: pseudonyms.name(column.name, str(value)),
        "uid": lambda: pseudonyms.uid(str(value)),
        "date": lambda: pseudonyms.moved(person, str(value)),
        "age": lambda: age_group(int(value)),
    }
    return replaced[column.role]() if column.role in replaced else value


def group(cohort: str, members: Sequence[str], pseudonyms: Pseudonyms | None) -> dict[str, Any]:
    """
    Return the cohort as a FHIR R4 Group: references to Patients, or pseudonyms as logical references.

    Source: FHIR R4 group.html; ``actual`` with ``member``.
    """
    if pseudonyms is None:
        listed: list[dict[str, Any]] = [{"entity": {"reference": f"Patient/{member}"}} for member in sorted(members)]
    else:
        system = "urn:dicom-fhir-sync:pseudonym"
        names = sorted(pseudonyms.name("patient", member) for member in members)
        listed = [{"entity": {"type": "Patient", "identifier": {"system": system, "value": name}}} for name in names]
    return {
        "resourceType": "Group",
        "id": cohort,
        "active": True,
        "type": "person",
        "actual": True,
        "name": cohort,
        "quantity": len(listed),
        "member": listed,
    }


def anonymity(tables: Tables, people: Extract, minimum: int) -> dict[str, Any]:
    """Return the size of the smallest group of equal sex and age, and the members in groups below the minimum."""
    (row,) = tables.rows(
        f"SELECT coalesce(min(n), 0), coalesce(sum(n) FILTER (n < {minimum}), 0) FROM "
        f"(SELECT count(*) AS n FROM ({people.query}) GROUP BY sex, least(age, 90))"
    )
    return {"quasi_identifiers": ["sex", "age"], "k": int(row[0]), f"people_in_groups_below_{minimum}": int(row[1])}


def write_json(file: Path, value: Any) -> None:
    """Write JSON, keys sorted."""
    file.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
