"""
Measurement reports (TID 1500) -> an Observation for each measurement group, and one for each thing said in it.

    Imaging Measurements (126010)
    + Measurement Group (125007)    ->  Observation, value = what was found, hasMember = those below
      - NUM                         ->  Observation with a Quantity
      - CODE, TEXT                  ->  Observation with a concept or a text (qualitative evaluation)
    Qualitative Evaluations         ->  the same, without a group

Both human measurements and results of algorithms arrive this way. Regions stay in the object: R4 has no resource for
them. A member repeats where and how it was measured, so that it can be read by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sync.dicom.attributes import first_text
from sync.mapping.content import (
    Concept,
    children,
    coded_value,
    concept,
    exact_texts_of,
    is_named,
    kind,
    meaning,
    name_of,
    named,
    plain_value,
    quantity,
    relation,
    texts_of,
    timestamp,
)
from sync.mapping.observers import algorithm_of, algorithms, device_of, people_of
from sync.mapping.source import Source, dicom_uid
from sync.mapping.statuses import document_status
from sync.mapping.terminology import DCM, IMAGING_CATEGORY, SNOMED_CT
from sync.mapping.timestamps import instant
from sync.mapping.values import filled, uid
from sync.model import Attributes, Resource

MEASUREMENT_REPORT = concept("DCM:126000")
"""Title of TID 1500."""

MOST_OBSERVATIONS = 2000
"""Maximum measurements of one report: with more, writing a study would take longer than a message may be leased."""

_MEASUREMENTS = concept("DCM:126010")
_EVALUATIONS = concept("UMLS:C0034375", "NCIt:C0034375")
_GROUP = concept("DCM:125007")
_IMAGE_LIBRARY = concept("DCM:111028")

_TRACKING_ID = concept("DCM:112039")
_TRACKING_UID = concept("DCM:112040")
_CATEGORY = concept("SCT:276214006", "SRT:G-C0E5")
_FINDING = concept("DCM:121071")
_SITE = concept("SCT:363698007", "SRT:G-C0E3")
_LATERALITY = concept("SCT:272741003", "SRT:G-C171")
_MODIFIER = concept("SCT:106233006", "SRT:G-A1F8")
_METHOD = concept("SCT:370129005", "SRT:G-C306", "SRT:G-C036")

_OF_THE_GROUP = (_CATEGORY, _FINDING, _SITE, _LATERALITY, _MODIFIER, _METHOD)
_SAID_ELSEWHERE = (_SITE, _LATERALITY, _MODIFIER, _METHOD)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """Where and how something was measured, as far as the items say; members inherit it from their group."""

    site: Resource | None = None
    laterality: tuple[Resource, ...] = ()
    method: Resource | None = None
    device: Resource | None = None
    tracking: tuple[Resource, ...] = ()

    def of(self, item: Attributes, source: Source) -> _Setting:
        """Return the context of an item: its own values take precedence over those of its parent."""
        return replace(
            self,
            site=_site(item, source) or self.site,
            laterality=_laterality(item, source) or self.laterality,
            method=_first_concept(item, _METHOD, source) or self.method,
            device=algorithm_of(item, source) or self.device,
            tracking=_tracking(item, source) or self.tracking,
        )


def build_measurements(source: Source) -> list[Resource]:
    """
    Return the Observations of a report's measurements, each group after its members, and the Devices of its algorithms.

    Source: PS3.16 TID 1500, 1501, 1410, 1411, 300, 1419; HL7 ``dicom-sr`` (R5), brought to R4 Observation.
    """
    root = source.attributes
    general = _Setting(device=algorithm_of(root, source) or device_of(root, source))
    observations: list[Resource] = []
    for number, (group, setting) in enumerate(_groups(root, general, source), 1):
        observations += _group(group, str(number), setting, source)
        if len(observations) > MOST_OBSERVATIONS:
            source.findings.note("ContentSequence", "content.too_many", "further measurements left out")
            break
    return [*algorithms(root, source), *observations[:MOST_OBSERVATIONS]] if observations else []


def _groups(root: Attributes, general: _Setting, source: Source) -> list[tuple[Attributes, _Setting]]:
    """
    Return the containers of measurements, 0..n, each with its setting; measurements outside a group count as a group.

    Those of TID 1500 come first, then those of other templates, wherever they stand: echo, vascular, obstetric. Last
    comes the report itself, if it holds numbers that are in no container.
    """
    holders = [holder for holder in children(root) if is_named(holder, _MEASUREMENTS, _EVALUATIONS)]
    inner = [group for holder in holders for group in named(holder, _GROUP)]
    loose = [holder for holder in holders if any(kind(child) in ("NUM", "CODE", "TEXT") for child in children(holder))]
    placed = {id(group) for group in (*inner, *loose)}
    others = [(group, setting) for group, setting in _elsewhere(root, general, source) if id(group) not in placed]
    own = [(root, general)] if _holds_numbers(root) else []
    return [*((group, general) for group in (*inner, *loose)), *others, *own]


def _holds_numbers(holder: Attributes) -> bool:
    return any(kind(item) == "NUM" and relation(item) in ("CONTAINS", "") for item in children(holder))


def _elsewhere(holder: Attributes, setting: _Setting, source: Source) -> Iterator[tuple[Attributes, _Setting]]:
    """Return every group below, and every container that holds numbers, except descriptions of the images."""
    for item in children(holder):
        if kind(item) == "CONTAINER" and not is_named(item, _IMAGE_LIBRARY):
            if _holds_numbers(item) or is_named(item, _GROUP):
                yield item, setting
            yield from _elsewhere(item, setting.of(item, source), source)


def _group(group: Attributes, place: str, general: _Setting, source: Source) -> list[Resource]:
    setting = general.of(group, source)
    observations: list[Resource] = []
    for number, item in enumerate(children(group), 1):
        observation = _member(item, f"{place}.{number}", setting, source)
        observations += [observation] if observation is not None else []
    if is_named(group, _GROUP):
        observations.append(_head(group, place, setting, observations, source))
    return observations


def _head(group: Attributes, place: str, setting: _Setting, members: Sequence[Resource], source: Source) -> Resource:
    """Return the Observation of the group itself; members beyond the maximum are in the object only."""
    group_code = {"coding": [{"system": DCM, "code": "125007"}], "text": "Measurement Group"}
    elements = {
        **_common(group, setting, source),
        "category": [{"coding": [dict(IMAGING_CATEGORY)]}, group_code],
        "code": _first_concept(group, _CATEGORY, source) or group_code,
        "valueCodeableConcept": _first_concept(group, _FINDING, source),
        "component": list(setting.laterality),
        "hasMember": [{"reference": f"Observation/{member['id']}"} for member in members],
    }
    return source.resource("Observation", elements, place=place)


def _member(item: Attributes, place: str, setting: _Setting, source: Source) -> Resource | None:
    """Return the Observation of a NUM, CODE or TEXT item that is a result; None for context, images and empty items."""
    if relation(item) not in ("CONTAINS", "") or is_named(item, *_OF_THE_GROUP, _TRACKING_ID):
        return None
    name = name_of(item, source)
    value = _value(item, source)
    if value is None:
        return None
    if name is None:
        source.findings.note("ConceptNameCodeSequence", "content.no_name", "left out")
        return None
    own = setting.of(item, source)
    elements = {
        **_common(item, own, source),
        "category": [{"coding": [dict(IMAGING_CATEGORY)]}],
        "code": name,
        **value,
        "component": [*own.laterality, *_qualifications(item, source)],
    }
    return source.resource("Observation", elements, place=place)


def _common(item: Attributes, setting: _Setting, source: Source) -> Resource:
    observed = timestamp(first_text(item, "ObservationDateTime"), source) or source.written
    return {
        "identifier": [source.identifier, *_observation_uid(item), *setting.tracking],
        "basedOn": source.based_on,
        "status": _STATUS.get(document_status(source), "unknown"),
        "effectiveDateTime": source.started,
        "issued": instant(observed),
        "performer": people_of(source.attributes, source),
        "bodySite": setting.site,
        "method": setting.method,
        "device": setting.device,
        "derivedFrom": [source.study],
    }


_STATUS = {"final": "final", "preliminary": "preliminary", "partial": "preliminary", "amended": "amended"}
"""Status of a document -> Observation.status."""


def _value(item: Attributes, source: Source) -> Resource | None:
    match kind(item):
        case "NUM":
            measured = quantity(item, source)
            return {"valueQuantity": measured} if measured else None
        case "CODE":
            coded = coded_value(item, source)
            return {"valueCodeableConcept": coded} if coded else None
        case "TEXT" | "DATETIME" | "DATE" | "TIME":
            text = plain_value(item, source)
            return {"valueString": text} if text else None
    return None


def _qualifications(item: Attributes, source: Source) -> list[Resource]:
    """Return components for derivations, properties and modifiers of the value, such as that it is a mean."""
    components = []
    for child in children(item):
        if relation(child) in ("HAS CONCEPT MOD", "HAS PROPERTIES") and not is_named(child, *_SAID_ELSEWHERE):
            name, value = name_of(child, source), _value(child, source)
            if name is not None and value is not None:
                components.append({"code": name, **value})
    return components


def _site(item: Attributes, source: Source) -> Resource | None:
    """Return the finding site; its side and part can only be text, because R4 has a single concept here."""
    for site in named(item, _SITE)[:1]:
        coded = coded_value(site, source)
        more = [place for holder in (site, item) for name in (_LATERALITY, _MODIFIER) for place in named(holder, name)]
        words = [meaning(coded), *(meaning(coded_value(place, source)) for place in more)]
        text = ", ".join(dict.fromkeys(word for word in words if word))
        return filled({**(coded or {}), "text": text or None}) or None
    return None


def _laterality(item: Attributes, source: Source) -> tuple[Resource, ...]:
    """
    Return a component with the side of the finding site as a code, because text cannot be searched or counted.

    The site's own modifier wins over that of the item (PS3.16 TID 1501, TID 300, SNOMED CT 272741003).
    """
    holders = [*named(item, _SITE)[:1], item]
    sides = [coded_value(place, source) for holder in holders for place in named(holder, _LATERALITY)]
    side = next((candidate for candidate in sides if candidate), None)
    code = {"coding": [{"system": SNOMED_CT, "code": "272741003"}], "text": "Laterality"}
    return ({"code": code, "valueCodeableConcept": side},) if side else ()


def _first_concept(item: Attributes, name: Concept, source: Source) -> Resource | None:
    concepts = [coded_value(holder, source) for holder in named(item, name)]
    return next((concept for concept in concepts if concept), None)


def _tracking(item: Attributes, source: Source) -> tuple[Resource, ...]:
    """Return the identifiers by which a lesion is followed over time (PS3.16 TID 1501)."""
    identifiers = [
        ({"value": text}, "112039", "Tracking Identifier") for text in exact_texts_of(item, _TRACKING_ID, source)
    ]
    uids = [text for text in texts_of(item, _TRACKING_UID, source) if uid(text)]
    identifiers += [(dicom_uid(text), "112040", "Tracking Unique Identifier") for text in uids]
    return tuple(
        {"type": {"coding": [{"system": DCM, "code": code}], "text": text}, **identifier}
        for identifier, code, text in identifiers
    )


def _observation_uid(item: Attributes) -> list[Resource]:
    stated = uid(first_text(item, "ObservationUID"))
    return [dicom_uid(stated)] if stated else []
