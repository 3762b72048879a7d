"""Reads findings in images: of readers from reports, of algorithms from Observations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from insights.cohort.codes import CodeSets
from insights.cohort.days import first_day, last_day
from insights.cohort.records import has_code
from insights.errors import OutcomeError
from insights.outcomes.coded import LATERALITY, common_place, judged, place, place_of
from insights.outcomes.matching import Finding, Matched, Place, match
from insights.outcomes.rule import Rule, Size
from insights.outcomes.truths import Outcomes, days_of, left_out

_IMAGING = "regexp_matches(coalesce(r.category, ''), '(^|[|])(RAD|IMG|LP29684-5|imaging)([|]|$)')"
_SIDE = f"""(SELECT min(c.value_code) FROM observation_component AS c
             WHERE c.observation_id = o.id AND c.code = '{LATERALITY}')"""


@dataclass(frozen=True, slots=True)
class Reads:
    """
    The reads of one reader.

    Attributes
    ----------
    count
        Final imaging reports.
    findings
        Findings in them, one or more per report; `said` is None if the report has no code of the rule.
    preliminary
        Reports that are not final and so do not count as reads yet.
    """

    count: int
    findings: tuple[Finding, ...]
    preliminary: int


def read_reads(connection: duckdb.DuckDBPyConnection, reader: str | None, rule: Rule, codes: CodeSets) -> Reads:
    """
    Return the reads of a reader, and create the temporary table ``read`` with them.

    Parameters
    ----------
    reader
        ``Practitioner/ID`` (its roles count), ``SYSTEM|VALUE`` or only a value, as written in the reports; None for the
        reads of all readers, which may be empty.

    Raises
    ------
    OutcomeError
        ``feedback.unknown_reader``: no report names that reader.
    """
    asked = (_BY_READER, _reader(reader)) if reader is not None else (_BY_ANY, [])
    connection.execute(_REPORTS.format(left_out=left_out(rule, "r"), by=asked[0]), asked[1])
    row = connection.execute("SELECT count(*) FILTER (final), count(*) FILTER (NOT final) FROM read").fetchone()
    assert row is not None
    if row == (0, 0) and reader is not None:
        raise OutcomeError(
            "no imaging report names that reader",
            code="feedback.unknown_reader",
            hint="Give Practitioner/ID, or SYSTEM|VALUE as resultsInterpreter.identifier has it.",
        )
    assert rule.said is not None
    concluded = judged("c.code_system", "c.code", rule.said, codes)
    reports = connection.execute(
        f"""SELECT r.id, any_value(r.patient_id), any_value(r.study_id), {first_day("any_value(r.at)")},
                   {last_day("any_value(r.at)")}, bool_or({concluded})
            FROM read AS r LEFT JOIN report_conclusion AS c ON c.report_id = r.id
            WHERE r.final GROUP BY r.id ORDER BY r.id"""
    ).fetchall()
    results, studies = _results(connection, rule, codes), _series(connection, rule, codes)
    findings: list[Finding] = []
    for identity, patient, study, first, last, said in reports:
        plain = Finding(identity, identity, patient, days_of(first, last), study_id=study)
        findings += _of_report(plain, said, results[identity], studies[study])
    return Reads(int(row[0]), tuple(findings), int(row[1]))


def _reader(reader: str) -> list[str]:
    """Return the id, system and value that name a reader; the unused ones are empty."""
    if reader.startswith("Practitioner/"):
        return [reader.removeprefix("Practitioner/"), "", ""]
    system, bar, value = reader.rpartition("|")
    return ["", system if bar else "", value]


_BY_ANY = "SELECT report_id FROM report_interpreter"
_BY_READER = """
    WITH asked AS (SELECT ? AS id, ? AS system, ? AS value)
    SELECT i.report_id FROM report_interpreter AS i CROSS JOIN asked AS a
    LEFT JOIN practitioner_role AS p ON p.id = i.role_id
    WHERE i.practitioner_id = a.id OR p.practitioner_id = a.id
       OR (a.value <> '' AND i.identifier_value = a.value AND a.system IN ('', coalesce(i.identifier_system, '')))"""
_REPORTS = f"""
CREATE OR REPLACE TEMP TABLE read AS
SELECT r.id, any_value(w.patient_id) AS patient_id, any_value(s.study_id) AS study_id,
       any_value(coalesce(r.effective, r.effective_start, r.issued)) AS at,
       bool_or(r.status IN ('final', 'amended', 'corrected', 'appended')) AS final
