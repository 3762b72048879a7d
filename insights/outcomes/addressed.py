"""Findings of all readers and models with their outcomes and addressees, for the watch and for reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import duckdb

from insights.collect.store import Reading
from insights.outcomes.addressees import Addressed, Addressee
from insights.outcomes.findings import known_models, match_model, read_reads
from insights.outcomes.matching import match
from insights.outcomes.people import choose_people
from insights.outcomes.rule import Prepared
from insights.outcomes.truths import read_outcomes, read_truths

TABLES = frozenset({
    "condition", "consent", "device", "device_property", "diagnostic_report", "imaging_series", "imaging_study",
    "observation", "observation_component", "patient", "patient_link", "practitioner_role", "procedure",
    "procedure_device", "report_conclusion", "report_interpreter", "report_result", "report_specimen", "report_study",
    "specimen",
})  # fmt: skip
"""The tables that `addressed` reads for any rule: a watch builds only these."""


def addressed(reading: Reading, prepared: Prepared) -> tuple[Addressed, ...]:
    """
    Match the findings of all readers and models.

    Consent to research is required only for findings of models: a reader's patients are in the reader's care.

    Raises
    ------
    OutcomeError
        ``outcome.no_day``, ``outcome.stale_data``.
    """
    return (*_of_readers(reading, prepared), *_of_models(reading, prepared))


def _of_readers(reading: Reading, prepared: Prepared) -> list[Addressed]:
    rule, codes, connection = prepared.rule, prepared.codes, reading.connection
    if rule.said is None:
        return []
    choose_people(reading, prepared, research=False)
    reads = read_reads(connection, None, rule, codes)
    readers = _readers(connection)
    matched = match(reads.findings, read_truths(connection, rule, codes), rule.within_days)
    return [Addressed(to, pair) for pair in matched for to in readers.get(pair.finding.record_id, ())]


def _readers(connection: duckdb.DuckDBPyConnection) -> Mapping[str, list[Addressee]]:
    """Return the readers of each report of table ``read``; organizations are no readers."""
    rows = connection.execute(
        """SELECT DISTINCT i.report_id, coalesce(i.practitioner_id, p.practitioner_id, '') AS id,
                  coalesce(i.identifier_system, '') AS system, coalesce(i.identifier_value, '') AS value
           FROM report_interpreter AS i JOIN read AS r ON r.id = i.report_id
           LEFT JOIN practitioner_role AS p ON p.id = i.role_id
           WHERE i.interpreter_id IS NULL OR i.practitioner_id IS NOT NULL OR i.role_id IS NOT NULL ORDER BY ALL"""
    ).fetchall()
    by_report: dict[str, list[Addressee]] = defaultdict(list)
    for report, practitioner, system, value in rows:
        if practitioner:
            by_report[report].append(Addressee(reference=f"Practitioner/{practitioner}"))
        elif value:
            by_report[report].append(Addressee(system=system, value=value))
    return by_report


def _of_models(reading: Reading, prepared: Prepared) -> list[Addressed]:
    rule, codes, connection = prepared.rule, prepared.codes, reading.connection
    choose_people(reading, prepared, research=True)
    outcomes = read_outcomes(connection, rule, codes)
    addressed = []
    for model, devices in known_models(connection).items():
        findings, sizes = match_model(connection, devices, rule, codes, outcomes)
        to = Addressee(reference=f"Device/{devices[0]}", model=model)
        addressed += [Addressed(to, pair) for pair in (*findings, *sizes)]
    return addressed
