"""Selects the people whose records are included, and the day of the data, as a cohort without criteria does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from insights.cohort.definition import Definition
from insights.cohort.engine import DuckDBTables
from insights.cohort.question import compile_question
from insights.collect.store import Reading
from insights.errors import OutcomeError
from insights.outcomes.rule import Prepared


@dataclass(frozen=True, slots=True)
class People:
    """
    The people who are included.

    Attributes
    ----------
    as_of
        Day until which the data is complete, or the day of the rule.
    asked, members
        Numbers of people in the data, and of those whose records are included.
    """

    as_of: date
    asked: int
    members: int


def choose_people(reading: Reading, prepared: Prepared, *, research: bool) -> People:
    """
    Create the temporary tables ``member``, ``record_of`` and ``report_of``; idempotent.

    Parameters
    ----------
    research
        Whether consent to research is required; it is not for readers, whose patients are in their care.

    Raises
    ------
    OutcomeError
        ``outcome.no_day``, ``outcome.stale_data``.
    """
    rule = prepared.rule
    as_of = _day(reading, prepared)
    definition = Definition.model_construct(
        cohort=rule.rule, who=(), consent=rule.consent if research else "none", restricted=rule.restricted
    )
    question = compile_question(definition, {}, as_of)
    question.materialise(DuckDBTables(reading))
    row = reading.connection.execute("SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM member)").fetchone()
    assert row is not None
    return People(as_of, int(row[0]), int(row[1]))


def _day(reading: Reading, prepared: Prepared) -> date:
    known = reading.collected.data_time
    until = date.fromisoformat(known[:10]) if known else None
    wanted = prepared.rule.as_of
    where = prepared.located.where(("as_of",))
    if wanted is None and until is None:
        raise OutcomeError(f"{where}: the data does not say of which day it is", code="outcome.no_day")
    if wanted is not None and until is not None and until < wanted:
        raise OutcomeError(f"{where}: the data is complete until {until} only", code="outcome.stale_data")
    chosen = wanted or until
    assert chosen is not None
    return chosen
