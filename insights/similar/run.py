"""Applies a rule to one patient: queries, returns the disclosable answer, and records who asked about whom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb

from insights import __version__
from insights.cohort.answer import Coding, FunnelStep, check_coded, codings, day_of_question, raw_funnel
from insights.cohort.codes import CodeSets, read_codes
from insights.cohort.engine import DuckDBTables
from insights.cohort.located import Located
from insights.cohort.protection import Raw, protect
from insights.cohort.question import compile_question
from insights.cohort.results import MANIFEST, ResultFolder, hashes, write_json
from insights.collect.store import Reading, Store
from insights.data_folder import AUDIT, note
from insights.errors import CohortError
from insights.similar.follow_up import Course, Followed, Span, Why, follow_up
from insights.similar.outcomes import outcomes
from insights.similar.relations import Patient, caliper_steps, courses, find_patient, prepare
from insights.similar.report import SimilarPatients, as_json, curves_csv, curves_svg, summary
from insights.similar.rule import Coded, Rule, read_rule
from insights.views import Catalogue

_LOST: tuple[tuple[Why, str], ...] = (
    ("undecided", "whose dates tell when it began and ended"),
    ("before", "without the event before the landmark"),
    ("unseen", "seen at the landmark or later"),
)
_FIXED = 11
"""Columns of a course before the treatments."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The patient and the rule of a question."""

    patient: str
    rule: Path
    data: Path
    minimum: int


def run(asked: Asked, *, out: Path | None = None, overwrite: bool = False) -> SimilarPatients:
    """
    Find the people similar to a patient and return what may be reported about them; write it if a folder is given.

    The user and the patient are recorded in ``audit.ndjson`` beside the data, before anything is returned.

    Raises
    ------
    CohortError
        The rule is wrong, or the data cannot answer it; ``similar.no_patient``, ``similar.not_comparable``.
    """
    rule, located = read_rule(asked.rule)
    codes = read_codes(rule.definition(), located)
    with Store(asked.data).reading(Catalogue.shipped()) as reading:
        notes = check_coded(DuckDBTables(reading), [*codings(rule.definition()), *_codings(rule)], codes, located)
        as_of = day_of_question(rule.definition(), reading.collected, located)
        _note(asked, rule)
        result = replace(_ask(reading, rule, codes, as_of, asked), notes=tuple(notes))
        if out is not None:
            with ResultFolder(out, overwrite=overwrite) as folder:
                _write(folder, result, reading, located, codes)
    return result


def _ask(reading: Reading, rule: Rule, codes: CodeSets, as_of: date, asked: Asked) -> SimilarPatients:
    connection, tables = reading.connection, DuckDBTables(reading)
    question = compile_question(rule.definition(), codes, as_of)
    question.materialise(tables)
    prepare(connection, rule, question.asked)
    patient = _patient(connection, rule, asked)
    steps = (*question.steps, *caliper_steps(rule, patient))
    question = replace(question, steps=steps, without=patient.person)
    raws = raw_funnel(tables, question)
    follow_ups = [
        follow_up(_course(row), rule.follow, as_of)
        for row in connection.execute(courses(rule, question.asked)).fetchall()
    ]
    followed = [follow_up for follow_up in follow_ups if isinstance(follow_up, Followed)]
    left = len(follow_ups)
    for why, _ in _LOST:
        lost = follow_ups.count(why)
        left -= lost
        raws.append(Raw(left, undecided=lost if why == "undecided" else 0))
    words = ["other people in the data", *(step.words for step in steps), *(step_words for _, step_words in _LOST)]
    counted = protect(raws, asked.minimum)
    funnel = tuple(FunnelStep(step_words, "step", counts) for step_words, counts in zip(words, counted, strict=True))
    outcomes_followed = None
    if len(followed) >= asked.minimum:
        outcomes_followed = outcomes(followed, tuple(rule.treatments), rule.follow, asked.minimum)
    return SimilarPatients(rule, as_of.isoformat(), funnel, outcomes_followed, (), asked.minimum)


def _patient(connection: duckdb.DuckDBPyConnection, rule: Rule, asked: Asked) -> Patient:
    patient = find_patient(connection, asked.patient.removeprefix("Patient/"))
    if patient is None:
        hint = "Give the id of the Patient in FHIR; collect again if it is new."
        raise CohortError("the data has no such patient", code="similar.no_patient", hint=hint)
    missing = []
    if not patient.diagnosed:
        missing.append("a dated diagnosis of the rule")
    if rule.like.sex is not None and patient.sex is None:
        missing.append("a sex")
    if rule.like.age is not None and patient.diagnosed and patient.ages is None:
        missing.append("a birth date")
    if rule.like.lesion is not None and patient.diagnosed and patient.size is None:
        missing.append(f"a lesion in {rule.like.lesion.unit}, measured near the diagnosis")
    if missing:
        hint = "Take the line out of like, or record it."
        raise CohortError(f"the patient lacks {' and '.join(missing)}", code="similar.not_comparable", hint=hint)
    return patient


def _course(row: Sequence[object]) -> Course:
    first, last, event, event_last, death, death_last, dead, contact, sex, age, size, *treated = row
    assert len(row) >= _FIXED
    took = tuple(None if answer is None else answer == 1 for answer in treated)
    return Course(
        Span(first, last), Span(event, event_last), Span(death, death_last), bool(dead), contact, sex, age, size, took  # type: ignore[arg-type]  # columns of `courses`
    )  # fmt: skip


def _codings(rule: Rule) -> Iterator[Coding]:
    for name, treatment in rule.treatments.items():
        yield Coding(("treatments", name, treatment.kind), treatment.kind, treatment.codes)
    if rule.like.lesion is not None:
        yield Coding(("like", "lesion", "in"), "observation", rule.like.lesion.codes)
    for number, event in enumerate(rule.follow.event):
        if isinstance(event, Coded):
            yield Coding(("follow", "event", number, event.kind), event.kind, event.codes)


def _note(asked: Asked, rule: Rule) -> None:
    try:
        note(asked.data, {"similar": rule.similar, "patient": asked.patient.removeprefix("Patient/")})
    except OSError as problem:
        raise CohortError(f"{AUDIT}: {problem.strerror}", code="similar.audit", hint="Nothing was told.") from None


def _write(folder: Path, result: SimilarPatients, reading: Reading, located: Located, codes: CodeSets) -> None:
    (folder / "summary.md").write_text(summary(result), "utf-8")
    write_json(folder / "result.json", as_json(result))
    if result.outcomes is not None:
        (folder / "curves.csv").write_text(curves_csv(result.outcomes), "utf-8")
        (folder / "curves.svg").write_text(curves_svg(result.outcomes, result.rule.follow.until.days), "utf-8")
    inputs = json.dumps([located.value, {name: [str(code) for code in codes[name]] for name in codes}], sort_keys=True)
    manifest = {
        "similar": result.rule.similar,
        "as_of": result.as_of,
        "minimum": result.minimum,
        "rule": hashlib.sha256(inputs.encode()).hexdigest(),
        "views": reading.collected.views,
        "data": reading.collected.data_version,
        "engine": {"duckdb": duckdb.__version__, "insights": __version__},
        "outputs": hashes(folder),
    }
    write_json(folder / MANIFEST, manifest)
