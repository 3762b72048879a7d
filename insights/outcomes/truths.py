"""Reads outcomes: pathology reports, else procedures, else conditions; and implants with their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from insights.cohort.codes import CodeSets
from insights.cohort.days import first_day, last_day
from insights.cohort.records import has_code
from insights.outcomes.coded import common_place, judged, place, place_of
from insights.outcomes.matching import Days, Truth
from insights.outcomes.rule import Judged, Rule, Size

_FINAL = {"final", "amended", "corrected", "appended", "completed", "confirmed"}
_PATHOLOGY = "regexp_matches(coalesce(r.category, ''), '(^|[|])(PAT|SP|CP|LP7839-6)([|]|$)')"
"""Categories of pathology and cytopathology: HL7 table 0074, LOINC."""

KINDS = ("pathology", "procedure", "condition")
"""Kinds of outcomes, from the strongest to the weakest."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outcomes and implants of members, as far as the rule asks for them."""

    truths: Sequence[Truth]
    implants: Sequence[Truth]


def read_outcomes(connection: duckdb.DuckDBPyConnection, rule: Rule, codes: CodeSets) -> Outcomes:
    """Return all outcomes and implants to match with the findings of a model."""
    truths = read_truths(connection, rule, codes) if rule.said is not None else ()
    implants = read_implants(connection, rule, codes, rule.size) if rule.size is not None else ()
    return Outcomes(truths, implants)


def read_truths(connection: duckdb.DuckDBPyConnection, rule: Rule, codes: CodeSets) -> list[Truth]:
    """Return the outcomes of members with codes of the rule; one row per record."""
    assert rule.found is not None
    queries = (_pathology(rule, codes, rule.found), _procedures(rule, codes, rule.found), _conditions(rule, codes))
    truths = []
    for rank, (kind, query) in enumerate(zip(KINDS, queries, strict=True)):
        for row in connection.execute(query).fetchall():
            identity, patient, status, positive, places, first, last = row
            where = common_place([place_of(site, None, rule) for site in places or ()])
            final = status in _FINAL
            truths.append(Truth(identity, kind, rank, patient, days_of(first, last), final, where, found=positive))
    return truths


def read_implants(connection: duckdb.DuckDBPyConnection, rule: Rule, codes: CodeSets, size: Size) -> list[Truth]:
    """
    Return the implanted devices with the size from their property; units other than mm never count.

    Source: FHIR R4 Procedure.focalDevice with action implanted, Device.property; DICOM millimetres.
    """
    used = has_code("d.type_system", "d.type", codes[size.used])
    query = f"""
    SELECT r.id || '/' || d.device_id, w.patient_id, any_value(r.status), min(d.value_quantity),
           list(DISTINCT {place("r.body_site_system", "r.body_site", rule, codes)}) AS places,
           {_days("coalesce(r.performed, r.performed_start)")}
    FROM procedure AS r JOIN procedure_device AS p ON p.procedure_id = r.id
    JOIN device_property AS d ON d.device_id = p.device_id JOIN record_of AS w ON w.record_id = r.patient_id
    JOIN member AS m ON m.patient_id = w.patient_id
    WHERE {used} AND d.value_unit = 'mm' AND d.value_quantity > 0 AND lower(coalesce(p.action, '')) IN
          ('implanted', '257867005') AND {_status("entered-in-error", "not-done", "preparation")}
      AND NOT {left_out(rule, "r")}
    GROUP BY r.id, d.device_id, w.patient_id ORDER BY 1"""
    implants = []
    for identity, patient, status, value, places, first, last in connection.execute(query).fetchall():
        where = common_place([place_of(site, None, rule) for site in places or ()])
        days = days_of(first, last)
        implants.append(Truth(identity, "implant", 0, patient, days, status in _FINAL, where, size=float(value)))
    return implants


def days_of(first: Any, last: Any) -> Days | None:
    """Return an interval of days; None if one end is unknown."""
    return Days(first, last) if isinstance(first, date) and isinstance(last, date) else None


def _days(sql: str) -> str:
    return f"{first_day(f'any_value({sql})')}, {last_day(f'any_value({sql})')}"


def _status(*unwanted: str, name: str = "status") -> str:
    return f"coalesce(r.{name}, '') NOT IN ({', '.join(repr(status) for status in unwanted)})"


def left_out(rule: Rule, row: str) -> str:
    """Return the condition that a row is not used: it is labelled restricted, or very restricted (HL7 v3)."""
    return "FALSE" if rule.restricted else f"regexp_matches(coalesce({row}.confidentiality, ''), '(^|[|])(R|V)([|]|$)')"


def _pathology(rule: Rule, codes: CodeSets, positive: Judged) -> str:
    """Return pathology reports by their coded conclusions; of several conclusions, one that says yes counts."""
    site = place("s.body_site_system", "s.body_site", rule, codes)
    return f"""
    SELECT r.id, w.patient_id, any_value(r.status), bool_or({judged("c.code_system", "c.code", positive, codes)})
               AS is_so,
           list(DISTINCT {site}) FILTER (s.id IS NOT NULL),
           {_days("coalesce(s.collected, s.collected_start, r.effective, r.effective_start, r.issued)")}
    FROM diagnostic_report AS r JOIN report_conclusion AS c ON c.report_id = r.id
    LEFT JOIN report_specimen AS l ON l.report_id = r.id LEFT JOIN specimen AS s ON s.id = l.specimen_id
    JOIN record_of AS w ON w.record_id = r.patient_id JOIN member AS m ON m.patient_id = w.patient_id
    WHERE ({_PATHOLOGY} OR l.specimen_id IS NOT NULL) AND {_status("entered-in-error", "cancelled")}
      AND NOT {left_out(rule, "r")}
    GROUP BY r.id, w.patient_id HAVING is_so IS NOT NULL ORDER BY 1"""


def _procedures(rule: Rule, codes: CodeSets, positive: Judged) -> str:
    coded = f"""coalesce({judged("r.code_system", "r.code", positive, codes)},
                         {judged("r.outcome_system", "r.outcome", positive, codes)})"""
    unwanted = _status("entered-in-error", "not-done", "stopped")
    return _plain("procedure", rule, codes, coded, "r.status", "coalesce(r.performed, r.performed_start)", unwanted)


def _conditions(rule: Rule, codes: CodeSets) -> str:
    assert rule.found is not None
    coded = judged("r.code_system", "r.code", rule.found, codes)
    unwanted = _status("entered-in-error", "refuted", name="verification_status")
    status = "coalesce(r.verification_status, 'confirmed')"
    return _plain("condition", rule, codes, coded, status, "coalesce(r.recorded, r.onset, r.onset_start)", unwanted)


def _plain(  # noqa: PLR0917 -- the parts of one query
    table: str, rule: Rule, codes: CodeSets, coded: str, status: str, at: str, unwanted: str
) -> str:
    return f"""
    SELECT r.id, w.patient_id, any_value({status}), bool_or({coded}) AS is_so,
           list(DISTINCT {place("r.body_site_system", "r.body_site", rule, codes)}), {_days(at)}
    FROM {table} AS r JOIN record_of AS w ON w.record_id = r.patient_id JOIN member AS m ON m.patient_id = w.patient_id
    WHERE {unwanted} AND NOT {left_out(rule, "r")}
    GROUP BY r.id, w.patient_id HAVING is_so IS NOT NULL ORDER BY 1"""
