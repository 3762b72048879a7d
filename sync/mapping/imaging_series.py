"""
Series and instance elements of an ImagingStudy (backbone elements: no resources of their own).

Only this module's cost grows with the number of instances, so it does as little as possible for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sync.config import MappingSettings, includes
from sync.dicom.attributes import FRAME_GROUPS, SHARED_GROUPS, items, texts
from sync.mapping.acquisition import acquisition, custodian
from sync.mapping.agreement import Witnesses
from sync.mapping.codes import best_coding
from sync.mapping.device import Equipment, equipment
from sync.mapping.identifiers import first_item
from sync.mapping.image_details import image_details
from sync.mapping.people import Role, people
from sync.mapping.sop_classes import sop_class_name
from sync.mapping.specimens import specimens
from sync.mapping.standards import body_parts
from sync.mapping.terminology import (
    ACQUISITION_MODALITIES,
    DATA_ABSENT_REASON,
    LATERALITY,
    NUMBER_OF_FRAMES,
    OTHER_MODALITY,
    PARTICIPATION_TYPE,
    SNOMED_CT,
    URI_SYSTEM,
    modality_system,
)
from sync.mapping.timestamps import Keywords, fhir_datetime, instant_key
from sync.mapping.values import Findings, code, filled, first, number, one_text, uid
from sync.model import Attributes, InstanceRecord, Resource

Addresses = Mapping[tuple[str, str], Sequence[Resource]]
_NOWHERE: Addresses = MappingProxyType({})

_STARTED = Keywords(date="SeriesDate", time="SeriesTime")
_PERFORMERS = (
    ("PRF", Role("PerformingPhysicianName", "PerformingPhysicianIdentificationSequence")),
    ("SPRF", Role("OperatorsName", "OperatorIdentificationSequence")),
)
"""HL7 v3 ParticipationType: performer, secondary performer; equipment is ``DEV``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Series elements sorted by (number, UID), those without a number last; their modalities, and their Devices."""

    elements: tuple[Resource, ...]
    modalities: frozenset[str]
    devices: tuple[Resource, ...]


def build_series(
    instances: Sequence[InstanceRecord],
    settings: MappingSettings,
    findings: Findings,
    addresses: Addresses = _NOWHERE,
) -> Series:
    """
    Build ``ImagingStudy.series`` of all instances of a study.

    An instance whose Series or SOP Instance UID is not valid as a FHIR id is left out with a finding; the header reader
    refuses such objects, so none should arrive here. If a setting keeps a study from listing its instances, a series
    has ``numberOfInstances`` only: R4 allows it to exceed the number of listed instances.

    Parameters
    ----------
    addresses
        Extensions with the location of an instance, by Series and SOP Instance UID.
    """
    members: dict[str, list[tuple[str, Attributes]]] = {}
    for record in instances:
        series_uid, instance_uid = uid(record.series_instance_uid), uid(record.sop_instance_uid)
        if series_uid is None or instance_uid is None:
            keyword = "SOPInstanceUID" if series_uid else "SeriesInstanceUID"
            findings.note(keyword, "uid.unusable", "instance left out")
        else:
            members.setdefault(series_uid, []).append((instance_uid, record.attributes))
    listed = settings.lists_instances(sum(len(instances_of_series) for instances_of_series in members.values()))
    devices: dict[str, Resource] = {}
    acquired: set[str] = set()
    elements = []
    for series_uid, instances_of_series in members.items():
        witnesses = Witnesses([attributes for _, attributes in instances_of_series], "series", findings)
        acquired |= _acquired(witnesses)
        made_by = equipment(witnesses, findings)
        if made_by is not None and made_by.device is not None:
            devices[made_by.device["id"]] = made_by.device
        element = _series(series_uid, instances_of_series, witnesses, settings, findings)
        element["performer"] = _performers(witnesses, made_by, settings, findings)
        element["extension"] = acquisition(witnesses, element["modality"]["code"], settings, findings)
        if listed:
            element["instance"] = _addressed(_instances(instances_of_series, settings, findings), series_uid, addresses)
        elements.append(filled(element))
    return Series(
        elements=tuple(sorted(elements, key=_by_number)),
        modalities=frozenset(element["modality"]["code"] for element in elements) | acquired,
        devices=tuple(devices[key] for key in sorted(devices)),
    )


def _addressed(instances: list[Resource], series_uid: str, addresses: Addresses) -> list[Resource]:
    """Add to each instance of a series its location."""
    for instance in instances if addresses else ():
        extensions = addresses.get((series_uid, instance["uid"]))
        if extensions:
            instance["extension"] = [*instance.get("extension", ()), *extensions]
    return instances


def _series(
    series_uid: str,
    members: Sequence[tuple[str, Attributes]],
    witnesses: Witnesses,
    settings: MappingSettings,
    findings: Findings,
) -> Resource:
    return filled(
        {
            "uid": series_uid,
            "number": number(witnesses.agree("SeriesNumber"), "SeriesNumber", findings),
            "modality": _modality(witnesses, findings),
            "description": one_text(witnesses.agree("SeriesDescription"), "SeriesDescription", findings),
            "numberOfInstances": len(members),
            "bodySite": _body_site(witnesses, settings, findings),
            "laterality": _laterality(witnesses, findings),
            "specimen": specimens(witnesses, settings, findings),
            "started": _started(witnesses, settings, findings),
        }
    )


def _performers(
    witnesses: Witnesses, made_by: Equipment | None, settings: MappingSettings, findings: Findings
) -> list[Resource]:
    """Return the performers: physicians, operators, and the equipment."""
    actors = [
        (function, person) for function, role in _PERFORMERS for person in people(witnesses, role, settings, findings)
    ]
    if made_by is not None:
        actors.append(("DEV", made_by.reference))
    performers = [
        {"function": {"coding": [{"system": PARTICIPATION_TYPE, "code": function}]}, "actor": actor}
        for function, actor in actors
    ]
    return [*performers, *custodian(witnesses, settings, findings)]


def _by_number(element: Resource) -> tuple[bool, int, str]:
    return "number" not in element, element.get("number", 0), element["uid"]


def _modality(witnesses: Witnesses, findings: Findings) -> Resource:
    """
    Return ``series.modality``, 1..1; a code that DICOM does not define stays, without a system.

    In a series of images and derived objects, the acquisition modality counts (PS3.16 CID 29): users search for it.
    """
    witnesses.agree("Modality")  # a difference is a finding, whichever is chosen
    acquiring = witnesses.preferring("Modality", ACQUISITION_MODALITIES)
    stated = code(first(acquiring.agree("Modality"), "Modality", findings), "Modality", findings)
    if stated is None:
        findings.note("Modality", "modality.missing", f"{OTHER_MODALITY} written")
    modality = stated or OTHER_MODALITY
    system = modality_system(modality)
    if system is None:
        findings.note("Modality", "modality.unknown", "code without system")
    return filled({"system": system, "code": modality})


def _acquired(witnesses: Witnesses) -> set[str]:
    """Return the acquisition modalities that any instance states, even if the series has a different one."""
    return {str(stated["Modality"][0]) for stated in witnesses.distinct("Modality") if stated} & ACQUISITION_MODALITIES


def _body_site(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> Resource | None:
    """
    Return the coded region, also that of all frames (0020,9071), else the term of (0018,0015).

    A term of (0018,0015) is looked up (PS3.16 Annex L), any other text is only the display.
    """
    keyword = "AnatomicRegionSequence"
    for item in items(witnesses.agree(keyword), keyword)[:1]:
        region = best_coding(item, keyword, settings, findings)
        if region is not None:
            return region
    regions = [
        region
        for anatomy in _frame_anatomy(witnesses)
        for item in items(anatomy, keyword)[:1]
        if (region := best_coding(item, keyword, settings, findings)) is not None
    ]
    if regions and all(region == regions[0] for region in regions):
        return regions[0]
    if regions:
        findings.note(keyword, "series.conflicting_values", "omitted")
    display = one_text(witnesses.agree("BodyPartExamined"), "BodyPartExamined", findings)
    if display is None:
        return None
    part = body_parts().get(display.upper())
    if part is None:
        findings.note("BodyPartExamined", "body_part.unknown", "text without code")
        return {"display": display}
    return {"system": SNOMED_CT, "code": part.code, "display": part.meaning}


def _frame_anatomy(witnesses: Witnesses) -> list[Attributes]:
    """Return the items of Frame Anatomy (0020,9071): those shared by all frames (5200,9229), else those of frames."""
    groups = [
        group
        for keyword in (SHARED_GROUPS.keyword, FRAME_GROUPS.keyword)
        for stated in witnesses.distinct(keyword)
        for group in items(stated, keyword)
    ]
    return [anatomy for group in groups for anatomy in items(group, "FrameAnatomySequence")]


def _laterality(witnesses: Witnesses, findings: Findings) -> Resource | None:
    """Return (0020,0060) of the series, else (0020,0062), else (0020,9072), if all images that state it agree."""
    keyword = "Laterality"
    stated = first(witnesses.agree(keyword), keyword, findings)
    if stated is None:
        keyword = "ImageLaterality"
        sides = {side for stated in witnesses.distinct(keyword) for side in texts(stated, keyword)}
        if not sides:
            keyword = "FrameLaterality"
            sides = {side for anatomy in _frame_anatomy(witnesses) for side in texts(anatomy, keyword)}
        if len(sides) > 1:
            findings.note(keyword, "laterality.differs", "omitted")
        stated = sides.pop() if len(sides) == 1 else None
    side = code(stated, keyword, findings)
    if side is None or side in LATERALITY:
        return dict(LATERALITY[side]) if side else None
    findings.note(keyword, "laterality.unknown", "omitted")
    return None


def _started(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> str | None:
    """Return the earliest start that the instances state."""
    stated = witnesses.distinct(*_STARTED)
    timestamps = [fhir_datetime(attributes, _STARTED, settings.timezone, findings) for attributes in stated]
    return min((timestamp for timestamp in timestamps if timestamp), key=instant_key, default=None)


def _instances(
    members: Sequence[tuple[str, Attributes]], settings: MappingSettings, findings: Findings
) -> list[Resource]:
    sop_classes: dict[Any, Resource] = {}
    elements = []
    detailed = includes(settings.detail, "full")
    for instance_uid, attributes in members:
        stated = attributes.get("SOPClassUID") or ("",)
        if stated[0] not in sop_classes:
            sop_classes[stated[0]] = _sop_class(attributes, findings)
        element: Resource = {"uid": instance_uid, "sopClass": sop_classes[stated[0]]}
        extensions = image_details(attributes, findings) if detailed else []
        if "NumberOfFrames" in attributes and (frames := number(attributes, "NumberOfFrames", findings)) is not None:
            extensions.append({"url": NUMBER_OF_FRAMES, "valueInteger": frames})
        if extensions:
            element["extension"] = extensions
        instance_number = number(attributes, "InstanceNumber", findings)
        if instance_number is not None:
            element["number"] = instance_number
        title = _title(attributes, findings)
        if title is not None:
            element["title"] = title
        elements.append(element)
    elements.sort(key=_by_number)
    return elements


def _sop_class(attributes: Attributes, findings: Findings) -> Resource:
    """Return ``instance.sopClass``, 1..1; if absent or not a UID, it is written as unknown."""
    class_uid = uid(first(attributes, "SOPClassUID", findings))
    if class_uid is None:
        findings.note("SOPClassUID", "uid.missing", "data-absent-reason written")
        return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "unknown"}]}
    return filled({"system": URI_SYSTEM, "code": f"urn:oid:{class_uid}", "display": sop_class_name(class_uid)})


def _title(attributes: Attributes, findings: Findings) -> str | None:
    """Return (0042,0010), else the meaning of (0040,A043), else (0070,0080), which R4 prints as (0007,0080)."""
    if "DocumentTitle" in attributes and (title := one_text(attributes, "DocumentTitle", findings)):
        return title
    if "ConceptNameCodeSequence" in attributes and (
        title := one_text(first_item(attributes, "ConceptNameCodeSequence"), "CodeMeaning", findings)
    ):
        return title
    return one_text(attributes, "ContentLabel", findings)
