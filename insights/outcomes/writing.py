"""Writes the results of a comparison: text, facts and rows, all or none; and an audit entry when rows are written."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insights.cohort.results import MANIFEST, ResultFolder, hashes, write_json
from insights.data_folder import note
from insights.outcomes.matching import Matched, Pair, said_of


@dataclass(frozen=True, slots=True)
class Results:
    """
    The results to write.

    Attributes
    ----------
    tables
        Rows by file name, CSV or NDJSON.
    texts
        Texts of further files by file name.
    """

    text: str
    facts: Mapping[str, Any]
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def write_results(out: Path, results: Results, *, overwrite: bool) -> None:
    """
    Write a folder completely or not at all; its files are readable by the owner only.

    Raises
    ------
    CohortError
        ``cohort.out_exists``, ``cohort.out``.
    """
    with ResultFolder(out, overwrite=overwrite) as folder:
        (folder / "report.md").write_text(results.text, "utf-8")
        write_json(folder / "report.json", dict(results.facts))
        for name, rows in results.tables.items():
            (_write_csv if name.endswith(".csv") else _write_ndjson)(folder / name, rows)
        for name, text in results.texts.items():
            (folder / name).write_text(text, "utf-8")
        write_json(folder / MANIFEST, {"outputs": hashes(folder)})
        for file in folder.iterdir():
            file.chmod(0o600)


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]) if rows else ["record_id"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_ndjson(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), "utf-8")


def audit(data: Path, noted: Mapping[str, Any], out: Path) -> None:
    """Record in the audit file who wrote rows, when and how many."""
    note(data, {**noted, "out": str(out)})


def case(matched: Matched) -> dict[str, str]:
    """Return a finding and its outcomes as a row of texts."""
    finding, answer = matched.finding, matched.answer
    truth = answer.truth if answer else None
    return {
        "record_id": finding.record_id,
        "study_id": finding.study_id or "",
        "patient_id": finding.patient_id,
        "said": said_of(finding.said),
        "said_size_mm": _number(finding.size),
        "told_by": finding.told_by,
        "site": finding.place.site or "",
        "side": finding.place.side or "",
        "outcome": matched.outcome,
        "was_found": said_of(truth.found) if truth else "",
        "used_size_mm": _number(truth.size) if truth else "",
        "found_by": truth.kind if truth else "",
        "found_id": truth.id if truth else "",
        "days_between": answer.between if answer else "",
        "flags": ", ".join(answer.flags) if answer else "",
        "later": _ids(matched.later),
        "waiting": _ids(matched.waiting),
        "other_side": _ids(matched.other_side),
        "undecidable": _ids(matched.undecidable),
    }


def _ids(pairs: Sequence[Pair]) -> str:
    return " ".join(f"{pair.truth.kind}/{pair.truth.id}" for pair in pairs)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
