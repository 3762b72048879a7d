"""
The patient data of a study, and the Patient that is built from all studies of one patient.

    instances of a study  ->  claim_patient  ->  PatientClaim  ->  a row of the patients table
    all rows of a patient ->  build_patient  ->  Patient

Identity is (issuer system, Patient ID). A study without a Patient ID has its own patient, so that two such studies
never share one. Contact data, address and the like are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sync.config import MappingSettings
from sync.dicom.attributes import items, texts
from sync.mapping.agreement import Witnesses, current_instances
from sync.mapping.identifiers import patient_identifier
from sync.mapping.names import human_names, printable_name
from sync.mapping.patient_details import animal, contacts, details_kept, gender_identity, names_to_use, pronouns
from sync.mapping.resource import patient_id
from sync.mapping.terminology import OBSERVATION_VALUE, PATIENT_BIRTH_TIME
from sync.mapping.timestamps import Keywords, fhir_date, fhir_datetime
from sync.mapping.validation import validated
from sync.mapping.values import Findings, code, filled, first
from sync.model import Attributes, Finding, LedgerRow, PatientRow, Resource, StudyRef, digest

_IDENTITY = ("PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence")
_BIRTH = Keywords(date="PatientBirthDate", time="PatientBirthTime")
_DEMOGRAPHICS = ("PatientName", "PatientSex", "OtherPatientIDsSequence", "PatientIdentityRemoved")
_OTHER_NAMES = {"OtherPatientNames": None, "PatientBirthName": "maiden"}
"""Names other than the usual one -> their use in R4; aliases have none."""
"""Attributes of a patient that are kept besides birth (PS3.3 C.7.1.1 *Patient Module*), other names by setting."""

_OLDEST = 130
"""Years: the longest documented life was 122."""

_GENDERS = {"M": "male", "F": "female", "O": "other"}
"""(0010,0040) *Patient's Sex* -> R4 administrative-gender."""

_ELEMENTS = {
    "animal": "PatientSpeciesCodeSequence",
    "genderIdentity": "GenderIdentitySequence",
    "pronouns": "ThirdPersonPronounsSequence",
    "name": "PatientName",
    "gender": "PatientSex",
    "birthDate": "PatientBirthDate",
    "_birthDate": "PatientBirthTime",
    "contact": "ResponsiblePerson",
}
"""Element -> the attribute that findings name; the first three are extensions (`_EXTENSIONS`)."""
_EXTENSIONS = ("animal", "genderIdentity", "pronouns")

_NOT_PATIENT_IDS = frozenset({"RFID", "BARCODE"})
"""(0010,0022) *Type of Patient ID*: labels on a wrist band, not a person's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientClaim:
    """
    The patient data of one study.

    ``system`` and ``value`` are None without a Patient ID. ``study_date`` is ``YYYY-MM-DD`` or empty. ``attributes``
    holds only the attributes that `build_patient` needs.
    """

    key: str
    system: str | None
    value: str | None
    display: str | None
    study_date: str
    attributes: Attributes
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPatient:
    """A Patient, and findings about its studies' contradictions."""

    resource: Resource
    findings: tuple[Finding, ...]


def claim_patient(study: StudyRef, rows: Sequence[LedgerRow], settings: MappingSettings) -> PatientClaim:
    """
    Decide to which patient a study belongs.

    The majority of the instances wins; instances with another Patient ID do not contribute to the demographics.

    Parameters
    ----------
    rows
        All rows of the study, at least one, in any order.
    """
    findings = Findings()
    witnesses = Witnesses([record.attributes for record in current_instances(rows)], "study", findings)
    attributes = witnesses.agree(*_IDENTITY)
    own = witnesses.supporters("PatientID")
    for keyword in _kept(settings):
        attributes |= own.agree(keyword)
    attributes |= _birth(own)
    identifier = patient_identifier(attributes, settings, findings)
    if identifier is None:
        findings.note("PatientID", "patient.no_id", "patient of this study alone")
    study_date = fhir_date(first(witnesses.agree("StudyDate"), "StudyDate", findings), "StudyDate", findings) or ""
    _note_implausible_birth(attributes, study_date, findings)
    return PatientClaim(
        key=digest("patient", identifier["system"], identifier["value"]) if identifier else _own_key(study),
        system=identifier["system"] if identifier else None,
        value=identifier["value"] if identifier else None,
        display=printable_name(first(attributes, "PatientName", findings), "PatientName", findings),
        study_date=study_date,
        attributes=attributes,
        findings=findings.all(),
    )


