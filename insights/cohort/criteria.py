"""
Compiles criteria to SQL: for every person the answer (1 yes, 0 no, NULL undecidable), and its evidence.

Each criterion becomes a relation with one row per person: ``patient_id``, ``answer``, and the numbers of records:
``records`` (that meet it), ``undated`` (right code, no date) and ``uncoded`` (no code at all).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from insights.cohort import records
from insights.cohort.codes import CodeSets
from insights.cohort.days import completed_years, first_day, inside, last_day
from insights.cohort.definition import Age, Coded, Criterion, Diagnosis, Measured, Study, Visit
from insights.cohort.windows import window
from insights.views.shape import literal


@dataclass(frozen=True, slots=True)
class Asked:
    """
    The context with which every criterion is compiled.

    Attributes
    ----------
    as_of
        The day to which the question refers.
    restricted
        Whether records with the labels R and V are included.
    """

    codes: CodeSets
    as_of: date
    restricted: bool


def criterion_sql(criterion: Criterion, asked: Asked) -> str:
    """Return the query of a criterion."""
    value = criterion.value
    match criterion.kind:
        case "age":
            return _age(value, asked)
        case "sex":
            return _sex(value)
        case "never":
            inner = criterion_sql(value, asked)
            return f"SELECT patient_id, 1 - answer AS answer, 0 AS records, undated, uncoded FROM ({inner})"
        case "either":
            return _either([criterion_sql(inner, asked) for inner in value])
        case _:
            return _records(value, asked, criterion.kind)


def record_rows(value: Coded | Study | Visit, asked: Asked, *, kind: str) -> tuple[str, str]:
    """Return the records of a criterion, and the condition that a coding meets it, as SQL over `r`."""
    if isinstance(value, Study):
        site = "TRUE"
        if value.body_site is not None:
            has = records.has_code("s.body_site_system", "s.body_site", asked.codes[value.body_site])
            site = f"EXISTS (SELECT 1 FROM imaging_series AS s WHERE s.study_id = r.id AND {has})"
        rows = records.studies(restricted=asked.restricted, site=site)
        wanted = "TRUE" if value.modality is None else records.one_of("r.code", value.modality)
        return rows, f"coalesce({wanted}, FALSE)"
    if isinstance(value, Visit):
        return records.encounters(
            restricted=asked.restricted
        ), f"coalesce({records.one_of('r.code', value.kind)}, FALSE)"
    has = records.has_code("r.system", "r.code", asked.codes[value.codes])
    if isinstance(value, Diagnosis):
        return records.conditions(value.date, provisional=value.provisional, restricted=asked.restricted), has
    if isinstance(value, Measured):
        return records.observations(restricted=asked.restricted, value=_value(value)), has
    if kind == "procedure":
        return records.procedures(restricted=asked.restricted), has
    return records.medications(restricted=asked.restricted), has


def _value(value: Measured) -> str:
    tests = [f"r.value_unit = {literal(value.unit)}"] if value.unit is not None else []
    tests += [f"r.value_quantity > {value.above!r}"] if value.above is not None else []
    tests += [f"r.value_quantity < {value.below!r}"] if value.below is not None else []
    return f"coalesce({' AND '.join(tests)}, FALSE)" if tests else "TRUE"


def _records(value: Coded | Study | Visit, asked: Asked, kind: str) -> str:
    span = window(value.when, asked.as_of)
    rows, meets = record_rows(value, asked, kind=kind)
    return f"""
    SELECT p.patient_id,
           CASE WHEN coalesce(bool_or(e.meets AND e.inside), FALSE) THEN 1
                WHEN coalesce(bool_or(e.meets AND e.inside IS NULL), FALSE) THEN NULL ELSE 0 END AS answer,
           count(*) FILTER (e.meets AND e.inside) AS records,
           count(*) FILTER (e.meets AND e.first IS NULL) AS undated,
           count(*) FILTER (NOT e.coded) AS uncoded
    FROM person AS p
    LEFT JOIN (
        SELECT w.patient_id, r.id, min(r.first) AS first, bool_or({meets}) AS meets,
               bool_or(r.code IS NOT NULL) AS coded, any_value({inside(span, "r.first", "r.last")}) AS inside
        FROM ({rows}) AS r JOIN record_of AS w ON w.record_id = r.record_id
        GROUP BY w.patient_id, r.id
    ) AS e ON e.patient_id = p.patient_id
    GROUP BY p.patient_id"""


def _age(value: Age, asked: Asked) -> str:
    least, most = value.bounds()
    youngest = completed_years(last_day("p.birth_date"), asked.as_of)
    oldest = completed_years(first_day("p.birth_date"), asked.as_of)
    yes, no = f"{youngest} >= {least}", f"{oldest} < {least}"
    if most is not None:
        yes, no = f"{yes} AND {oldest} <= {most}", f"{no} OR {youngest} > {most}"
    return f"""
    SELECT p.patient_id, CASE WHEN {yes} THEN 1 WHEN {no} THEN 0 END AS answer, 0 AS records,
           CASE WHEN {first_day("p.birth_date")} IS NULL THEN 1 ELSE 0 END AS undated, 0 AS uncoded
    FROM person AS p"""


def _sex(value: tuple[str, ...]) -> str:
    test = records.one_of("p.gender", value)
    return f"""
    SELECT p.patient_id, CASE WHEN p.gender IS NULL THEN NULL WHEN {test} THEN 1 ELSE 0 END AS answer, 0 AS records,
           0 AS undated, CASE WHEN p.gender IS NULL THEN 1 ELSE 0 END AS uncoded
    FROM person AS p"""


def _either(queries: list[str]) -> str:
    union = " UNION ALL ".join(f"SELECT * FROM ({query})" for query in queries)
    return f"""
    SELECT patient_id,
           CASE WHEN max(answer) = 1 THEN 1 WHEN bool_or(answer IS NULL) THEN NULL ELSE 0 END AS answer,
           sum(records) AS records, sum(undated) AS undated, sum(uncoded) AS uncoded
    FROM ({union}) GROUP BY patient_id"""
