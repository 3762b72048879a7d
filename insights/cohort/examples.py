"""Tiny patients as FHIR resources: the tests of a definition, and dummy data for each of its branches."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from insights.cohort.codes import Code, CodeSets
from insights.cohort.definition import Age, Criterion, Definition, Example, ExampleRecord, Measured, Study, Visit
from insights.cohort.question import compile_question
from insights.cohort.windows import window
from insights.collect import Store, build, read_folder
from insights.views import Catalogue

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tested:
    """The outcome of one test of a definition."""

    name: str
    expected: str
    outcome: str

    @property
    def passed(self) -> bool:
        """Return whether the outcome is the expected one."""
        return self.expected == self.outcome


def run_tests(definition: Definition, codes: CodeSets, as_of: date) -> tuple[Tested, ...]:
    """
    Run the tests of a definition: its patients are collected like real ones, in a temporary folder.

    Raises
    ------
    ViewError, DataError
        An example cannot be collected.
    """
    if not definition.tests:
        return ()
    resources = [
        resource for number, example in enumerate(definition.tests) for resource in _resources(f"t{number}", example)
    ]
    question = compile_question(definition, codes, as_of)
    with tempfile.TemporaryDirectory() as folder:
        source, store = Path(folder) / "ndjson", Store(Path(folder) / "data")
        write_ndjson(source, resources)
        catalogue = Catalogue.shipped()
        build(store, read_folder(source), catalogue, source="tests")
        with store.reading(catalogue) as reading:
            outcomes = dict(reading.connection.execute(question.answers()).fetchall())
    return tuple(
        Tested(example.name, example.expect, outcomes[f"t{number}"]) for number, example in enumerate(definition.tests)
    )


def write_ndjson(folder: Path, resources: Iterable[Resource]) -> dict[str, int]:
    """Write resources by type, sorted by id, and return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    by_type: dict[str, list[Resource]] = {}
    for resource in resources:
        by_type.setdefault(resource["resourceType"], []).append(resource)
    for kind, listed in by_type.items():
        lines = (
            json.dumps(resource, sort_keys=True)
            for resource in sorted(listed, key=lambda resource: str(resource["id"]))
        )
        (folder / f"{kind}.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
    return {kind: len(listed) for kind, listed in sorted(by_type.items())}


def dummy(definition: Definition, codes: CodeSets, as_of: date, *, per_branch: int) -> list[Resource]:
    """
    Return synthetic patients for every branch of a definition; deterministic.

    One group meets all criteria. For each criterion, one group fails only that one, and one cannot be decided on it.

    Parameters
    ----------
    each
        Patients of a group.
    """
    resources: list[Resource] = []
    for branch, example in _branches(definition, codes, as_of):
        for number in range(per_branch):
            resources += _resources(f"{branch}-{number}", example)
    return resources


def _branches(definition: Definition, codes: CodeSets, as_of: date) -> Iterator[tuple[str, Example]]:
    makers = [_Maker(criterion, codes, as_of) for criterion in definition.who]
    fine = [maker.meets() for maker in makers]
    yield "in", _merged("in", fine)
    for number, maker in enumerate(makers):
        others = fine[:number] + fine[number + 1 :]
        yield f"fails{number + 1}", _merged("out", [*others, maker.fails()])
        blurred = maker.blurred()
        if blurred is not None:
            yield f"undecided{number + 1}", _merged("undecided", [*others, blurred])


def _merged(expect: str, parts: list[dict[str, Any]]) -> Example:
    merged: dict[str, Any] = {}
    for part in parts:
        for field, value in part.items():
            merged[field] = [*merged.get(field, []), *value] if isinstance(value, list) else value
    return Example.model_validate({"name": expect, "expect": expect, **merged})


_FIELDS = {
    "diagnosis": "diagnoses",
    "medication": "medications",
    "procedure": "procedures",
    "observation": "observations",
    "study": "studies",
    "encounter": "encounters",
}


@dataclass(frozen=True, slots=True)
class _Maker:
    """Builds the part of an example that meets a criterion, fails it, or leaves it undecided."""

    criterion: Criterion
    codes: CodeSets
    as_of: date

    def meets(self) -> dict[str, Any]:
        value = self.criterion.value
        match self.criterion.kind:
            case "never":
                return _Maker(value, self.codes, self.as_of).fails()
            case "either":
                return _Maker(value[0], self.codes, self.as_of).meets()
            case "age":
                return {"born": self._born(value.bounds()[0])}
            case "sex":
                return {"sex": value[0]}
            case kind:
                return {_FIELDS[kind]: [self._record(self._inside())]}

    def fails(self) -> dict[str, Any]:
        value = self.criterion.value
        match self.criterion.kind:
            case "never":
                return _Maker(value, self.codes, self.as_of).meets()
            case "either":
                parts = [_Maker(inner, self.codes, self.as_of).fails() for inner in value]
                return {field: entry for part in parts for field, entry in part.items()}
            case "age":
                return {"born": self._born(self._wrong_age(value))}
            case "sex":
                others = [sex for sex in ("male", "female", "other", "unknown") if sex not in value]
                return {"sex": others[0]} if others else {}
            case kind:
                outside = self._outside()
                return {_FIELDS[kind]: [self._record(outside)]} if outside else {}

    def blurred(self) -> dict[str, Any] | None:
        value = self.criterion.value
        match self.criterion.kind:
            case "never":
                return _Maker(value, self.codes, self.as_of).blurred()
            case "either":
                return _Maker(value[0], self.codes, self.as_of).blurred()
            case "age":
                return {"born": str(self.as_of.year - value.bounds()[0])}
            case "sex":
                return {}
            case kind:
                return None if value.when == "ever" else {_FIELDS[kind]: [self._record(None)]}

    def _born(self, years: int) -> str:
        return (self.as_of - timedelta(days=round((years + 0.5) * 365.25))).isoformat()

    def _wrong_age(self, value: Age) -> int:
        least, most = value.bounds()
        return least - 2 if least >= 2 else (most or 0) + 2  # noqa: PLR2004 -- two years off

    def _inside(self) -> str:
        span = window(self.criterion.value.when, self.as_of)
        end = span.end or self.as_of
        start = span.start or end - timedelta(days=300)
        return (start + (end - start) / 2).isoformat()

    def _outside(self) -> str | None:
        span = window(self.criterion.value.when, self.as_of)
        if span.start is not None:
            return (span.start - timedelta(days=1)).isoformat()
        return None if span.words == "ever" else (span.end or self.as_of).replace(year=self.as_of.year + 1).isoformat()

    def _record(self, at: str | None) -> dict[str, Any]:
        value = self.criterion.value
        record: dict[str, Any] = {"date": at}
        if isinstance(value, Study):
            record["modality"] = (value.modality or ("CT",))[0]
            if value.body_site is not None:
                record["code"] = _example_code(self.codes[value.body_site][0])
        elif isinstance(value, Visit):
            record["class"] = value.kind[0]
        else:
            record["code"] = _example_code(self.codes[value.codes][0])
        if isinstance(value, Measured) and value.unit is not None:
            record |= {"unit": value.unit, "value": _between(value.above, value.below)}
        return record


def _between(above: float | None, below: float | None) -> float:
    if above is not None and below is not None:
        return (above + below) / 2
    return above + 1 if above is not None else (below or 0) - 1


def _example_code(code: Code) -> str:
    return f"{code.system}|{code.code.replace('*', '0')}"


def _resources(identity: str, example: Example) -> Iterator[Resource]:
    patient: Resource = {"resourceType": "Patient", "id": identity, "meta": {"versionId": "1"}}
    patient |= {"birthDate": example.born} if example.born else {}
    patient |= {"gender": example.sex} if example.sex else {}
    yield patient
    for field, (kind, make) in _MAKERS.items():
        for number, record in enumerate(getattr(example, field)):
            made = make(record)
            subject = {"reference": f"Patient/{identity}"}
            base = {"resourceType": kind, "id": f"{identity}-{field}-{number}", "meta": {"versionId": "1"}}
            yield {**base, "subject": subject, **{key: value for key, value in made.items() if value is not None}}


def _concept(record: ExampleRecord) -> Resource | None:
    if record.code is None:
        return None
    system, _, code = record.code.partition("|")
    return {"coding": [{"system": system, "code": code}]}


def _condition(record: ExampleRecord) -> Resource:
    verification = {"coding": [{"code": record.status or "confirmed"}]}
    return {"code": _concept(record), "onsetDateTime": record.date, "verificationStatus": verification}


def _medication(record: ExampleRecord) -> Resource:
    concept = _concept(record)
    return {
        "status": record.status or "active",
        "intent": "order",
        "medicationCodeableConcept": concept,
        "authoredOn": record.date,
    }


def _procedure(record: ExampleRecord) -> Resource:
    return {"status": record.status or "completed", "code": _concept(record), "performedDateTime": record.date}


def _observation(record: ExampleRecord) -> Resource:
    quantity = None if record.value is None else {"value": record.value, "code": record.unit}
    return {
        "status": record.status or "final",
        "code": _concept(record),
        "effectiveDateTime": record.date,
        "valueQuantity": quantity,
    }


def _study(record: ExampleRecord) -> Resource:
    modality = None if record.modality is None else {"code": record.modality}
    series = {"uid": "1.2.3", "modality": modality or {"code": "OT"}}
    concept = _concept(record)
    if concept is not None:
        series["bodySite"] = concept["coding"][0]
    return {
        "status": record.status or "available",
        "started": record.date,
        "modality": [modality] if modality else None,
        "series": [series],
    }


def _encounter(record: ExampleRecord) -> Resource:
    period = {"start": record.date} if record.date else None
    return {"status": record.status or "finished", "class": {"code": record.kind or "AMB"}, "period": period}


_MAKERS = {
    "diagnoses": ("Condition", _condition),
    "medications": ("MedicationRequest", _medication),
    "procedures": ("Procedure", _procedure),
    "observations": ("Observation", _observation),
    "studies": ("ImagingStudy", _study),
    "encounters": ("Encounter", _encounter),
}