def _note_implausible_birth(attributes: Attributes, study_date: str, findings: Findings) -> None:
    """Report a date of birth that cannot be right; it is kept, because another source must correct it."""
    born = fhir_date(first(attributes, "PatientBirthDate", findings), "PatientBirthDate", findings)
    if born is None:
        return
    year = int(born[:4])
    if year == 1 or (study_date and int(study_date[:4]) - year > _OLDEST):
        findings.note("PatientBirthDate", "patient.implausible_age", "kept")
    elif study_date and born > study_date:
        findings.note("PatientBirthDate", "patient.birth_after_study", "kept")


def _kept(settings: MappingSettings) -> tuple[str, ...]:
    """Return the keywords to keep: only attributes that are mapped."""
    names = tuple(_OTHER_NAMES) if settings.patient_other_names else ()
    return (*_DEMOGRAPHICS, *names, *details_kept(settings))


def _birth(witnesses: Witnesses) -> dict[str, Sequence[Any]]:
    """Return date and time of birth, which belong together; the images' offset applies to a time only."""
    stated = witnesses.agree(_BIRTH.date, _BIRTH.time)
    return witnesses.agree(*_BIRTH) if _BIRTH.time in stated and _BIRTH.date in stated else stated


def _own_key(study: StudyRef) -> str:
    return digest("study", study.partition, study.study_instance_uid)


def build_patient(patient_key: str, rows: Sequence[PatientRow], settings: MappingSettings) -> BuiltPatient:
    """
    Return the FHIR Patient built from all of its studies, ready to be written.

    Raises
    ------
    InvalidResource
        A defect of the mapping.
    """
    built = patient_of(patient_key, rows, settings)
    validated(built.resource)
    return built


def patient_of(patient_key: str, rows: Sequence[PatientRow], settings: MappingSettings) -> BuiltPatient:
    """
    Return the FHIR Patient built from all of its studies, for comparison; it is not `validated` yet.

    Each element is taken from the latest study (by date, then UID) with a usable value; other values become findings.
    Identifiers are the union. The same rows give the same bytes in any order.
    """
    findings = Findings()
    latest_first = sorted(rows, key=lambda row: (row.study_date, row.study), reverse=True)
    merged: Resource = {}
    for row in latest_first:
        for element, value in _demographics(row.attributes, settings, findings).items():
            if merged.setdefault(element, value) != value and element in _ELEMENTS:
                findings.note(_ELEMENTS[element], "patient.conflicting_values", "latest study's value used")
    resource = {
        "resourceType": "Patient",
        "id": patient_id(patient_key),
        "meta": merged.pop("meta", None),
        "identifier": _identifiers(latest_first, settings, findings),
        "extension": [extension for element in _EXTENSIONS for extension in merged.get(element, ())],
        **{element: merged.get(element) for element in _ELEMENTS if element not in _EXTENSIONS},
    }
    if _is_of_another_day(resource):
        del resource["_birthDate"]
    return BuiltPatient(resource=filled(resource), findings=findings.all())


def contradictions(patient: Resource, attributes: Attributes, settings: MappingSettings) -> tuple[str, ...]:
    """Return the attributes of a study that contradict a Patient owned by another system, 0..n."""
    stated = _demographics(attributes, settings, Findings())
    compared = {"gender": "PatientSex", "birthDate": "PatientBirthDate"}
    return tuple(
        keyword
        for element, keyword in compared.items()
        if element in stated and element in patient and stated[element] != patient[element]
    )


def linked_patient_of(rows: Sequence[PatientRow], settings: MappingSettings) -> BuiltPatient:
    """
    Build the studies' data about a Patient that another system created, for comparison; not `validated` yet.

    In: all rows of the Patient. Out: the Patient for `sync.mapping.ownership.overlay_linked`.
    A study whose patient identity was removed (0012,0062) does not contribute: its names and dates are fictitious.
    """
    identified = [row for row in rows if _identity_removed(row.attributes, Findings()) is None]
    return patient_of(digest("linked"), identified, settings)


