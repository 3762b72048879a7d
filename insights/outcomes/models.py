"""A report on one version of an algorithm: compares its findings with outcomes, and its sizes with implants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from insights.cohort.deidentify import Pseudonyms, read_key
from insights.cohort.protection import MINIMUM
from insights.collect.store import Reading, Store
from insights.data_folder import KEY
from insights.errors import OutcomeError, Withheld
from insights.outcomes.cells import cells_of, measures, size_measures
from insights.outcomes.charting import measure_report, monthly_svg
from insights.outcomes.findings import match_model, model_devices
from insights.outcomes.matching import Matched, said_of
from insights.outcomes.people import choose_people
from insights.outcomes.rule import Prepared, prepare
from insights.outcomes.strata import Patient, divided, keys, read_patients, told
from insights.outcomes.systems import check_systems
from insights.outcomes.telling import model_text
from insights.outcomes.truths import read_outcomes
from insights.outcomes.writing import Results, audit, write_results
from insights.views import Catalogue


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    The options of a report.

    Attributes
    ----------
    rows
        Whether to write ``truth.ndjson`` and show small cells; needs purpose and approval.
    identified
        Whether rows have real ids and UIDs.
    key
        File with the site's key; None for the file beside the data.
    """

    out: Path
    overwrite: bool = False
    rows: bool = False
    identified: bool = False
    key: Path | None = None
    minimum: int = MINIMUM


@dataclass(frozen=True, slots=True)
class Compared:
    """A model's findings and outcomes until a day, the patients, and the Study Instance UIDs by ImagingStudy id."""

    as_of: date
    patients: dict[str, Patient]
    findings: tuple[Matched, ...]
    sizes: tuple[Matched, ...]
    study_uids: dict[str, str]


def report(file: Path, data: Path, model: str, wanted: Wanted) -> str:
    """
    Write a report on a model as text and JSON, and the outcomes of its findings if rows are requested; return the text.

    Raises
    ------
    OutcomeError
        The rule is wrong, no model of that name and version has findings, or the data is coded in other systems.
    Withheld
        ``outcome.approval_missing``, ``outcome.too_few``; nothing was written.
    """
    prepared = prepare(file)
    if wanted.rows:
        _check_approval(prepared)
    with Store(data).reading(Catalogue.shipped()) as reading:
        compared = _compare(reading, prepared, model)
        version = reading.collected.data_version
    answered = [pair for pair in (*compared.findings, *compared.sizes) if pair.answer]
    if 0 < len({pair.finding.patient_id for pair in answered}) < wanted.minimum:
        raise Withheld(
            f"outcomes are known of fewer than {wanted.minimum} people", code="outcome.too_few", hint="Wait for more."
        )
    facts = _facts(prepared, compared, model, 1 if wanted.rows else wanted.minimum) | {"data": version}
    tables = {"truth.ndjson": _truth(prepared, compared, model, wanted, data)} if wanted.rows else {}
    drawings = {}
    if facts["findings"] is not None:
        drawings["monthly.svg"] = monthly_svg(facts["findings"]["strata"]["month"])
        drawings["measure-report.json"] = json.dumps(measure_report(facts), indent=1) + "\n"
    results = Results(model_text(facts), facts, tables, drawings)
    write_results(wanted.out, results, overwrite=wanted.overwrite)
    if wanted.rows:
        noted = {"purpose": prepared.rule.purpose, "approval": prepared.rule.approval, "identified": wanted.identified}
        line = {"command": "models report", "rule": prepared.rule.rule, "model": model, **noted}
        audit(data, {**line, "rows": len(tables["truth.ndjson"])}, wanted.out)
    return results.text


def _check_approval(prepared: Prepared) -> None:
    for field in ("purpose", "approval"):
        if getattr(prepared.rule, field) is None:
            place = prepared.located.where((field,))
            raise Withheld(f"{place}: rows need {field}", code="outcome.approval_missing", hint="Counts need neither.")


