"""
ImagingStudy: all instances of one study -> study, series and instance elements.

In: the ledger rows of the study, in any order, an instance perhaps in several objects. Out: one resource that depends
only on the set of instances: sorted, recounted, without clock or run id. The mapping table is R4's own
(``StructureDefinition-ImagingStudy``, mapping ``dicom``); docs/mapping.md states the choices that it leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync.config import MappingSettings
from sync.dicom.attributes import items, texts
from sync.mapping.agreement import Witnesses, current_instances, one_of_each
from sync.mapping.body import build_body, references
from sync.mapping.codes import with_declared_schemes
from sync.mapping.derived import build_derived
from sync.mapping.endpoint import build_containers, build_endpoint, object_urls
from sync.mapping.imaging_series import Series, build_series
from sync.mapping.patient import PatientClaim, claim_patient
from sync.mapping.people import Role, people
from sync.mapping.rejections import is_rejection_note
from sync.mapping.requests import accession_numbers, based_on, encounter, procedures, reasons
from sync.mapping.resource import content_hash, study_id
from sync.mapping.terminology import ACQUISITION_MODALITIES, DICOM_UID_SYSTEM, STUDY_INSTANCE_UID, modality_system
from sync.mapping.timestamps import Keywords, fhir_datetime, instant_key
from sync.mapping.validation import validated
from sync.mapping.values import Findings, clean, filled, is_strict_uid, one_text
from sync.model import Attributes, Finding, LedgerRow, Resource, StudyRef

_STARTED = Keywords(date="StudyDate", time="StudyTime")
_REFERRER = Role("ReferringPhysicianName", "ReferringPhysicianIdentificationSequence")
_READERS = Role("NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence")
_SCHEMES = "CodingSchemeIdentificationSequence"
_PLACES = ("PerformedLocation", "InstitutionalDepartmentName", "InstitutionName")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResources:
    """
    The resources of one study.

    The ImagingStudy is without subject (see `with_subject`), the Endpoint None when none is configured; ``derived``
    holds the resources of single instances, also without subject (see `sync.mapping.derived.with_references`), each
    before the resources that refer to it; ``findings`` are in order, each once. Endpoint and Devices are shared with
    other studies, which build the same bytes.
    """

    imaging_study: Resource
    patient: PatientClaim
    endpoint: Resource | None
    devices: tuple[Resource, ...]
    findings: tuple[Finding, ...]
    series: int
    instances: int
    derived: tuple[Resource, ...] = ()
    containers: tuple[Resource, ...] = ()
    """Endpoints of the containers that hold its blobs."""

    @property
    def shared(self) -> tuple[Resource, ...]:
        """Return the resources that the study refers to but does not own."""
        endpoints = (self.endpoint, *self.containers) if self.endpoint else self.containers
        return (*endpoints, *self.devices)


def build_study(study: StudyRef, rows: Sequence[LedgerRow], settings: MappingSettings) -> StudyResources:
    """
    Build the resources of one study.

    Parameters
    ----------
    rows
        All rows of the study, at least one, in any order. If an instance has several contents, the latest counts.
        Instances that a rejection note names are left out, and a study with no other instance left is ``cancelled``.

    Returns
    -------
    StudyResources
        The same bytes for the same set of rows.

    Raises
    ------
    InvalidResource
        A defect of the mapping; no value of an attribute can cause it.
    """
    findings = Findings()
    instances = current_instances(rows, findings)
    for record in instances:
        findings.extend(record.findings)
    witnesses = Witnesses([record.attributes for record in instances], "study", findings)
    declared = [item for stated in witnesses.distinct(_SCHEMES) for item in items(stated, _SCHEMES)]
    settings = with_declared_schemes(settings, declared, findings)
    series = build_series(instances, settings, findings, object_urls(rows, settings))
    patient = claim_patient(study, rows, settings)
    endpoint = build_endpoint(settings)
    resource = _imaging_study(study, witnesses, series, settings, findings)
    if all(is_rejection_note(record.attributes) for record in instances):
        resource["status"] = "cancelled"
    containers = build_containers(rows, settings)
    if endpoint is not None or containers:
        addressed = (endpoint, *containers) if endpoint else containers
        resource["endpoint"] = [{"reference": f"Endpoint/{endpoint['id']}"} for endpoint in addressed]
    body = build_body(study, witnesses, _began(resource), settings, findings)
    if body:
        resource["extension"] = references(body)
    resources = [*body, *build_derived(resource, one_of_each(rows), settings, findings)]
    derived = tuple(derived_resource for derived_resource in resources if derived_resource["resourceType"] != "Device")
    devices = {device["id"]: device for device in (*series.devices, *resources) if device["resourceType"] == "Device"}
    findings.extend(patient.findings)
    return StudyResources(
        imaging_study=resource,
        patient=patient,
        endpoint=endpoint,
        containers=containers,
        devices=tuple(devices[key] for key in sorted(devices)),
        findings=findings.all(),
        series=resource["numberOfSeries"],
        instances=resource["numberOfInstances"],
        derived=derived,
    )


def with_subject(
    imaging_study: Resource, patient_id: str | None, claim: PatientClaim, *, written: str | None = None
) -> Resource:
    """
    Return the ImagingStudy with its subject, ready to be written.

    Parameters
    ----------
    patient_id
        FHIR id of the Patient, ours or a linked one; None names the patient without a resource.
    written
        `content_hash` of the content that was last validated and written: equal content is not validated again.

    Raises
    ------
    InvalidResource
        A defect of the mapping; no value of an attribute can cause it.
    """
    subject = filled(
        {
            "reference": f"Patient/{patient_id}" if patient_id else None,
            "type": None if patient_id else "Patient",
            "identifier": {"system": claim.system, "value": claim.value} if claim.value else None,
            "display": claim.display,
        }
    )
    whole = {**imaging_study, "subject": subject}
    return whole if written is not None and written == content_hash(whole) else validated(whole)


def _imaging_study(
    study: StudyRef, witnesses: Witnesses, series: Series, settings: MappingSettings, findings: Findings
) -> Resource:
    accessions = accession_numbers(witnesses, settings, findings)
    modalities = sorted(series.modalities & ACQUISITION_MODALITIES)
    return filled(
        {
            "resourceType": "ImagingStudy",
            "id": study_id(study),
            "identifier": [
                _uid_identifier(study, findings),
                *accessions,
                *_study_ids(witnesses.agree("StudyID"), settings, findings),
            ],
            "status": "available",
            "modality": [{"system": modality_system(modality), "code": modality} for modality in modalities],
            "started": _started(witnesses, settings, findings),
            "basedOn": based_on(accessions, witnesses, settings, findings),
            "encounter": encounter(witnesses, settings, findings),
            "referrer": next(iter(people(witnesses, _REFERRER, settings, findings)), None),
            "interpreter": people(witnesses, _READERS, settings, findings),
            "numberOfSeries": len(series.elements),
            "numberOfInstances": sum(element["numberOfInstances"] for element in series.elements),
            "procedureCode": procedures(witnesses, settings, findings),
            "location": _location(witnesses, findings),
            "reasonCode": reasons(witnesses, settings, findings),
            "description": one_text(witnesses.agree("StudyDescription"), "StudyDescription", findings),
            "series": list(series.elements),
        }
    )


def _uid_identifier(study: StudyRef, findings: Findings) -> Resource:
    """Keep the Study Instance UID as it is, never repaired (R4: ``urn:dicom:uid`` and ``urn:oid:`` + UID)."""
    if not is_strict_uid(study.study_instance_uid):
        findings.note("StudyInstanceUID", "uid.malformed", "kept as it is")
    value = f"urn:oid:{clean(study.study_instance_uid)}"
    kind = {"coding": [dict(STUDY_INSTANCE_UID)]}
    return {"use": "official", "type": kind, "system": DICOM_UID_SYSTEM, "value": value}


def _study_ids(attributes: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return (0020,0010) as identifier only if its system is configured, because it collides between scanners."""
    value = one_text(attributes, "StudyID", findings) if settings.study_id_system else None
    return [{"system": settings.study_id_system, "value": value}] if value else []


def _started(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> str | None:
    return fhir_datetime(witnesses.agree(*_STARTED), _STARTED, settings.timezone, findings)


def _began(imaging_study: Resource) -> str | None:
    """Return when the study began, else when the first of its series with a start began."""
    series = [element["started"] for element in imaging_study.get("series", ()) if "started" in element]
    began: str | None = imaging_study.get("started") or min(series, key=instant_key, default=None)
    return began


def _location(witnesses: Witnesses, findings: Findings) -> Resource | None:
    """Return the most precise stated location, by display only."""
    for keyword in _PLACES:
        attributes = witnesses.agree(keyword)
        if texts(attributes, keyword):
            display = one_text(attributes, keyword, findings)
            return {"display": display} if display else None
    return None
