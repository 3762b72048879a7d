"""Turns FHIR resources into entries of a timeline: lane, days as written, and text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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
    kind = str(resource.get("resourceType"))
    if kind not in LANES or resource.get("status") in {"entered-in-error", "not-done"}:
        return None
    if any(coding.get("code") in _VERIFIED_OUT for coding in _codings(resource.get("verificationStatus"))):
        return None
    start, end = _times(kind, resource)
    words, detail = _words(kind, resource)
    modalities, sites = _imaging(resource)
    quantity = resource.get("valueQuantity") or {}
    value = quantity.get("value")
    return Entry(
        lane=LANES[kind],
        start=_day(start),
        end=_day(end),
        label=words or "without a name",
        detail=detail,
        reference=f"{kind}/{resource.get('id')}",
        updated=_day((resource.get("meta") or {}).get("lastUpdated")),
        group=_uid(resource) if kind == "Observation" else "",
        value=value if isinstance(value, int | float) else None,
        unit=str(quantity.get("unit") or quantity.get("code") or ""),
        study=_uid(resource) if kind == "ImagingStudy" else "",
        modalities=modalities,
        sites=sites,
    )


def _times(kind: str, resource: Resource) -> tuple[Any, Any]:
    def period(name: str) -> tuple[Any, Any]:
        period = resource.get(name) or {}
        return period.get("start"), period.get("end")

    match kind:
        case "Encounter":
            return period("period")
        case "Condition":
            first = resource.get("onsetDateTime") or period("onsetPeriod")[0] or resource.get("recordedDate")
            return first, resource.get("abatementDateTime") or period("abatementPeriod")[1]
        case "Procedure":
            first, last = period("performedPeriod")
            return resource.get("performedDateTime") or first, last
        case "MedicationRequest":
            return resource.get("authoredOn"), None
        case "ImagingStudy":
            return resource.get("started"), None
        case _:
            first, last = period("effectivePeriod")
            alone = resource.get("effectiveDateTime") or resource.get("effectiveInstant")
            return alone or first or resource.get("issued"), last


def _words(kind: str, resource: Resource) -> tuple[str, str]:
    status = str(resource.get("status") or "")
    match kind:
        case "ImagingStudy":
            modalities = " ".join(str(coding.get("code")) for coding in resource.get("modality") or ())
            series = len(resource.get("series") or ()) or resource.get("numberOfSeries") or 0
            return f"{modalities} {resource.get('description') or ''}".strip(), f"{series} series"
        case "Encounter":
            kinds = [text for concept in resource.get("type") or () if (text := _text(concept))]
            return ", ".join(kinds) or str((resource.get("class") or {}).get("code") or ""), status
        case "MedicationRequest" | "MedicationAdministration":
            named = (resource.get("medicationReference") or {}).get("display")
            return _text(resource.get("medicationCodeableConcept")) or str(named or ""), status
        case "DiagnosticReport":
            return _text(resource.get("code")), " ".join([status, str(resource.get("conclusion") or "")]).strip()
        case "Observation":
            return _text(resource.get("code")), _value(resource)
        case _:
            return _text(resource.get("code")), status or _text(resource.get("clinicalStatus"))


def _value(resource: Resource) -> str:
    quantity = resource.get("valueQuantity")
    if quantity:
        return f"{quantity.get('value')} {quantity.get('unit') or quantity.get('code') or ''}".strip()
    parts = [
        f"{_text(component.get('code'))} {inside.get('value')} {inside.get('unit') or inside.get('code') or ''}".strip()
        for component in resource.get("component") or ()
        if (inside := component.get("valueQuantity"))
    ]
    return _text(resource.get("valueCodeableConcept")) or "; ".join(parts) or str(resource.get("valueString") or "")


def _imaging(resource: Resource) -> tuple[frozenset[str], frozenset[str]]:
    series = resource.get("series") or () if resource.get("resourceType") == "ImagingStudy" else ()
    sites = {str(site["code"]) for one_series in series if (site := one_series.get("bodySite") or {}).get("code")}
    modalities = (
        {str(coding["code"]) for coding in resource.get("modality") or () if coding.get("code")} if series else set()
    )
    return frozenset(modalities), frozenset(sites)


def _codings(concept: Any) -> list[Mapping[str, Any]]:
    return [coding for coding in (concept or {}).get("coding") or () if isinstance(coding, dict)]


def _text(concept: Any) -> str:
    if not isinstance(concept, dict):
        return ""
    codings = _codings(concept)
    shown = next((coding["display"] for coding in codings if coding.get("display")), "")
    return str(concept.get("text") or shown or next((coding["code"] for coding in codings if coding.get("code")), ""))


def _uid(resource: Resource) -> str:
    for identifier in resource.get("identifier") or ():
        if identifier.get("system") == _UID_SYSTEM and identifier.get("value"):
            return str(identifier["value"]).removeprefix("urn:oid:")
    return ""


def _day(written: Any) -> str:
    """Return a date as written, without its time."""
    day = _DAY.match(str(written or ""))
    return day.group() if day else ""
