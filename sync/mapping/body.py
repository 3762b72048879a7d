"""
Height and weight at the time of the study -> an Observation each, if DICOM_SYNC_DETAIL asks for it.

The study was planned with these values; they are not a history of the patient. So each Observation belongs to its
study, is deleted with it, and the study refers to it by an extension. That reference is logical: references by id in
both directions would be a cycle, which servers with referential integrity cannot delete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sync.config import MappingSettings, includes
from sync.mapping import mii
from sync.mapping.agreement import Witnesses
from sync.mapping.content import shown
from sync.mapping.resource import derived_id, study_id
from sync.mapping.terminology import LOINC, VITAL_SIGNS
from sync.mapping.validation import validated
from sync.mapping.values import Findings, first, ucum_quantity
from sync.model import Resource, StudyRef


class _Measure(NamedTuple):
    keyword: str
    place: str
    code: str
    display: str
    unit: str
    factor: int
    most: int
    url: str


_MEASURES = (
    _Measure("PatientSize", "height", "8302-2", "Body height", "cm", 2, 300, mii.HEIGHT),
    _Measure("PatientWeight", "weight", "29463-7", "Body weight", "kg", 0, 700, mii.WEIGHT),
)
"""PS3.3 C.7.2.2, metres and kilograms; R4 vital signs, which require centimetres."""

_IDENTIFIER = "urn:dicom-fhir-sync:body-"
"""Prefix of the systems of the identifiers by which a study refers to its Observations."""


def build_body(
    study: StudyRef, witnesses: Witnesses, began: str | None, settings: MappingSettings, findings: Findings
) -> list[Resource]:
    """
    Return the Observations of height and weight, 0..2, without subject and without a reference to the study.

    Parameters
    ----------
    began
        When the study, or its first series, began: R4 does not allow a vital sign without a time.
    """
    if not includes(settings.detail, "body"):
        return []
    made = [_observation(study, witnesses, measure, began, findings) for measure in _MEASURES]
    return [observation for observation in made if observation]


def _observation(
    study: StudyRef, witnesses: Witnesses, measure: _Measure, began: str | None, findings: Findings
) -> Resource | None:
    stated = first(witnesses.agree(measure.keyword), measure.keyword, findings)
    if stated is None:
        return None
    quantity = ucum_quantity(stated, measure.keyword, measure.unit, measure.unit, findings, factor=measure.factor)
    if quantity is None:
        return None
    if not 0 < quantity["value"] <= measure.most:
        findings.note(measure.keyword, "body.implausible", "left out")
        return None
    if began is None:
        findings.note(measure.keyword, "body.no_date", "left out")
        return None
    observation: Resource = {
        "resourceType": "Observation",
        "id": derived_id("Observation", study, "", measure.place),
        "identifier": [{"system": f"{_IDENTIFIER}{measure.place}", "value": study.key}],
        "status": "final",
        "category": [{"coding": [dict(VITAL_SIGNS)]}],
        "code": {"coding": [{"system": LOINC, "code": measure.code, "display": measure.display}]},
        "effectiveDateTime": began,
        "valueQuantity": quantity,
        "derivedFrom": [{"reference": f"ImagingStudy/{study_id(study)}"}],
    }
    return validated(observation)


def references(observations: Sequence[Resource]) -> list[Resource]:
    """Return the extensions of the ImagingStudy that name the Observations by identifier."""
    urls = {measure.code: measure.url for measure in _MEASURES}
    return [
        {
            "url": urls[observation["code"]["coding"][0]["code"]],
            "valueReference": {
                "type": "Observation",
                "identifier": observation["identifier"][0],
                "display": shown(observation["valueQuantity"]),
            },
        }
        for observation in observations
    ]
