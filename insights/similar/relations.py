"""
Compiles a rule to SQL: the diagnosis that starts the clock, the lesion, calipers, events, treatments.

All queries read the temporary tables ``person`` and ``record_of`` of `insights.cohort.question.Question.materialise`,
and the two that `prepare` creates: ``index_of`` and ``size_of``.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from insights.cohort import records
from insights.cohort.criteria import Asked, record_rows
from insights.cohort.days import completed_years, day, first_day, inside, last_day
from insights.cohort.question import Step
from insights.cohort.windows import window
from insights.similar.rule import Coded, Rule, SizeCaliper
from insights.views.shape import literal

_YOUNGEST = completed_years(last_day("p.birth_date"), "i.first")
_OLDEST = completed_years(first_day("p.birth_date"), "i.last")


@dataclass(frozen=True, slots=True)
class Patient:
    """
    The patient with whom others are compared.

    Attributes
    ----------
    person
        Id of the person's current Patient; records of the Patients that it replaced count for it.
    diagnosed
        Whether the person has a dated diagnosis of the rule.
    ages
        Minimum and maximum of completed years at the diagnosis; they differ if the birth date is only a year.
    size
        Of the lesion; None if none was measured near the diagnosis.
    """

    person: str
    sex: str | None
    diagnosed: bool
    ages: tuple[int, int] | None
    size: float | None


def prepare(connection: duckdb.DuckDBPyConnection, rule: Rule, asked: Asked) -> None:
    """Create ``index_of`` (person, first and last day of the diagnosis) and ``size_of``; idempotent."""
    diagnosis = rule.who[0].value
    rows, meets = record_rows(diagnosis, asked, kind="diagnosis")
    within = inside(window(diagnosis.when, asked.as_of), "r.first", "r.last")
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE index_of AS
        SELECT w.patient_id, r.first, r.last FROM ({rows}) AS r JOIN record_of AS w ON w.record_id = r.record_id
        WHERE {meets} AND {within} AND r.first IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY w.patient_id ORDER BY r.first, r.last) = 1""")
    size = "SELECT NULL::VARCHAR AS patient_id, NULL::DOUBLE AS size, 0 AS undated WHERE FALSE"
    if rule.like.lesion is not None:
        size = _sizes(rule.like.lesion, asked)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE size_of AS {size}")


def _sizes(lesion: SizeCaliper, asked: Asked) -> str:
    meets = records.has_code("r.system", "r.code", asked.codes[lesion.codes])
    near = round(lesion.near.days)
    within = f"r.first >= i.last - {near} AND r.last <= i.first + {near}"
    return f"""
        SELECT w.patient_id, max(o.value) FILTER ({within}) AS size,
               count(DISTINCT r.id) FILTER (r.first IS NULL) AS undated
        FROM ({records.observations(restricted=asked.restricted)}) AS r
        JOIN (SELECT DISTINCT id, value_quantity AS value FROM observation
              WHERE value_unit = {literal(lesion.unit)} AND value_quantity IS NOT NULL) AS o ON o.id = r.id
        JOIN record_of AS w ON w.record_id = r.record_id
        JOIN index_of AS i ON i.patient_id = w.patient_id
        WHERE {meets} AND (r.first IS NULL OR r.first <= {day(asked.as_of)})
        GROUP BY w.patient_id"""


def find_patient(connection: duckdb.DuckDBPyConnection, identity: str) -> Patient | None:
    """Return the facts about a patient, by the id of the Patient or of one that it replaced; None if there is none."""
    row = connection.execute(
        f"SELECT p.patient_id, p.gender, i.first IS NOT NULL, {_YOUNGEST}, {_OLDEST}, s.size FROM person AS p "
        "JOIN record_of AS w ON w.patient_id = p.patient_id LEFT JOIN index_of AS i ON i.patient_id = p.patient_id "
        "LEFT JOIN size_of AS s ON s.patient_id = p.patient_id WHERE w.record_id = ?",
        [identity],
    ).fetchone()
    if row is None:
        return None
    person, sex, diagnosed, youngest, oldest, size = row
    ages = None if youngest is None or oldest is None else (int(youngest), int(oldest))
    return Patient(str(person), sex, bool(diagnosed), ages, size)


def caliper_steps(rule: Rule, patient: Patient) -> tuple[Step, ...]:
    """Return the steps of the funnel that compare with the patient, who must have the needed facts."""
    steps = []
    if rule.like.sex is not None:
        test = f"CASE WHEN p.gender IS NULL THEN NULL WHEN p.gender = {literal(str(patient.sex))} THEN 1 ELSE 0 END"
        steps.append(Step(f"of the same sex ({patient.sex})", "sex", _answers(test, uncoded="p.gender IS NULL")))
    if rule.like.age is not None:
        assert patient.ages is not None
        (least, most), within = patient.ages, rule.like.age.within
        yes = f"{_YOUNGEST} >= {most - within} AND {_OLDEST} <= {least + within}"
        no = f"{_OLDEST} < {least - within} OR {_YOUNGEST} > {most + within}"
        words = f"aged {max(0, most - within)} to {least + within} at the diagnosis (within {within} years)"
        answers = _answers(f"CASE WHEN {yes} THEN 1 WHEN {no} THEN 0 END", undated="p.birth_date IS NULL")
        steps.append(Step(words, "age", answers))
    if rule.like.lesion is not None:
        assert patient.size is not None
        low, high = limits(patient.size, rule.like.lesion.within)
        test = f"CASE WHEN s.size IS NULL THEN NULL WHEN s.size BETWEEN {low!r} AND {high!r} THEN 1 ELSE 0 END"
        words = (
            f"with a lesion of {low:g} to {high:g} {rule.like.lesion.unit} (within {rule.like.lesion.within:g} %), "
            f"measured within {rule.like.lesion.near.times(1)} of the diagnosis"
        )
        steps.append(Step(words, "lesion", _answers(test, undated="coalesce(s.undated, 0) > 0")))
    return tuple(steps)