FROM diagnostic_report AS r JOIN record_of AS w ON w.record_id = r.patient_id
JOIN member AS m ON m.patient_id = w.patient_id
LEFT JOIN (SELECT report_id, min(study_id) AS study_id FROM report_of GROUP BY report_id) AS s ON s.report_id = r.id
WHERE ({_IMAGING} OR s.study_id IS NOT NULL) AND coalesce(r.status, '') NOT IN ('entered-in-error', 'cancelled')
  AND NOT {{left_out}}
  AND r.id IN ({{by}})
GROUP BY r.id"""


_Result = tuple[bool | None, Place]


def _results(connection: duckdb.DuckDBPyConnection, rule: Rule, codes: CodeSets) -> dict[str, list[_Result]]:
    """Return the statements of each read's Observations, and their places."""
    assert rule.said is not None
    value = judged("o.value_code_system", "o.value_code", rule.said, codes)
    own = judged("o.code_system", "o.code", rule.said, codes)
    rows = connection.execute(
        f"""SELECT l.report_id, o.id, bool_or(coalesce({value}, {own})), any_value({_SIDE}),
                   any_value({place("o.body_site_system", "o.body_site", rule, codes)})
            FROM report_result AS l JOIN read AS r ON r.id = l.report_id
            JOIN observation AS o ON o.id = l.observation_id
            WHERE coalesce(o.status, '') NOT IN ('entered-in-error', 'cancelled') GROUP BY ALL ORDER BY 1, 2"""
    ).fetchall()
    by_report: dict[str, list[_Result]] = defaultdict(list)
    for report, _, said, side, site in rows:
        by_report[report].append((said, place_of(site, side, rule)))
    return by_report


def _series(connection: duckdb.DuckDBPyConnection, rule: Rule, codes: CodeSets) -> dict[str | None, list[Place]]:
    """Return the body sites of the series of the studies."""
    rows = connection.execute(
        f"""SELECT DISTINCT study_id, laterality, {place("body_site_system", "body_site", rule, codes)}
            FROM imaging_series WHERE body_site IS NOT NULL ORDER BY ALL"""
    ).fetchall()
    by_study: dict[str | None, list[Place]] = defaultdict(list)
    for study, side, site in rows:
        by_study[study].append(place_of(site, side, rule))
    return by_study


def _of_report(
    plain: Finding,
    said: bool | None,  # noqa: FBT001 -- the value to judge
    results: Sequence[_Result],
    series: list[Place],
) -> list[Finding]:
    """
    Return the findings of a report, from its conclusion, else from its results; one per place with a yes.

    The place is that of the results with that statement, else of all results, else of the series.
    """
    told_by = "conclusionCode"
    if said is None:
        judgements = {judgement for judgement, _ in results if judgement is not None}
        said = True if True in judgements else False if judgements else None
        told_by = "result" if judgements else ""
    places = sorted({where for judgement, where in results if judgement is said and said is not None}, key=repr)
    if said is not True or not places[1:]:
        candidates = [common_place(places or [where for _, where in results]), common_place(series)]
        places = [next((place for place in candidates if place.site is not None), candidates[0])]
    alone = len(places) == 1
    return [
        Finding(
            plain.id if alone else f"{plain.id}#{number}",
            plain.record_id, plain.patient_id, plain.days, where, said, None, plain.study_id, told_by,
        )
        for number, where in enumerate(places, start=1)
    ]  # fmt: skip


def model_devices(connection: duckdb.DuckDBPyConnection, model: str) -> tuple[str, ...]:
    """
    Return the Devices of an algorithm by its name and version, as ``NAME VERSION``.

    Raises
    ------
    OutcomeError
        ``models.unknown``: no Device of that name and version has Observations; the message names those that have.
    """
    models = known_models(connection)
    if model not in models:
        raise OutcomeError(
            "no model of that name and version has findings",
            code="models.unknown",
            hint=f"Known: {', '.join(list(models)[:10]) or 'none'}.",
        )
    return models[model]


