"""
One study -> one transaction Bundle: Patient, Endpoint, Devices, ImagingStudy, and resources from single instances.

Each is a ``PUT`` to its deterministic id.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.config import MappingSettings
from sync.mapping.derived import with_references
from sync.mapping.imaging_study import build_study, with_subject
from sync.mapping.patient import build_patient
from sync.mapping.resource import patient_id
from sync.mapping.validation import validated
from sync.mapping.values import Findings
from sync.model import Finding, LedgerRow, PatientRow, Resource, StudyRef


def build_bundle(
    study: StudyRef,
    rows: Sequence[LedgerRow],
    settings: MappingSettings,
    *,
    patient_rows: Sequence[PatientRow] = (),
) -> tuple[Resource, tuple[Finding, ...]]:
    """
    Build the transaction that writes one study to a FHIR server without any resource of it.

    Parameters
    ----------
    rows
        All rows of the study, at least one, in any order.
    patient_rows
        Rows of the same patient's other studies, if known: the Patient is built from all of them.

    Returns
    -------
    Bundle and findings
        The same bytes for the same rows. ``fullUrl`` is left out, as R4 allows for transactions; references between
        the entries are relative and right on any server.

    Raises
    ------
    InvalidResource
        A defect of the mapping; no value of an attribute can cause it.
    """
    built = build_study(study, rows, settings)
    claim = built.patient
    own = PatientRow(patient_key=claim.key, study=study, study_date=claim.study_date, attributes=claim.attributes)
    rows_of_others = [row for row in patient_rows if row.patient_key == claim.key and row.study != study]
    patient = build_patient(claim.key, [own, *rows_of_others], settings)
    imaging_study = with_subject(built.imaging_study, patient_id(claim.key), claim)
    findings = Findings()
    findings.extend(built.findings)
    findings.extend(patient.findings)
    resources = [patient.resource, *built.shared, imaging_study]
    subject = imaging_study["subject"]
    resources += [with_references(resource, study, imaging_study["id"], subject) for resource in built.derived]
    return transaction(resources), findings.all()


def transaction(resources: Sequence[Resource]) -> Resource:
    """Wrap resources, each valid by itself, as one transaction of updates by id."""
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in resources],
    }
    # the Bundle is validated without its resources, which have been validated one by one
    for entry, resource in zip(validated(bundle)["entry"], resources, strict=True):
        entry["resource"] = resource
    return bundle