def limits(size: float, within: float) -> tuple[float, float]:
    """Return the sizes within a percentage, without the noise of binary fractions."""
    return round(size * (100 - within) / 100, 9), round(size * (100 + within) / 100, 9)


def _answers(test: str, *, undated: str = "FALSE", uncoded: str = "FALSE") -> str:
    return (
        f"SELECT p.patient_id, {test} AS answer, 0 AS records, CASE WHEN {undated} THEN 1 ELSE 0 END AS undated, "
        f"CASE WHEN {uncoded} THEN 1 ELSE 0 END AS uncoded FROM person AS p "
        "LEFT JOIN index_of AS i ON i.patient_id = p.patient_id LEFT JOIN size_of AS s ON s.patient_id = p.patient_id"
    )


def courses(rule: Rule, asked: Asked) -> str:
    """
    Return the query of every member's course, in a fixed order.

    Columns: diagnosis (first, last), event (first, last), death (first, last), dead without a date, last contact, sex,
    age, size, then one per treatment: 1, 0, or NULL if its date leaves it open.
    """
    end = day(asked.as_of)
    events = " UNION ALL ".join(_events(event, asked) for event in rule.follow.event)
    names = range(len(rule.treatments))
    joins = "".join(
        f" LEFT JOIN ({_treated(treatment, rule, asked)}) AS t{number} ON t{number}.patient_id = m.patient_id"
        for number, treatment in enumerate(rule.treatments.values())
    )
    treated = "".join(f", CASE WHEN t{n}.patient_id IS NULL THEN 0 ELSE t{n}.answer END AS t{n}" for n in names)
    return f"""
        WITH event AS (
            SELECT e.patient_id, e.first, e.last FROM ({events}) AS e
            JOIN index_of AS i ON i.patient_id = e.patient_id
            WHERE e.first <= {end} AND e.last >= i.first
            QUALIFY row_number() OVER (PARTITION BY e.patient_id ORDER BY e.first, e.last) = 1
        ),
        contact AS (SELECT w.patient_id, max(r.first) AS last FROM ({_contacts(asked)}) AS r
                    JOIN record_of AS w ON w.record_id = r.record_id WHERE r.first <= {end} GROUP BY w.patient_id)
        SELECT i.first, i.last, e.first, e.last, {_DEATH} AS death_first, {last_day("p.death_date")} AS death_last,
               coalesce(p.deceased, FALSE) AND p.death_date IS NULL, c.last, p.gender, {_YOUNGEST} AS age, s.size
               {treated}
        FROM member AS m JOIN person AS p ON p.patient_id = m.patient_id
        JOIN index_of AS i ON i.patient_id = m.patient_id
        LEFT JOIN size_of AS s ON s.patient_id = m.patient_id
        LEFT JOIN event AS e ON e.patient_id = m.patient_id
        LEFT JOIN contact AS c ON c.patient_id = m.patient_id{joins}
        ORDER BY m.patient_id"""


_DEATH = first_day("p.death_date")


def _rows(coded: Coded, asked: Asked) -> str:
    meets = records.has_code("r.system", "r.code", asked.codes[coded.codes])
    match coded.kind:
        case "diagnosis":
            rows = records.conditions("onset or recorded", provisional=False, restricted=asked.restricted)
        case "procedure":
            rows = records.procedures(restricted=asked.restricted)
        case _:
            rows = records.medications(restricted=asked.restricted)
    return (
        f"SELECT w.patient_id, r.first, r.last FROM ({rows}) AS r "
        f"JOIN record_of AS w ON w.record_id = r.record_id WHERE {meets}"
    )


def _events(event: Coded | str, asked: Asked) -> str:
    if isinstance(event, Coded):
        return _rows(event, asked)
    last = last_day("p.death_date")
    return f"SELECT p.patient_id, {_DEATH} AS first, {last} AS last FROM person AS p WHERE p.death_date IS NOT NULL"


def _treated(treatment: Coded, rule: Rule, asked: Asked) -> str:
    """Return whether a treatment started between the diagnosis and the landmark: yes, no, or NULL."""
    until = f"i.last + {round(rule.follow.landmark.days)}"
    yes = f"r.first >= i.first AND r.last <= {until}"
    no = f"r.last < i.first OR r.first > {until} OR r.first > {day(asked.as_of)}"
    return f"""
        SELECT r.patient_id, CASE WHEN bool_or(coalesce({yes}, FALSE)) THEN 1
                                  WHEN bool_and(coalesce({no}, FALSE)) THEN 0 END AS answer
        FROM ({_rows(treatment, asked)}) AS r JOIN index_of AS i ON i.patient_id = r.patient_id
        GROUP BY r.patient_id"""


def _contacts(asked: Asked) -> str:
    """Return all records of care; the latest of them is a person's last contact."""
    restricted = asked.restricted
    parts = (
        records.conditions("onset or recorded", provisional=True, restricted=restricted),
        records.conditions("recorded", provisional=True, restricted=restricted),
        records.medications(restricted=restricted),
        records.procedures(restricted=restricted),
        records.observations(restricted=restricted),
        records.studies(restricted=restricted),
        records.encounters(restricted=restricted),
    )
    return " UNION ALL ".join(f"SELECT record_id, first FROM ({part})" for part in parts)
