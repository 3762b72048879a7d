"""
Searches that Azure's FHIR service refuses or misreads, as rules over the URL.

Source: microsoft/fhir-server, its search options, sorting validator and chained expressions; FHIR R4 search parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from sync.adapters.http.fhir.references import _ANY, _PARAMETERS

_NAMES = {
    "AuditEvent": "date entity patient",
    "Communication": "category identifier patient received recipient sender sent status subject",
    "Condition": "category code encounter patient subject",
    "Consent": "category patient status",
    "Device": "identifier patient type",
    "DiagnosticReport": "based-on category code conclusion date identifier issued patient result status subject",
    "DocumentReference": "author category date identifier patient related relatesto status subject type",
    "Encounter": "date identifier patient status subject",
    "Endpoint": "identifier status",
    "ImagingStudy": "basedon bodysite dicom-class endpoint identifier instance interpreter modality patient performer "
    "reason referrer series started status subject",
    "MedicationAdministration": "code effective-time patient status subject",
    "MedicationRequest": "authoredon code intent patient status subject",
    "Observation": "based-on category code code-value-concept code-value-quantity component-code "
    "component-code-value-quantity component-value-quantity date derived-from device focus has-member identifier "
    "method part-of patient performer status subject value-concept value-quantity value-string",
    "Patient": "active birthdate deceased family gender general-practitioner given identifier link name organization",
    "Practitioner": "active identifier name",
    "Procedure": "category code date patient status subject",
}
"""Search parameters of R4 by type, as far as anything here asks for them; another one is ignored by the service."""

TYPED_CHAINS = {"patient": {"identifier"}, "subject": {"identifier"}}
"""Chained parameters that several possible types of a reference have: 403 unless the type is named."""

SORTABLE = {"birthdate", "date", "family", "given", "issued", "name", "started", "_lastUpdated"}
"""Parameters of type date or string; a search sorted by another one comes unsorted, with a warning."""

CONTROL = {"_count", "_elements", "_id", "_include", "_lastUpdated", "_not-referenced", "_profile", "_revinclude"}
CONTROL |= {"_security", "_sort", "_summary", "_tag"}
LINKED = {"ct", "_offset", "_getpages", "_getpagesoffset", "_bundletype", "_pretty"}
"""Parameters of links that servers made."""

OPERATIONS = {"Patient": {"$everything"}}
MOST = 1000
"""Resources of a page, and of all that is included."""


_UNKNOWN = "unknown parameter"
_WITHOUT_ID = "without id nothing that is found can be told apart"


def _of_references() -> dict[str, set[str]]:
    """Parameters by which the sync asks what refers to a resource; that they exist is asked of a server elsewhere."""
    parameters: dict[str, set[str]] = {}
    for named in [_ANY.split(), *_PARAMETERS.values()]:
        for search in named:
            resource_type, _, parameter = search.partition(".")
            parameters.setdefault(resource_type, set()).add(parameter)
    return parameters


_REFERENCES = _of_references()


def known(resource_type: str) -> set[str]:
    """Return the parameters of a type that may be asked for."""
    return set(_NAMES.get(resource_type, "").split()) | _REFERENCES.get(resource_type, set())


def misleading(search: str) -> list[str]:
    """Return what the service refuses or answers otherwise than any other server, whatever parameters there are."""
    return [fault for fault in faults(search) if not fault.startswith((_UNKNOWN, _WITHOUT_ID))]


def faults(search: str) -> list[str]:
    """Return what the service does not take, or takes otherwise; nothing when all is well."""
    resource_type, _, rest = search.partition("?")
    if "/" in resource_type:
        kind, *_, operation = resource_type.split("/")
        return [] if operation in OPERATIONS.get(kind, ()) else [f"no such operation: {operation}"]
    return [fault for name, value in parse_qsl(rest) for fault in _faults_of(resource_type, name, value)]


def _faults_of(resource_type: str, name: str, value: str) -> list[str]:
    code, _, chained = name.partition(".")
    plain, _, modifier = code.partition(":")
    if plain == "_has":
        _, other, reference, parameter = name.split(":")
        return [] if {reference, parameter} <= known(other) else [f"{_UNKNOWN} in {name}"]
    if plain in CONTROL:
        return list(_faults_of_control(plain, value))
    if plain not in known(resource_type):
        return [f"{_UNKNOWN} {plain}"]
    if chained and not modifier and chained in TYPED_CHAINS.get(plain, ()):
        return [f"{name} needs the type: {plain}:Patient.{chained}"]
    if chained and chained not in known(modifier or "Patient"):
        return [f"{_UNKNOWN} {chained}"]
    return []


def _faults_of_control(name: str, value: str) -> Iterator[str]:
    if name == "_sort" and value.removeprefix("-") not in SORTABLE:
        yield f"sorts by one date or string only, not by {value}"
    if name == "_count" and int(value) > MOST:
        yield f"a page holds {MOST} at most"
    if name == "_elements" and "id" not in value.split(","):
        yield _WITHOUT_ID