def _is_of_another_day(patient: Resource) -> bool:
    """Return whether time and date of birth come from different studies."""
    timed = patient["_birthDate"]
    return timed is not None and timed["extension"][0]["valueDateTime"][: len("YYYY-MM-DD")] != patient["birthDate"]


def _demographics(attributes: Attributes, settings: MappingSettings, findings: Findings) -> dict[str, Any]:
    """Return the elements of the Patient for which one study has a usable value."""
    birth_date = first(attributes, "PatientBirthDate", findings)
    return filled(
        {
            "meta": _identity_removed(attributes, findings),
            "animal": animal(attributes, settings, findings),
            "genderIdentity": gender_identity(attributes, settings, findings),
            "pronouns": pronouns(attributes, settings, findings),
            "name": _names(attributes, settings, findings),
            "gender": _gender(attributes, findings),
            "birthDate": fhir_date(birth_date, "PatientBirthDate", findings),
            "_birthDate": _birth_time(attributes, settings, findings),
            "contact": contacts(attributes, settings, findings),
        }
    )


def _names(attributes: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Put the legal name first, then those to call the person by; others if DICOM_SYNC_PATIENT_OTHER_NAMES asks."""
    names = human_names(first(attributes, "PatientName", findings), "PatientName", findings)
    used = names_to_use(attributes, findings)
    names = [*([{**name, "use": "official"} for name in names] if used else names), *used]
    for keyword, use in _OTHER_NAMES.items() if settings.patient_other_names else ():
        for stated in texts(attributes, keyword):
            further = human_names(stated, keyword, findings)
            names += [filled({**name, "use": use}) for name in further]
    return names


def _birth_time(attributes: Attributes, settings: MappingSettings, findings: Findings) -> Resource | None:
    """Return the R4 extension *patient-birthTime*, which a time without offset cannot fill."""
    if not texts(attributes, _BIRTH.time):
        return None
    timestamp = fhir_datetime(attributes, _BIRTH, settings.timezone, findings)
    if timestamp is None or "T" not in timestamp:
        return None
    return {"extension": [{"url": PATIENT_BIRTH_TIME, "valueDateTime": timestamp}]}


def _gender(attributes: Attributes, findings: Findings) -> str | None:
    stated = code(first(attributes, "PatientSex", findings), "PatientSex", findings)
    if stated is None:
        return None
    if stated.upper() not in _GENDERS:
        findings.note("PatientSex", "sex.unknown", "unknown written")
    return _GENDERS.get(stated.upper(), "unknown")


def _identity_removed(attributes: Attributes, findings: Findings) -> Resource | None:
    """Return the label of (0012,0062): pseudonymised with a Patient ID, else anonymised (HL7 v3 ObservationValue)."""
    stated = (first(attributes, "PatientIdentityRemoved", findings) or "").strip().upper()
    if stated not in ("", "YES", "NO"):
        findings.note("PatientIdentityRemoved", "value.undefined", "ignored")
    if stated != "YES":
        return None
    has_id = first(attributes, "PatientID", findings) is not None
    return {"security": [{"system": OBSERVATION_VALUE, "code": "PSEUDED" if has_id else "ANONYED"}]}


def _identifiers(rows: Sequence[PatientRow], settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Put the patient's own identifier first, then the others by system and value."""
    own: dict[tuple[str, str], Resource] = {}
    secondary: dict[tuple[str, str], Resource] = {}
    for row in rows:
        _collect(own, patient_identifier(row.attributes, settings, findings))
        for item in items(row.attributes, "OtherPatientIDsSequence"):
            if (first(item, "TypeOfPatientID", findings) or "").strip().upper() not in _NOT_PATIENT_IDS:
                _collect(secondary, patient_identifier(item, settings, findings, use="secondary"))
    return [*own.values(), *(secondary[key] for key in sorted(secondary) if key not in own)]


def _collect(into: dict[tuple[str, str], Resource], identifier: Resource | None) -> None:
    if identifier is not None:
        into.setdefault((identifier["system"], identifier["value"]), identifier)
