"""
``bench/history.json``: one line for each release, with the goals that were measured and the counts of one instance.

A line holds what `bench.regressions` compares and what `bench.model` computes with, and nothing else of the results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import RESULTS
from bench.worlds import BenchError

HISTORY = Path(__file__).parent / "history.json"

COUNTED = ("calls", "scale", "memory")
"""Sections whose figures the counts of a line come from."""

Run = Mapping[str, Any]


def lines(file: Path = HISTORY) -> list[dict[str, Any]]:
    """Return the lines, oldest first."""
    return list(json.loads(file.read_text("utf-8"))) if file.exists() else []


def newest() -> Run:
    """Return the newest line that has counts."""
    return next(line for line in reversed(lines()) if line["counts"])


def line_of(version: str, results: Mapping[str, Any], note: str = "") -> dict[str, Any]:
    """
    Make the line of a release from the results of a run; ``note`` names causes of changes other than the sync.

    Raises
    ------
    BenchError
        A section that counts was not measured.
    """
    missing = [name for name in COUNTED if name not in results]
    if missing:
        raise BenchError(f"measure these first: {', '.join(missing)}")
    newest_section = max(results.values(), key=lambda section: section["when"])
    return {
        "version": version,
        "when": newest_section["when"],
        "processor": newest_section["machine"]["processor"],
        "cores": newest_section["machine"]["cores"],
        "quick": sorted(name for name, section in results.items() if section["quick"]),
        "took_seconds": sum(section.get("took_seconds", 0) for section in results.values()),
        **({"note": note} if note else {}),
        "counts": counts(results),
        "goals": {name: goals_of(section) for name, section in sorted(results.items())},
    }


def counts(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the counted requests of one instance and of one study of a burst, with processor time and memory."""
    calls, scale = results["calls"], results["scale"]["figures"]
    measured = {goal["what"]: goal["measured"] for goal in calls["goals"]}
    return {
        "instances_a_study": calls["figures"]["instances"],
        "blob_reads": measured["blob reads an instance"],
        "table_reads": measured["table reads an instance"],
        "writes": measured["table and queue writes an instance"],
        "rows_written": calls["figures"]["rows_written_an_instance"],
        "fhir_requests_a_study": calls["figures"]["fhir_requests"],
        "processor_ms": scale["processor_ms_an_instance_large"],
        "peak_mb": scale["peak_mb_large"],
    }


def goals_of(section: Run) -> dict[str, dict[str, Any]]:
    """Return the goals of a section by their text."""
    return {goal["what"]: {k: v for k, v in goal.items() if k not in ("what", "met")} for goal in section["goals"]}


def record(version: str, note: str = "", file: Path = HISTORY) -> None:
    """
    Write the line of a release, in place of one of the same version.

    Raises
    ------
    BenchError
        There are no results, or not all that a line needs.
    """
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    line = line_of(version, results, note)
    write([*(one for one in lines(file) if one["version"] != version), line], file)


def write(releases: Sequence[Run], file: Path = HISTORY) -> None:
    """Write the file: each release a line, so that a commit shows one."""
    text = ",\n".join(json.dumps(line, ensure_ascii=False) for line in releases)
    file.write_text(f"[\n{text}\n]\n", encoding="utf-8")


def notes(names: Sequence[str], file: Path = HISTORY) -> dict[str, str]:
    """Return the notes of the given versions, without versions that have none."""
    return {line["version"]: line["note"] for line in lines(file) if line["version"] in names and "note" in line}


def find(name: str, file: Path = HISTORY) -> dict[str, dict[str, dict[str, Any]]]:
    """
    Return the goals of a run by section, given a file of results, or a version of the history.

    Raises
    ------
    BenchError
        There is neither such a file nor such a version, or the file holds no results.
    """
    path = Path(name)
    if path.is_file():
        try:
            return _goals(json.loads(path.read_text("utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise BenchError(f"{name} holds no results of the bench") from problem
    known = {str(line["version"]): line for line in lines(file)}
    if name not in known:
        raise BenchError(f"{name} is neither a file nor a version of the history, which has {', '.join(known)}")
    return _goals(known[name])


def _goals(run: Run) -> dict[str, dict[str, dict[str, Any]]]:
    if "version" in run:
        return dict(run["goals"])
    return {name: goals_of(section) for name, section in run.items()}
