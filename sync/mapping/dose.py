"""
Radiation dose reports (TID 10001, 10011, 10021) -> one Observation by the HL7 guide *radiation-dose-summary* (R4).

The totals of the accumulated dose become components, each unchanged and in the units of the file: a system with two
planes, or a mammogram of two breasts, has some totals twice, and their sum would be meaningless. Irradiation events are
its members (`sync.mapping.dose_events`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.dicom.attributes import first_text
from sync.mapping.content import (
    children,
    coded_value,
    concept,
    descendants,
    is_named,
    kind,
    meaning,
    name_of,
    named,
    plain_value,
    quantity,
    shown,
    timestamps,
    value_key,
)
from sync.mapping.dose_events import build_events
from sync.mapping.observers import device_of
from sync.mapping.source import Source
from sync.mapping.statuses import lacks_content
from sync.mapping.terminology import IMAGING_CATEGORY, LOINC, RADIATION_DOSE_IDENTIFIER
from sync.mapping.timestamps import instant, instant_key
from sync.model import Attributes, Resource

DOSE_REPORTS = concept("DCM:113701", "DCM:113500")
"""Titles of X-ray and radiopharmaceutical dose reports."""

_PROCEDURE = concept("DCM:121058")
_ACCUMULATED = concept("DCM:113702", "DCM:113811")
_ADMINISTRATION = concept("DCM:113502")
_ADMINISTERED = (
    concept("DCM:113507"),
    concept("DCM:123005", "SRT:G-D705"),
    concept("SCT:349358000", "SRT:F-61FDB"),
    concept("SCT:410675002", "SRT:G-C340"),
)
_NUCLIDE = concept("SCT:89457008", "SRT:C-10072")
_PLACES = (concept("DCM:113764"), concept("SCT:272741003", "SRT:G-C171"))
"""Acquisition plane, laterality: they distinguish totals of the same name."""

_STARTS = (concept("DCM:113809"), concept("DCM:123003"), concept("DCM:111526"))
_PERSON_ROLE = concept("DCM:113875")
_AUTHORIZING = "DCM:113850"


def build_dose(source: Source) -> Sequence[Resource]:
    """
    Return the Observations of a dose report: those of its events, then the totals; a finding if it has no totals.

    Source: HL7 ``radiation-dose-summary`` 1.0.0; PS3.16 TID 10002, 10012, 10022.
    """
    root = source.attributes
    totals = [total for item in children(root) for total in _totals(item, source)]
    partial = lacks_content(source) or (first_text(root, "CompletionFlag") or "").strip().upper() == "PARTIAL"
    shared = {
        "basedOn": source.based_on,
        "partOf": [source.study],
        "status": "preliminary" if partial else "final",
        "focus": [source.study],
        "device": device_of(root, source),
    }
    events = build_events(source, shared)
    if not totals:
        source.findings.note("ContentSequence", "dose.no_totals", "events only" if events else "instance only")
        return events
    observation = {
        **shared,
        "identifier": [{"type": {"coding": [dict(RADIATION_DOSE_IDENTIFIER)]}, **source.identifier}],
        "category": [{"coding": [dict(IMAGING_CATEGORY)]}],
        "code": {
            "coding": [
                {
                    "system": LOINC,
                    "code": "73569-6",
                    "display": "Radiation exposure and protection information [Description] Document",
                }
            ]
        },
        "effectiveDateTime": _started(root, source),
        "issued": instant(source.written),
        "performer": _authorizing(root, source),
        "valueString": "; ".join(_shown(total) for total in totals),
        "hasMember": [{"reference": f"Observation/{event['id']}"} for event in events],
        "component": [*_procedure(root, source), *totals],
    }
    return [*events, source.resource("Observation", observation)]


def _totals(item: Attributes, source: Source) -> list[Resource]:
    """Return the components of one container of accumulated dose, or of one administration."""
    if is_named(item, _ACCUMULATED):
        stated = [child for child in children(item) if kind(child) == "NUM" and _is_of_dicom(child)]
        return _components(stated, _places(item, source), source)
    if is_named(item, _ADMINISTRATION) and kind(item) == "CONTAINER":
        stated = [child for child in children(item) if is_named(child, *_ADMINISTERED)]
        nuclides = [inner for holder in stated for inner in named(holder, _NUCLIDE)]
        return _components([*stated, *nuclides], [], source)
    return []


def _is_of_dicom(item: Attributes) -> bool:
    """Return whether the concept is DICOM's own: vendors add their own distances and heights."""
    return any((first_text(entry, "CodingSchemeDesignator") or "") == "DCM" for entry in _names(item))


def _names(item: Attributes) -> Sequence[Attributes]:
    return item.get("ConceptNameCodeSequence", ())


def _places(item: Attributes, source: Source) -> list[str]:
    sites = [meaning(coded_value(site, source)) for place in _PLACES for site in named(item, place)]
    return [site for site in sites if site]


def _components(stated: Sequence[Attributes], places: Sequence[str], source: Source) -> list[Resource]:
    components = []
    for item in stated:
        name, value = name_of(item, source), _value(item, source)
        if name is not None and value is not None:
            text = ", ".join([meaning(name) or "", *places, *_places(item, source)])
            components.append({"code": {**name, "text": text}, **value})
    return components


def _value(item: Attributes, source: Source) -> Resource | None:
    if kind(item) == "NUM":
        measured = quantity(item, source)
        return {"valueQuantity": measured} if measured else None
    coded = coded_value(item, source)
    if coded is not None:
        return {"valueCodeableConcept": coded}
    text = plain_value(item, source)
    return {"valueString": text} if text else None


def _procedure(root: Attributes, source: Source) -> list[Resource]:
    components = []
    for item in named(root, _PROCEDURE)[:1]:
        name, value = name_of(item, source), coded_value(item, source)
        if name is not None and value is not None:
            components.append({"code": name, "valueCodeableConcept": value})
    return components


def _shown(component: Resource) -> str:
    """Return a component as readable text."""
    measured = component.get("valueQuantity")
    if measured:
        value = shown(measured)
    else:
        value = meaning(component.get("valueCodeableConcept")) or component.get("valueString", "")
    return f"{component['code']['text']}: {value}"


def _started(root: Attributes, source: Source) -> str | None:
    """Return when irradiation or administration began, else the earliest event, else the study's own start."""
    everything = [item for _, item in descendants(root)]
    for start in _STARTS:
        stamps = timestamps([item for item in everything if is_named(item, start)], source)
        if stamps:
            return min(stamps, key=instant_key)
    return source.started


def _authorizing(root: Attributes, source: Source) -> list[Resource]:
    """Return the person who authorized the irradiation; reports seldom name one."""
    performers = []
    for _, item in descendants(root):
        roles = [value_key(role) for role in named(item, _PERSON_ROLE)] if kind(item) == "PNAME" else []
        if _AUTHORIZING in roles and (name := plain_value(item, source)):
            performers.append({"type": "Practitioner", "display": name})
    return [performer for index, performer in enumerate(performers) if performer not in performers[:index]]
