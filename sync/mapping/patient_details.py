"""
Patient data besides identity and birth, of persons and animals (PS3.3 C.7.1.1, C.7.2.2).

Each function takes the attributes that `details_kept` names and gives elements of a FHIR Patient, 0..n.
"""

from __future__ import annotations

from sync.config import MappingSettings
from sync.dicom.attributes import items
from sync.mapping.codes import concepts
from sync.mapping.names import human_names
from sync.mapping.terminology import (
    ANIMAL_GENDER_STATUS,
    PATIENT_ANIMAL,
    PATIENT_GENDER_IDENTITY,
    PATIENT_PRONOUNS,
)
from sync.mapping.values import Findings, code, filled, first, one_text
from sync.model import Attributes, Resource

_AS_A_PERSON = ("PersonNamesToUseSequence", "GenderIdentitySequence", "ThirdPersonPronounsSequence")
_ANIMAL = (
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientSexNeutered",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
)
_RESPONSIBLE = ("ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization")
_NEUTERED = {"ALTERED": "neutered", "UNALTERED": "intact"}
"""(0010,2203) -> R4 *animal-genderstatus*."""


def details_kept(settings: MappingSettings) -> tuple[str, ...]:
    """Return the patient attributes to keep; those of animals and of responsible persons only if settings say so."""
    animal_kept = _ANIMAL if settings.patient_species else ()
    return (*_AS_A_PERSON, *animal_kept, *(_RESPONSIBLE if settings.patient_responsible_person else ()))


def names_to_use(attributes: Attributes, findings: Findings) -> list[Resource]:
    """Return the *HumanNames* of (0010,0011) Person Names to Use, with ``use`` usual: free text, not by components."""
    keyword = "NameToUse"
    stated = [one_text(item, keyword, findings) for item in items(attributes, "PersonNamesToUseSequence")]
    return [{"use": "usual", "text": " ".join(name.split())} for name in dict.fromkeys(stated) if name]


def gender_identity(attributes: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return the R4 extension *patient-genderIdentity* for each item of (0010,0041)."""
    coded = _coded(attributes, "GenderIdentitySequence", "GenderIdentityCodeSequence", settings, findings)
    return [{"url": PATIENT_GENDER_IDENTITY, "valueCodeableConcept": one} for one in coded]


def pronouns(attributes: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return the extension *individual-pronouns* for each item of (0010,0014)."""
    coded = _coded(attributes, "ThirdPersonPronounsSequence", "PronounCodeSequence", settings, findings)
    return [{"url": PATIENT_PRONOUNS, "extension": [{"url": "value", "valueCodeableConcept": one}]} for one in coded]


def _coded(
    attributes: Attributes, sequence: str, keyword: str, settings: MappingSettings, findings: Findings
) -> list[Resource]:
    """Return the coded values of the items of a sequence, each once; of an item without a code, its comment as text."""
    comment = {"GenderIdentityCodeSequence": "GenderIdentityComment"}.get(keyword, "PronounComment")
    extensions: list[Resource] = []
    for item in items(attributes, sequence):
        coded = concepts(items(item, keyword), keyword, settings, findings)
        text = one_text(item, comment, findings)
        for one in coded or ([{"text": text}] if text else []):
            if one not in extensions:
                extensions.append(one)
    return extensions


def animal(attributes: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return the R4 extension *patient-animal*, if DICOM_SYNC_PATIENT_SPECIES is set: species 1..1, breed, gender status.

    A species or breed without a code is the text of its description.
    """
    if not settings.patient_species:
        return []
    species = _kind(attributes, "PatientSpecies", settings, findings)
    if species is None:
        return []
    breed = _kind(attributes, "PatientBreed", settings, findings)
    neutered = (code(first(attributes, "PatientSexNeutered", findings), "PatientSexNeutered", findings) or "").upper()
    if neutered and neutered not in _NEUTERED:
        findings.note("PatientSexNeutered", "value.undefined", "ignored")
    status = _NEUTERED.get(neutered)
    coded = {"coding": [{"system": ANIMAL_GENDER_STATUS, "code": status}]} if status else None
    parts = {"species": species, "breed": breed, "genderStatus": coded}
    stated = [{"url": url, "valueCodeableConcept": value} for url, value in parts.items() if value]
    return [{"url": PATIENT_ANIMAL, "extension": stated}]


def _kind(attributes: Attributes, stem: str, settings: MappingSettings, findings: Findings) -> Resource | None:
    keyword = f"{stem}CodeSequence"
    coded = concepts(items(attributes, keyword), keyword, settings, findings)
    text = one_text(attributes, f"{stem}Description", findings)
    return coded[0] if coded else {"text": text} if text else None


def contacts(attributes: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return ``Patient.contact`` of (0010,2297) Responsible Person, if DICOM_SYNC_PATIENT_RESPONSIBLE_PERSON is set."""
    if not settings.patient_responsible_person:
        return []
    names = human_names(first(attributes, "ResponsiblePerson", findings), "ResponsiblePerson", findings)
    role = one_text(attributes, "ResponsiblePersonRole", findings)
    organization = one_text(attributes, "ResponsibleOrganization", findings)
    if not names and organization is None:
        return []
    contact = {
        "relationship": [{"text": role.capitalize()}] if role else None,
        "name": names[0] if names else None,
        "organization": {"type": "Organization", "display": organization} if organization else None,
    }
    return [filled(contact)]
