"""Extracts about members: tables whose columns declare how identifying they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from insights.cohort import records
from insights.cohort.criteria import Asked, record_rows
from insights.cohort.days import completed_years, inside, last_day
from insights.cohort.definition import GetCoded, Study
from insights.cohort.question import Question
from insights.cohort.windows import window

Role = Literal["patient", "id", "uid", "date", "age", "plain", "identifying"]
"""``plain`` is written unchanged, ``identifying`` only with real identities; the others are replaced."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an extract."""

    name: str
    sql: str
    role: Role
    type: str = "VARCHAR"


@dataclass(frozen=True, slots=True)
class Extract:
    """
    A table about members.

    Attributes
    ----------
    query
        Reads the tables that `Question.materialise` creates. Its first column is ``person_id``, the member.
    """

    name: str
    columns: tuple[Column, ...]
    query: str


def extracts(question: Question) -> tuple[Extract, ...]:
    """Return the extracts of a definition; always the one of people."""
    get = question.definition.get
    extracts = [_people(question)]
    coded = {"conditions": get.conditions, "procedures": get.procedures, "observations": get.observations}
    extracts += [_coded(question, name, wanted) for name, wanted in coded.items() if wanted is not None]
    if get.medications is not None:
        extracts.append(_medications(question, get.medications))
    if get.studies is not None:
        extracts += [_studies(question, get.studies), _images(question, get.studies)]
        if get.reports is not None:
            extracts.append(_reports(question, get.studies))
    return tuple(extracts)


def studies_without_report(question: Question) -> str | None:
    """Return the query of the numbers of requested studies, those without a report, and their people, or None."""
    wanted = question.definition.get.studies
    if wanted is None:
        return None
    reported = "c.id IN (SELECT study_id FROM report_of) AS reported"
    return (
        "SELECT count(*), count(*) FILTER (NOT e.reported), count(DISTINCT e.person_id), "
        "count(DISTINCT e.person_id) FILTER (NOT e.reported) "
        f"FROM (SELECT c.*, {reported} FROM ({_chosen(question, wanted, 'study')}) AS c) AS e"
    )


def _people(question: Question) -> Extract:
    years = completed_years(last_day("p.birth_date"), question.asked.as_of)
    columns = (
        Column("patient_id", "p.patient_id", "patient"),
        Column("sex", "p.gender", "plain"),
        Column("age", f"CAST({years} AS INTEGER)", "age"),
        Column("birth_date", "p.birth_date", "identifying"),
        Column("death_date", "p.death_date", "date"),
    )
    return _extract("patients", columns, "person AS p JOIN member AS m ON m.patient_id = p.patient_id", "p.patient_id")


_CONDITION = (
    Column("condition_id", "t.id", "id"),
    Column("patient_id", "e.person_id", "patient"),
    Column("system", "t.code_system", "plain"),
    Column("code", "t.code", "plain"),
    Column("display", "t.code_display", "identifying"),
    Column("date", "coalesce(t.onset, t.onset_start, t.recorded)", "date"),
    Column("clinical_status", "t.clinical_status", "plain"),
    Column("verification_status", "t.verification_status", "plain"),
)
_PROCEDURE = (
    Column("procedure_id", "t.id", "id"),
    Column("patient_id", "e.person_id", "patient"),
    Column("system", "t.code_system", "plain"),
    Column("code", "t.code", "plain"),
    Column("display", "t.code_display", "identifying"),
    Column("date", "coalesce(t.performed, t.performed_start)", "date"),
    Column("status", "t.status", "plain"),
)
_OBSERVATION = (
    Column("observation_id", "t.id", "id"),
    Column("patient_id", "e.person_id", "patient"),
    Column("system", "t.code_system", "plain"),
    Column("code", "t.code", "plain"),
    Column("display", "t.code_display", "identifying"),
    Column("date", "coalesce(t.effective, t.effective_instant, t.effective_start)", "date"),
    Column("value", "t.value_quantity", "plain", "DOUBLE"),
    Column("unit", "t.value_unit", "plain"),
    Column("value_code", "t.value_code", "plain"),
    Column("value_text", "t.value_string", "identifying"),
)
_TABLES = {
    "conditions": ("condition", _CONDITION),
    "procedures": ("procedure", _PROCEDURE),
    "observations": ("observation", _OBSERVATION),
}


def _coded(question: Question, name: str, wanted: GetCoded) -> Extract:
    table, columns = _TABLES[name]
    return _extract(
        name, columns, f"{table} AS t JOIN ({_chosen(question, wanted, name)}) AS e ON e.id = t.id", "e.person_id"
    )


