"""Resources as the mapping makes them, about studies and patients that no other test uses."""

from __future__ import annotations

from dataclasses import dataclass

from sync.config import MappingSettings
from sync.mapping.imaging_study import build_study, with_subject
from sync.mapping.patient import build_patient
from sync.mapping.resource import patient_id, study_id, study_identifier
from sync.model import FhirWrite, PatientRow, Resource, StudyRef
from tests.contract.storage import fresh, fresh_study
from tests.mapping_rows import row

ODD_VALUE = r"a,b|c$d\ e+f%20ü"
SYSTEM = "urn:example:patients"


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """One study and its patient, ready to leave."""

    ref: StudyRef
    study: Resource
    patient: Resource

    @property
    def writes(self) -> list[FhirWrite]:
        """Both, the patient first."""
        return [put(self.patient), put(self.study)]

    @property
    def identifier(self) -> tuple[str, str]:
        """System and value under which the study is looked up."""
        return study_identifier(self.ref)


def mapped(instances: int = 3) -> Mapped:
    """Map a study with everything that servers are known to rewrite: fractions of seconds, extensions, odd letters."""
    ref, settings = fresh_study(), MappingSettings()
    said = {
        "PatientID": [fresh()],
        "PatientName": ["Yamada^Tarou^^Dr.^III=山田^太郎=やまだ^たろう"],
        "StudyTime": ["101530.123456"],
        "SeriesDate": ["20240117"],
        "SeriesTime": ["101530.000001"],
        "StudyDescription": ["  Größe <b>& mehr</b> \u2028 😀"],
        "PatientIdentityRemoved": ["YES"],
    }
    rows = [row(i, study=ref, **said) for i in range(1, instances + 1)]
    rows.append(row(instances + 1, study=ref, series="1.2.840.99999.1.2", without=("SOPClassUID",), **said))
    built = build_study(ref, rows, settings)
    claim = built.patient
    say = PatientRow(patient_key=claim.key, study=ref, study_date=claim.study_date, attributes=claim.attributes)
    patient = build_patient(claim.key, [say], settings).resource
    study = with_subject(built.imaging_study, patient_id(claim.key), claim)
    return Mapped(
        ref=ref,
        study={**study, "id": study_id(ref)},
        patient={**patient, "id": patient_id(claim.key)},
    )


def patient(resource_id: str | None = None, value: str | None = None, **elements: object) -> Resource:
    """A small Patient."""
    return {
        "resourceType": "Patient",
        "id": resource_id or fresh(),
        "identifier": [{"system": SYSTEM, "value": value or fresh()}],
        **elements,
    }


def put(resource: Resource, if_match: str | None = None) -> FhirWrite:
    """Write a resource."""
    kind, resource_id = resource["resourceType"], resource["id"]
    return FhirWrite(resource_type=kind, resource_id=resource_id, resource=resource, if_match=if_match)


def delete(resource: Resource) -> FhirWrite:
    """Delete a resource."""
    return FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"])
