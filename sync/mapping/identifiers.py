"""
The issuer of an identifier -> its FHIR system, always an absolute URI.

Two issuers must never share a system, and a missing issuer differs from every named one: otherwise two persons with the
same number would become one. So a named issuer that is not configured gets its own system, derived from its name; only
identifiers without any issuer get the configured default.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sync.config import MappingSettings
from sync.dicom.attributes import items
from sync.mapping.terminology import IDENTIFIER_TYPE, MEDICAL_RECORD_NUMBER, PATIENT_IDENTIFIER_TYPES
from sync.mapping.values import Findings, coding, filled, one_text, system_uri
from sync.model import Attributes, Resource, digest

UNKNOWN_ISSUER = "urn:dicom-fhir-sync:issuer:"
"""Prefix of the derived systems; a digest of the issuer follows, so that any name gives a short and legal URI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """System of an issuer's identifiers, and the issuer's name in the file."""

    system: str
    name: str | None = None


def issuer_of(
    name: str | None,
    designator: Attributes,
    settings: MappingSettings,
    findings: Findings,
    *,
    keyword: str,
    default: str,
) -> Issuer:
    """
    Find the system of an issuer.

    Parameters
    ----------
    name
        (0010,0021) Issuer of Patient ID or (0040,0031) Local Namespace Entity ID; None when the file has none.
    designator
        Holds (0040,0032) Universal Entity ID and (0040,0033) its type, if present.
    keyword
        Attribute that names the issuer, for findings.
    default
        System if there is neither name nor universal id.

    Returns
    -------
    Issuer
        By universal id (ISO, UUID, URI), else by DICOM_SYNC_ISSUERS, else derived from the name, else the default.
    """
    universal = one_text(designator, "UniversalEntityID", findings)
    kind = one_text(designator, "UniversalEntityIDType", findings) or ""
    system = _universal_system(universal, kind.upper())
    if universal and system is None:
        findings.note("UniversalEntityID", "issuer.no_uri", "not used as system")
    uri = system or settings.issuers.get(name or "") or settings.issuers.get(universal or "")
    if uri:
        return Issuer(system=uri, name=name)
    if name or universal:
        findings.note(keyword, "issuer.unknown", "system derived from the issuer")
        return Issuer(system=UNKNOWN_ISSUER + digest("issuer", name or "", universal or "", length=20), name=name)
    return Issuer(system=default)


def _universal_system(universal: str | None, kind: str) -> str | None:
    if universal is None:
        return None
    if kind == "ISO":
        return system_uri(f"urn:oid:{universal}")
    if kind == "UUID":
        return _uuid_uri(universal)
    return system_uri(universal) if kind == "URI" else None


def _uuid_uri(universal: str) -> str | None:
    try:
        return UUID(universal).urn
    except ValueError:
        return None


def patient_identifier(
    item: Attributes, settings: MappingSettings, findings: Findings, *, use: str = "usual"
) -> Resource | None:
    """
    Return the FHIR *Identifier* of a Patient ID with its issuer (PS3.3 Table 10-18).

    Parameters
    ----------
    item
        The data set itself, or one item of (0010,1002) Other Patient IDs Sequence.

    Returns
    -------
    dict or None
        None if there is no Patient ID, or a placeholder (`placeholder_patient_ids`). Source: R4
        ``Patient.identifier``.
    """
    value = one_text(item, "PatientID", findings)
    if value is None:
        return None
    if _is_placeholder(value, settings):
        findings.note("PatientID", "patient.placeholder_id", "identifies no person")
        return None
    qualifiers = first_item(item, "IssuerOfPatientIDQualifiersSequence")
    default = settings.patient_system or MappingSettings.model_fields["patient_system"].default
    name = one_text(item, "IssuerOfPatientID", findings)
    issuer = issuer_of(name, qualifiers, settings, findings, keyword="IssuerOfPatientID", default=default)
    return identifier(value, issuer, _patient_identifier_type(qualifiers, findings), use=use)


def _is_placeholder(value: str, settings: MappingSettings) -> bool:
    """Return whether a Patient ID is a placeholder, such as ``?``: it would merge all patients without an ID."""
    if not any(character.isalnum() for character in value):
        return True
    placeholders = {placeholder.upper() for placeholder in settings.placeholder_patient_ids}
    return value.upper() in placeholders or ("0" in placeholders and not value.strip("0"))


def _patient_identifier_type(qualifiers: Attributes, findings: Findings) -> str:
    stated = one_text(qualifiers, "IdentifierTypeCode", findings)
    if stated is None or stated in PATIENT_IDENTIFIER_TYPES:
        return stated or MEDICAL_RECORD_NUMBER
    findings.note("IdentifierTypeCode", "identifier.unknown_type", f"{MEDICAL_RECORD_NUMBER} written")
    return MEDICAL_RECORD_NUMBER


def identifier(value: str, issuer: Issuer, type_code: str, *, use: str | None = None) -> Resource:
    """Return an FHIR *Identifier* with a type of HL7 v2 table 0203."""
    return filled(
        {
            "use": use,
            "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": type_code}]},
            "system": issuer.system,
            "value": value,
            "assigner": {"display": issuer.name} if issuer.name else None,
        }
    )


def first_item(attributes: Attributes, keyword: str) -> Attributes:
    """Return item 1 of a sequence; an empty item if there is none."""
    return next(iter(items(attributes, keyword)), {})


def coded_identifier(item: Attributes, keyword: str, settings: MappingSettings, findings: Findings) -> Resource | None:
    """
    Return system and value of an identifier that DICOM writes as a code (PS3.3 10.1.1, Person Identification Macro).

    The value stays as in the file: blanks that FHIR forbids within a code may distinguish two people.
    """
    stated = coding(item, keyword, settings, findings) or {}
    if "code" not in stated:
        return None
    exact = one_text(item, "CodeValue", findings) or one_text(item, "LongCodeValue", findings)
    return filled({"system": stated.get("system"), "value": exact or stated["code"]})