def _compare(reading: Reading, prepared: Prepared, model: str) -> Compared:
    rule, codes, connection = prepared.rule, prepared.codes, reading.connection
    as_of = choose_people(reading, prepared, research=True)
    devices = model_devices(connection, model)
    check_systems(connection, prepared)
    findings, sizes = match_model(connection, devices, rule, codes, read_outcomes(connection, rule, codes))
    if not findings and not sizes:
        raise OutcomeError(
            "no finding of this model has a code of the rule",
            code="models.nothing_coded",
            hint="Compare `said` and `size` of the rule with the codes of the model's Observations.",
        )
    uids = connection.execute("SELECT id, study_uid FROM imaging_study WHERE study_uid IS NOT NULL").fetchall()
    return Compared(as_of, read_patients(connection), findings, sizes, dict(uids))


def _facts(prepared: Prepared, compared: Compared, model: str, minimum: int) -> dict[str, Any]:
    rule = prepared.rule
    facts: dict[str, Any] = {
        "rule": rule.rule,
        "model": model,
        "as_of": compared.as_of.isoformat(),
        "minimum": minimum,
        "findings": None,
        "sizes": None,
    }
    if rule.said is not None:
        certain = [pair for pair in compared.findings if not (pair.answer and pair.answer.flags)]
        every = measures(cells_of(compared.findings), minimum)
        flagged = len(compared.findings) - len(certain)
        facts["findings"] = {
            "within_days": rule.within_days,
            "all": every,
            # total and part together reveal the rest, so the rest must not be a small cell either
            "certain": measures(cells_of(certain), minimum) if flagged and _may_tell_rest(compared, minimum) else None,
            "not_counted": _not_counted(compared.findings, minimum),
            "strata": {
                name: told(divided(compared.findings, key), minimum) for name, key in keys(compared.patients).items()
            },
        }
    if rule.size is not None:
        facts["sizes"] = {
            "within_days": rule.size.within_days,
            **size_measures(compared.sizes, minimum),
            "not_counted": _not_counted(compared.sizes, minimum),
        }
    return facts


def _may_tell_rest(compared: Compared, minimum: int) -> bool:
    """Return whether no cell of the flagged pairs is a small one."""
    rest = cells_of([pair for pair in compared.findings if pair.answer and pair.answer.flags])
    return all(count == 0 or count >= minimum for count in rest.people.values())


def _not_counted(matched: Sequence[Matched], minimum: int) -> dict[str, int | None]:
    """Return the number of findings with outcomes that are shown and not counted; None is hidden."""
    names = {"other_side": "other side", "waiting": "waiting", "undecidable": "undecidable"}
    counts = {name: len({pair.finding.patient_id for pair in matched if getattr(pair, name)}) for name in names}
    return {name: count if count == 0 or count >= minimum else None for name, count in counts.items()}


def _truth(prepared: Prepared, compared: Compared, model: str, wanted: Wanted, data: Path) -> list[dict[str, Any]]:
    """Return the outcome of each finding, for training, with pseudonyms and hashed UIDs unless identified."""
    names = None
    if not wanted.identified:
        names = Pseudonyms.of_project(read_key(wanted.key or data / KEY), str(prepared.rule.approval))

    def name(kind: str, value: str) -> str:
        return value if names is None else names.name(kind, value)

    rows = []
    for pair in (*compared.findings, *compared.sizes):
        if pair.answer is None:
            continue
        finding, truth = pair.finding, pair.answer.truth
        uid = compared.study_uids.get(finding.study_id or "")
        rows.append(
            {
                "model": model,
                "finding": name("finding", finding.id),
                "patient": name("patient", finding.patient_id),
                "study_uid": uid if names is None or uid is None else names.uid(uid),
                "said": said_of(finding.said) or None,
                "said_size_mm": finding.size,
                "site": finding.place.site,
                "side": finding.place.side,
                "found": said_of(truth.found) or None,
                "used_size_mm": truth.size,
                "found_by": truth.kind,
                "days_between": pair.answer.between,
                "flags": list(pair.answer.flags),
            }
        )
    return sorted(rows, key=lambda row: (str(row["patient"]), str(row["finding"])))
