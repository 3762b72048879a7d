"""What FHIR resources are on a timeline: lane, days as they were written, and words. Pure."""

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
    One thing on the timeline.

    Attributes
    ----------
    start, end
        As they were written, a year, a month or a day; empty where there is none.
    group
        UID of what a measurement tracks, such as a lesion; empty for none.
    value
        Of a measurement, in ``unit``; None for none.
    study
        Study Instance UID; empty for none.
    sites
        Codes of modality and body sites, by which priors are found.
    prior
        Whether it is a relevant prior of the study that is viewed.
    new
        Whether it was written to FHIR since the requested day.
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
        """Return by what entries are sorted: those without a date last."""
        return (not self.start, self.start, self.lane, self.reference)


def entries(resources: Iterable[Resource], *, since: str = "", study: str = "") -> tuple[Entry, ...]:
    """
    Return the entries in order of time; what was entered in error or refuted is left out.

    Parameters
    ----------
    since
        A day; what was written then or later is new.
    study
        Study Instance UID of the study that is viewed; empty for the latest.
    """
    found = {each.reference: each for resource in resources if (each := entry(resource)) is not None}
    listed = sorted(found.values(), key=lambda each: each.order)
    if since:
        listed = [replace(each, new=each.updated >= since) for each in listed]
    studies = [each for each in listed if each.study and each.start]
    wanted = [each for each in studies if each.study == study] if study else studies
    viewed = wanted[-1] if wanted else None
    if viewed is not None:
        listed = [replace(each, prior=_is_prior(each, viewed)) for each in listed]
    return tuple(listed)


def _is_prior(entry: Entry, viewed: Entry) -> bool:
    """Return whether it is an earlier study of the same body site; where no site is known, of the same modality."""
    if not entry.study or not entry.start or entry.start >= viewed.start:
        return False
    if entry.sites and viewed.sites:
        return bool(entry.sites & viewed.sites)
    return bool(entry.modalities & viewed.modalities)


def entry(resource: Resource) -> Entry | None:
    """Return a resource as an entry; None for one that is no fact about the patient."""
    kind = str(resource.get("resourceType"))
    if kind not in LANES or resource.get("status") in {"entered-in-error", "not-done"}:
        return None
    if any(each.get("code") in _VERIFIED_OUT for each in _codings(resource.get("verificationStatus"))):
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
        found = resource.get(name) or {}
        return found.get("start"), found.get("end")

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
            modalities = " ".join(str(each.get("code")) for each in resource.get("modality") or ())
            series = len(resource.get("series") or ()) or resource.get("numberOfSeries") or 0
            return f"{modalities} {resource.get('description') or ''}".strip(), f"{series} series"
        case "Encounter":
            kinds = [text for each in resource.get("type") or () if (text := _text(each))]
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
        f"{_text(each.get('code'))} {inside.get('value')} {inside.get('unit') or inside.get('code') or ''}".strip()
        for each in resource.get("component") or ()
        if (inside := each.get("valueQuantity"))
    ]
    return _text(resource.get("valueCodeableConcept")) or "; ".join(parts) or str(resource.get("valueString") or "")


def _imaging(resource: Resource) -> tuple[frozenset[str], frozenset[str]]:
    series = resource.get("series") or () if resource.get("resourceType") == "ImagingStudy" else ()
    sites = {str(site["code"]) for each in series if (site := each.get("bodySite") or {}).get("code")}
    modalities = {str(each["code"]) for each in resource.get("modality") or () if each.get("code")} if series else set()
    return frozenset(modalities), frozenset(sites)


def _codings(concept: Any) -> list[Mapping[str, Any]]:
    return [each for each in (concept or {}).get("coding") or () if isinstance(each, dict)]


def _text(concept: Any) -> str:
    if not isinstance(concept, dict):
        return ""
    codings = _codings(concept)
    shown = next((each["display"] for each in codings if each.get("display")), "")
    return str(concept.get("text") or shown or next((each["code"] for each in codings if each.get("code")), ""))


def _uid(resource: Resource) -> str:
    for each in resource.get("identifier") or ():
        if each.get("system") == _UID_SYSTEM and each.get("value"):
            return str(each["value"]).removeprefix("urn:oid:")
    return ""


def _day(written: Any) -> str:
    """Return a date as it was written, without its time."""
    found = _DAY.match(str(written or ""))
    return found.group() if found else ""
