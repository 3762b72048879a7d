"""Turns FHIR resources into entries of a timeline: lane, days as written, and text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sync.model.elements import Element, part, parts, text

Resource = Mapping[str, Any]

LANES = {
    "Encounter": "Visits",
    "Condition": "Problems",
    "Procedure": "Operations",
    "MedicationRequest": "Medication",
    "MedicationAdministration": "Medication given",
    "ImagingStudy": "Studies",
    "DiagnosticReport": "Reports",
    "Observation": "Measurements",
}
"""Resource type -> lane; each is one search."""

_DAY = re.compile(r"^\d{4}(-\d\d(-\d\d)?)?")
_VERIFIED_OUT = {"refuted", "entered-in-error"}
_UID_SYSTEM = "urn:dicom:uid"


@dataclass(frozen=True, slots=True)
class Entry:
    """
    An entry of the timeline.

    Attributes
    ----------
    start, end
        As written: a year, a month or a day; empty if there is none.
    group
        UID of the object that a measurement tracks, such as a lesion; empty for none.
    value
        Value of a measurement, in ``unit``; None for none.
    study
        Study Instance UID; empty for none.
    sites
        Codes of modality and body sites, used to find priors.
    prior
        Whether the entry is a relevant prior of the viewed study.
    new
        Whether the resource was written to FHIR since the requested day.
    """

    lane: str
    start: str
    end: str
    label: str
    detail: str
    reference: str
    updated: str = ""
    group: str = ""
    value: float | None = None
    unit: str = ""
    study: str = ""
    modalities: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    prior: bool = False
    new: bool = False

    @property
    def order(self) -> tuple[bool, str, str, str]:
        """Return the sort key of an entry; entries without a date come last."""
        return (not self.start, self.start, self.lane, self.reference)


def entries(resources: Iterable[Resource], *, since: str = "", study: str = "") -> tuple[Entry, ...]:
    """
    Return the entries in order of time, without resources that were entered in error or refuted.

    Parameters
    ----------
    since
        A day; resources written on it or later are new.
    study
        Study Instance UID of the viewed study; empty for the latest.
    """
    by_reference = {shown.reference: shown for resource in resources if (shown := entry(resource)) is not None}
    listed = sorted(by_reference.values(), key=lambda shown: shown.order)
    if since:
        listed = [replace(shown, new=shown.updated >= since) for shown in listed]
    studies = [shown for shown in listed if shown.study and shown.start]
    wanted = [shown for shown in studies if shown.study == study] if study else studies
    viewed = wanted[-1] if wanted else None
    if viewed is not None:
        listed = [replace(shown, prior=_is_prior(shown, viewed)) for shown in listed]
    return tuple(listed)


def _is_prior(entry: Entry, viewed: Entry) -> bool:
    """Return whether an entry is an earlier study of the same body site or, without a known site, the same modality."""
    if not entry.study or not entry.start or entry.start >= viewed.start:
        return False
    if entry.sites and viewed.sites:
        return bool(entry.sites & viewed.sites)
    return bool(entry.modalities & viewed.modalities)


def entry(resource: Resource) -> Entry | None:
    """Return a resource as an entry; None if it is no fact about the patient."""
    kind = text(resource, "resourceType")
    if kind not in LANES or text(resource, "status") in {"entered-in-error", "not-done"}:
        return None
    if any(text(coding, "code") in _VERIFIED_OUT for coding in _codings(resource, "verificationStatus")):
        return None
    start, end = _times(kind, resource)
    words, detail = _words(kind, resource)
    modalities, sites = _imaging(resource)
    quantity = part(resource, "valueQuantity")
    value = quantity.get("value")
    return Entry(
        lane=LANES[kind],
        start=_day(start),
        end=_day(end),
        label=words or "without a name",
        detail=detail,
        reference=f"{kind}/{resource.get('id')}",
        updated=_day(text(part(resource, "meta"), "lastUpdated")),
        group=_uid(resource) if kind == "Observation" else "",
        value=value if isinstance(value, int | float) and not isinstance(value, bool) else None,
        unit=_unit(quantity),
        study=_uid(resource) if kind == "ImagingStudy" else "",
        modalities=modalities,
        sites=sites,
    )


def _times(kind: str, resource: Resource) -> tuple[str, str]:
    def period(name: str) -> tuple[str, str]:
        period = part(resource, name)
        return text(period, "start"), text(period, "end")

    match kind:
        case "Encounter":
            return period("period")
        case "Condition":
            first = text(resource, "onsetDateTime") or period("onsetPeriod")[0] or text(resource, "recordedDate")
            return first, text(resource, "abatementDateTime") or period("abatementPeriod")[1]
        case "Procedure":
            first, last = period("performedPeriod")
            return text(resource, "performedDateTime") or first, last
        case "MedicationRequest":
            return text(resource, "authoredOn"), ""
        case "ImagingStudy":
            return text(resource, "started"), ""
        case _:
            first, last = period("effectivePeriod")
            alone = text(resource, "effectiveDateTime") or text(resource, "effectiveInstant")
            return alone or first or text(resource, "issued"), last


def _words(kind: str, resource: Resource) -> tuple[str, str]:
    status = text(resource, "status")
    match kind:
        case "ImagingStudy":
            modalities = " ".join(text(coding, "code") for coding in parts(resource, "modality"))
            series = len(parts(resource, "series")) or resource.get("numberOfSeries") or 0
            return f"{modalities} {text(resource, 'description')}".strip(), f"{series} series"
        case "Encounter":
            kinds = [words for concept in parts(resource, "type") if (words := _words_of(concept))]
            return ", ".join(kinds) or text(part(resource, "class"), "code"), status
        case "MedicationRequest" | "MedicationAdministration":
            named = text(part(resource, "medicationReference"), "display")
            return _text(resource, "medicationCodeableConcept") or named, status
        case "DiagnosticReport":
            return _text(resource, "code"), f"{status} {text(resource, 'conclusion')}".strip()
        case "Observation":
            return _text(resource, "code"), _value(resource)
        case _:
            return _text(resource, "code"), status or _text(resource, "clinicalStatus")


def _value(resource: Resource) -> str:
    if quantity := part(resource, "valueQuantity"):
        return f"{quantity.get('value')} {_unit(quantity)}".strip()
    measured = [
        f"{_text(component, 'code')} {inside.get('value')} {_unit(inside)}".strip()
        for component in parts(resource, "component")
        if (inside := part(component, "valueQuantity"))
    ]
    return _text(resource, "valueCodeableConcept") or "; ".join(measured) or text(resource, "valueString")


def _unit(quantity: Element) -> str:
    return text(quantity, "unit") or text(quantity, "code")


def _imaging(resource: Resource) -> tuple[frozenset[str], frozenset[str]]:
    """Return the codes of modalities and body sites of a study that has series; no codes of any other resource."""
    series = parts(resource, "series") if text(resource, "resourceType") == "ImagingStudy" else []
    sites = {text(part(one_series, "bodySite"), "code") for one_series in series}
    modalities = {text(coding, "code") for coding in parts(resource, "modality")} if series else set()
    return frozenset(modalities - {""}), frozenset(sites - {""})


def _codings(of: Element, name: str) -> list[Element]:
    return parts(part(of, name), "coding")


def _text(of: Element, name: str) -> str:
    return _words_of(part(of, name))


def _words_of(concept: Element) -> str:
    """Return the text of a concept, else its first display, else its first code."""
    codings = parts(concept, "coding")
    written = (*(text(coding, "display") for coding in codings), *(text(coding, "code") for coding in codings))
    return text(concept, "text") or next(filter(None, written), "")


def _uid(resource: Resource) -> str:
    for identifier in parts(resource, "identifier"):
        if text(identifier, "system") == _UID_SYSTEM and text(identifier, "value"):
            return text(identifier, "value").removeprefix("urn:oid:")
    return ""


def _day(written: str) -> str:
    """Return a date as written, without its time."""
    day = _DAY.match(written)
    return day.group() if day else ""
