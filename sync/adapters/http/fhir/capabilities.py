"""
Compares the CapabilityStatement of a FHIR service with the features that the sync uses.

Source: FHIR R4 capabilitystatement.html, http.html (capabilities).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sync.errors import FhirUnavailable
from sync.model.elements import part, parts

SEARCHED: Mapping[str, tuple[str, ...]] = {"ImagingStudy": ("identifier", "subject"), "Patient": ("identifier",)}
"""Resource types that the sync searches, with the search parameters."""

WRITTEN = ("ImagingStudy", "Patient", "Device", "Endpoint", "Observation", "DiagnosticReport")
"""Resource types that the sync writes, depending on the files."""

_SHORT = 60
_INTERACTIONS = ("read", "update", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Software and FHIR version of a service, and the features in use that it does not claim; both printable."""

    software: str
    fhir_version: str
    lacks: tuple[str, ...]

    def says(self) -> str:
        """Return it in one line."""
        lacking = f"; it does not claim: {', '.join(self.lacks)}" if self.lacks else ""
        return f"{self.software or 'a service'}, FHIR {self.fhir_version}{lacking}"


def capabilities_in(statement: Mapping[str, Any]) -> Capabilities:
    """
    Read a CapabilityStatement.

    Raises
    ------
    FhirUnavailable
        ``fhir.not_fhir``: the answer is not from a FHIR service. ``fhir.version``: the service is not FHIR R4.
    """
    if statement.get("resourceType") != "CapabilityStatement":
        raise FhirUnavailable("no CapabilityStatement at /metadata", code="fhir.not_fhir", hint=_NOT_FHIR)
    version = _short(statement.get("fhirVersion"))
    if not version.startswith("4.0"):
        raise FhirUnavailable(f"FHIR version {version or 'unknown'}", code="fhir.version", hint=_VERSION)
    software = part(statement, "software")
    named = f"{_short(software.get('name'))} {_short(software.get('version'))}".strip()
    server = next((rest for rest in parts(statement, "rest") if rest.get("mode") == "server"), {})
    return Capabilities(software=named, fhir_version=version, lacks=tuple(_lacking(server)))


def _lacking(server: Mapping[str, Any]) -> Iterator[str]:
    whole = _codes(server, "interaction")
    if "transaction" not in whole:  # HAPI also runs batches but does not claim them
        yield "transaction"
    resources = {resource.get("type"): resource for resource in parts(server, "resource")}
    for kind in WRITTEN:
        resource = resources.get(kind)
        if resource is None:
            yield kind
            continue
        interactions = _codes(resource, "interaction")
        yield from (f"{kind} {interaction}" for interaction in _INTERACTIONS if interaction not in interactions)
        if resource.get("versioning") not in ("versioned", "versioned-update"):
            yield f"{kind} If-Match"
        if resource.get("updateCreate") is False:
            yield f"{kind} update as create"
        yield from _unsearched(kind, resource, interactions)


def _unsearched(kind: str, resource: Mapping[str, Any], interactions: set[str]) -> Iterator[str]:
    parameters = {parameter.get("name") for parameter in parts(resource, "searchParam")}
    if kind in SEARCHED and "search-type" not in interactions:
        yield f"{kind} search"
        return
    yield from (f"{kind} search by {parameter}" for parameter in SEARCHED.get(kind, ()) if parameter not in parameters)


def _codes(owner: Mapping[str, Any], name: str) -> set[str]:
    return {str(interaction.get("code")) for interaction in parts(owner, name)}


def _short(value: Any) -> str:
    return (
        "".join(character for character in value if character.isprintable())[:_SHORT] if isinstance(value, str) else ""
    )


_NOT_FHIR = "Set DICOM_SYNC_FHIR_URL to the base of a FHIR R4 service: its /metadata answers a CapabilityStatement."
_VERSION = "The sync writes FHIR R4 (4.0.1): set DICOM_SYNC_FHIR_URL to a service of that version."
