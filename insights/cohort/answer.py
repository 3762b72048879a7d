"""Answers a question from collected data: the funnel with small cells hidden, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from insights.cohort.codes import Code, CodeSets
from insights.cohort.definition import Criterion, Definition
from insights.cohort.engine import Tables
from insights.cohort.extracts import studies_without_report
from insights.cohort.located import Located
from insights.cohort.protection import Counted, Raw, protect, protected, safe
from insights.cohort.question import Question
from insights.collect.store import Collected

_CODED_IN = {
    "diagnosis": ("condition",),
    "medication": ("medication_request", "medication_administration", "medication"),
    "procedure": ("procedure",),
    "observation": ("observation",),
}


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """A step in words with its counts."""

    words: str
    kind: str
    counted: Counted


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The disclosable answer to a question.

    Attributes
    ----------
    people
        Number of members, unprotected: for decisions, never for output.
    studies, without_report
        Requested studies, and the number of them without a report; None if hidden or not requested.
    """

    funnel: tuple[FunnelStep, ...]
    people: int
    studies: int | None
    without_report: int | None


def day_of_question(definition: Definition, known: Collected, located: Located) -> date:
    """
    Return the day to which the question refers.

    Raises
    ------
    CohortError
        ``cohort.no_day``: neither the definition nor the data names one; ``cohort.stale_data``: the data ends earlier.
    """
    until = date.fromisoformat(known.data_time[:10]) if known.data_time else None
    if definition.as_of is None:
        if until is None:
            raise located.error((), "the data does not say of which day it is", "cohort.no_day", "Give as_of.")
        return until
    if until is not None and until < definition.as_of:
        raise located.error(
            ("as_of",),
            f"the data is complete until {until.isoformat()} only",
            "cohort.stale_data",
            "Collect again, or choose an earlier day.",
        )
    return definition.as_of


@dataclass(frozen=True, slots=True)
class Coding:
    """A use of a code set: its place, the kind of the records, and its name."""

    path: tuple[str | int, ...]
    kind: str
    codes: str


def codings(definition: Definition) -> list[Coding]:
    """Return the uses of code sets in the criteria of a definition."""
    return [
        Coding((*path, criterion.kind, "in"), criterion.kind, criterion.value.codes)
        for path, criterion in _criteria(definition)
        if criterion.kind in _CODED_IN
    ]


def check_systems(tables: Tables, definition: Definition, codes: CodeSets, located: Located) -> list[str]:
    """Check the code systems of a definition; see `check_coded`."""
    return check_coded(tables, codings(definition), codes, located)


def check_coded(tables: Tables, uses: Iterable[Coding], codes: CodeSets, located: Located) -> list[str]:
    """
    Check that the data uses the code systems of a definition, and note each further one that it does not use.

    Raises
    ------
    CohortError
        ``cohort.unknown_system``: records of the kind exist, but none is coded in any system of the set.
    """
    notes = []
    for use in uses:
        used = _systems(tables, _CODED_IN[use.kind])
        asked = {code.system for code in codes[use.codes]}
        if used and not asked & used:
            raise located.error(
                use.path,
                f"no {use.kind} in the data is coded in a system of {use.codes!r}",
                "cohort.unknown_system",
                f"The data uses: {', '.join(sorted(used)[:5])}.",
            )
        notes += [f"{use.codes}: no {use.kind} is coded in {system}" for system in sorted(asked - used)]
    return notes


def _systems(tables: Tables, names: tuple[str, ...]) -> set[str]:
    union = " UNION ".join(f"SELECT code_system FROM {name} WHERE code_system IS NOT NULL" for name in names)
    return {row[0] for row in tables.rows(union)}


def _criteria(definition: Definition) -> Iterator[tuple[tuple[str | int, ...], Criterion]]:
    def below(path: tuple[str | int, ...], criterion: Criterion) -> Iterator[tuple[tuple[str | int, ...], Criterion]]:
        if criterion.never is not None:
            yield from below((*path, "not"), criterion.never)
        elif criterion.either is not None:
            for number, inner in enumerate(criterion.either):
                yield from below((*path, "any", number), inner)
        else:
            yield path, criterion

    for number, criterion in enumerate(definition.who):
        yield from below(("who", number), criterion)


def raw_funnel(tables: Tables, question: Question) -> list[Raw]:
    """Return the unprotected counts of all steps, first of all people in the data; materialises what extracts read."""
    question.materialise(tables)
    return [Raw(*(int(count) for count in row[1:])) for row in tables.rows(question.funnel())]


def ask(tables: Tables, question: Question, minimum: int) -> Answer:
    """Answer the question. Materialises the tables that extracts read and writes nothing else."""
    rows = raw_funnel(tables, question)
    counted = protect(rows, minimum)
    steps = [FunnelStep("people in the data", "all", counted[0])]
    steps += [
        FunnelStep(step.words, step.kind, counts) for step, counts in zip(question.steps, counted[1:], strict=True)
    ]
    people = rows[-1].people
    query = studies_without_report(question)
    total = without = None
    if query is not None:
        (row,) = tables.rows(query)
        studies, unreported, people_studied, people_unreported = (int(count) for count in row)
        if safe(people_studied, minimum) and safe(studies, minimum):
            total = studies
            if safe(people_unreported, minimum):
                without = protected(unreported, studies, minimum)
    return Answer(tuple(steps), people, total, without)


def codes_hash_lines(codes: CodeSets) -> list[str]:
    """Return all codes as lines, for hashing."""

    def line(name: str, code: Code) -> str:
        return f"{name}\t{code.system}\t{code.code}"

    return [line(name, code) for name in sorted(codes) for code in codes[name]]