def known_models(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    """Return the Devices of each algorithm that has Observations, by ``NAME VERSION`` in order."""
    rows = connection.execute(
        """SELECT coalesce(d.name, d.model_name) || coalesce(' ' || d.version, '') AS named,
                  list(DISTINCT d.id ORDER BY d.id)
           FROM device AS d JOIN observation AS o ON o.device_id = d.id
           WHERE coalesce(d.name, d.model_name) IS NOT NULL GROUP BY named ORDER BY named"""
    ).fetchall()
    return {named: tuple(devices) for named, devices in rows}


def match_model(
    connection: duckdb.DuckDBPyConnection, devices: Sequence[str], rule: Rule, codes: CodeSets, outcomes: Outcomes
) -> tuple[tuple[Matched, ...], tuple[Matched, ...]]:
    """Return the findings of a model and its sizes, each with its outcomes; only those that the rule asks for."""
    findings: tuple[Matched, ...] = ()
    sizes: tuple[Matched, ...] = ()
    if rule.said is not None:
        model_findings = _model_findings(connection, devices, rule, codes)
        findings = match(model_findings, outcomes.truths, rule.within_days)
    if rule.size is not None:
        recommended = _model_sizes(connection, devices, rule, codes, rule.size)
        sizes = match(recommended, outcomes.implants, rule.size.within_days)
    return findings, sizes


def _model_findings(
    connection: duckdb.DuckDBPyConnection, devices: Sequence[str], rule: Rule, codes: CodeSets
) -> list[Finding]:
    """Return the Observations of a model that say yes or no, including preliminary ones, because models write those."""
    assert rule.said is not None
    value = judged("o.value_code_system", "o.value_code", rule.said, codes)
    own = judged("o.code_system", "o.code", rule.said, codes)
    query = _model_query(f"bool_or(coalesce({value}, {own}))", "NULL", rule, codes)
    return _model_rows(connection, query, devices, rule)


def _model_sizes(
    connection: duckdb.DuckDBPyConnection, devices: Sequence[str], rule: Rule, codes: CodeSets, size: Size
) -> list[Finding]:
    """Return the sizes in millimetres that a model recommended; other units never count."""
    wanted = has_code("o.code_system", "o.code", codes[size.said])
    value = f"max(CASE WHEN {wanted} AND o.value_unit = 'mm' AND o.value_quantity > 0 THEN o.value_quantity END)"
    return _model_rows(connection, _model_query("NULL", value, rule, codes), devices, rule)


def _model_query(said: str, value: str, rule: Rule, codes: CodeSets) -> str:
    at = "any_value(coalesce(o.effective, o.effective_instant, o.effective_start, s.started, o.issued))"
    return f"""
    SELECT o.id, any_value(w.patient_id), any_value(o.study_id), {first_day(at)}, {last_day(at)},
           {said} AS said, {value} AS value, any_value({_SIDE}),
           any_value({place("o.body_site_system", "o.body_site", rule, codes)})
    FROM observation AS o JOIN record_of AS w ON w.record_id = o.patient_id
    JOIN member AS m ON m.patient_id = w.patient_id LEFT JOIN imaging_study AS s ON s.id = o.study_id
    WHERE list_contains(?, o.device_id) AND coalesce(o.status, '') NOT IN ('entered-in-error', 'cancelled')
      AND NOT {left_out(rule, "o")}
    GROUP BY o.id HAVING said IS NOT NULL OR value IS NOT NULL ORDER BY o.id"""


def _model_rows(connection: duckdb.DuckDBPyConnection, query: str, devices: Sequence[str], rule: Rule) -> list[Finding]:
    return [
        Finding(
            identity, identity, patient, days_of(first, last), place_of(site, side, rule), said,
            None if value is None else float(value), study, "observation",
        )
        for identity, patient, study, first, last, said, value, side, site in connection.execute(
            query, [list(devices)]
        ).fetchall()
    ]  # fmt: skip