def _medications(question: Question, wanted: GetCoded) -> Extract:
    chosen = _chosen(question, wanted, "medications")
    both = f"""(
        SELECT e.person_id, t.id, 'prescribed' AS kind, t.status, t.authored AS at,
               coalesce(t.code_system, m.code_system) AS system, coalesce(t.code, m.code) AS code,
               coalesce(t.code_display, m.code_display) AS display
        FROM medication_request AS t
        JOIN ({chosen}) AS e ON e.id = t.id AND e.source = 'medication_request'
        LEFT JOIN medication AS m ON m.id = t.medication_id
        UNION ALL
        SELECT e.person_id, t.id, 'given', t.status, coalesce(t.effective, t.effective_start),
               coalesce(t.code_system, m.code_system), coalesce(t.code, m.code),
               coalesce(t.code_display, m.code_display)
        FROM medication_administration AS t
        JOIN ({chosen}) AS e ON e.id = t.id AND e.source = 'medication_administration'
        LEFT JOIN medication AS m ON m.id = t.medication_id
    ) AS t"""
    columns = (
        Column("medication_id", "t.id", "id"),
        Column("patient_id", "t.person_id", "patient"),
        Column("kind", "t.kind", "plain"),
        Column("status", "t.status", "plain"),
        Column("system", "t.system", "plain"),
        Column("code", "t.code", "plain"),
        Column("display", "t.display", "identifying"),
        Column("date", "t.at", "date"),
    )
    return _extract("medications", columns, both, "t.person_id")


def _studies(question: Question, wanted: Study) -> Extract:
    columns = (
        Column("study_id", "t.id", "id"),
        Column("patient_id", "e.person_id", "patient"),
        Column("study_uid", "t.study_uid", "uid"),
        Column("date", "t.started", "date"),
        Column("modalities", "t.modalities", "plain"),
        Column("series", "t.number_of_series", "plain", "BIGINT"),
        Column("instances", "t.number_of_instances", "plain", "BIGINT"),
        Column("reports", "(SELECT count(*) FROM report_of AS o WHERE o.study_id = t.id)", "plain", "BIGINT"),
        Column("accession", "t.accession", "identifying"),
        Column("description", "t.description", "identifying"),
    )
    chosen = _chosen(question, wanted, "study")
    return _extract("studies", columns, f"imaging_study AS t JOIN ({chosen}) AS e ON e.id = t.id", "e.person_id")


def _images(question: Question, wanted: Study) -> Extract:
    bare = "regexp_replace(t.study_uid, '^urn:oid:', '')"
    columns = (
        Column("study_id", "t.study_id", "id"),
        Column("patient_id", "e.person_id", "patient"),
        Column("study_uid", bare, "uid"),
        Column("series_uid", "t.series_uid", "uid"),
        Column("modality", "t.modality", "plain"),
        Column("body_site", "t.body_site", "plain"),
        Column("instances", "t.number_of_instances", "plain", "BIGINT"),
        Column("url", f"p.address || '/studies/' || {bare} || '/series/' || t.series_uid", "identifying"),
    )
    source = (
        f"imaging_series AS t JOIN ({_chosen(question, wanted, 'study')}) AS e ON e.id = t.study_id "
        "JOIN imaging_study AS s ON s.id = t.study_id LEFT JOIN endpoint AS p ON p.id = s.endpoint_id"
    )
    if wanted.modality is not None:
        source += f" WHERE {records.one_of('t.modality', wanted.modality)}"
    return _extract("images", columns, source, "e.person_id")


def _reports(question: Question, wanted: Study) -> Extract:
    columns = (
        Column("report_id", "t.id", "id"),
        Column("patient_id", "e.person_id", "patient"),
        Column("study_id", "o.study_id", "id"),
        Column("found_by", "o.found_by", "plain"),
        Column("status", "t.status", "plain"),
        Column("system", "t.code_system", "plain"),
        Column("code", "t.code", "plain"),
        Column("date", "coalesce(t.effective, t.effective_start, t.issued)", "date"),
        Column("conclusion", "t.conclusion", "identifying"),
    )
    source = (
        f"diagnostic_report AS t JOIN report_of AS o ON o.report_id = t.id "
        f"JOIN ({_chosen(question, wanted, 'study')}) AS e ON e.id = o.study_id"
    )
    return _extract("reports", columns, source, "e.person_id")


def _chosen(question: Question, wanted: GetCoded | Study, kind: str) -> str:
    """Return the requested records of members: ``person_id``, ``id``, ``source``."""
    rows, meets = _rows(wanted, question.asked, kind)
    within = inside(window(wanted.when, question.asked.as_of), "r.first", "r.last")
    return (
        "SELECT DISTINCT m.patient_id AS person_id, r.id, r.source "
        f"FROM ({rows}) AS r JOIN record_of AS w ON w.record_id = r.record_id "
        f"JOIN member AS m ON m.patient_id = w.patient_id WHERE {meets} AND coalesce({within}, FALSE)"
    )


def _rows(wanted: GetCoded | Study, asked: Asked, kind: str) -> tuple[str, str]:
    if isinstance(wanted, Study):
        return record_rows(wanted, asked, kind="study")
    meets = "TRUE"
    if wanted.codes is not None:
        meets = records.has_code("r.system", "r.code", asked.codes[wanted.codes])
    if kind == "conditions":
        rows = records.conditions("onset or recorded", provisional=True, restricted=asked.restricted)
    elif kind == "medications":
        rows = records.medications(restricted=asked.restricted)
    elif kind == "procedures":
        rows = records.procedures(restricted=asked.restricted)
    else:
        rows = records.observations(restricted=asked.restricted)
    return rows, meets


def _extract(name: str, columns: tuple[Column, ...], source: str, person: str) -> Extract:
    listed = ", ".join(f"{column.sql} AS {column.name}" for column in columns)
    return Extract(name, columns, f"SELECT DISTINCT {person} AS person_id, {listed} FROM {source}")
