"""Selects the people whose records are included, and the day of the data, as a cohort without criteria does."""

from __future__ import annotations

from datetime import date

from insights.cohort.definition import Definition
from insights.cohort.engine import DuckDBTables
from insights.cohort.question import compile_question
from insights.collect.store import Reading
from insights.errors import OutcomeError
from insights.outcomes.rule import Prepared


def choose_people(reading: Reading, prepared: Prepared, *, research: bool) -> date:
    """
    Create the temporary tables ``member``, ``record_of`` and ``report_of``; idempotent.

    Returns
    -------
    date
        Day until which the data is complete, or the day of the rule.

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
    return as_of


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
