"""
Irradiation events of a dose report (TID 10003, 10013) -> an Observation each, with the doses that are compared.

CT: CTDIvol, DLP, phantom, protocol and region; X-ray: dose area product and dose at the reference point. They are
members of the Observation of the totals (`sync.mapping.dose`), because reference levels are set for single scans.
"""

from __future__ import annotations

from collections.abc import Iterator

from sync.mapping.content import (
    Concept,
    coded_value,
    concept,
    descendants,
    is_named,
    kind,
    name_of,
    plain_value,
    quantity,
    texts_of,
    timestamps,
)
from sync.mapping.source import Source, dicom_uid
from sync.mapping.terminology import IMAGING_CATEGORY
from sync.mapping.timestamps import instant
from sync.mapping.values import uid
from sync.model import Attributes, Resource

MOST_EVENTS = 500
"""Maximum events of one report: a long intervention has thousands, and the totals are enough."""

_EVENTS = (concept("DCM:113819"), concept("DCM:113706"))
_DOSES = (concept("DCM:113830"), concept("DCM:113838"), concept("DCM:122130"), concept("DCM:113738"))
"""Mean CTDIvol, DLP; Dose Area Product, Dose (RP)."""

_CIRCUMSTANCES = (
    concept("DCM:113835"),
    concept("DCM:125203"),
    concept("DCM:123014"),
    concept("DCM:113820"),
    concept("DCM:113764"),
    concept("DCM:113721"),
)
"""CTDIw phantom, acquisition protocol, target region; type of CT acquisition, acquisition plane, irradiation event."""

_EVENT_UID = concept("DCM:113769")
_START = concept("DCM:111526")


def build_events(source: Source, shared: Resource) -> list[Resource]:
    """
    Return the Observations of the irradiation events that state a dose, 0..n, in the order of the file.

    Parameters
    ----------
    shared
        Elements that the Observation of the totals also has: status, study, device.
    """
    made: list[Resource] = []
    for item in _events(source.attributes):
        doses = _components(item, _DOSES, source)
        if not doses:
            continue
        if len(made) == MOST_EVENTS:
            source.findings.note("ContentSequence", "content.too_many", "further events left out")
            break
        made.append(
            _event(item, doses, {**shared, "category": [{"coding": [dict(IMAGING_CATEGORY)]}]}, source, len(made) + 1)
        )
    return made


def _events(root: Attributes) -> Iterator[Attributes]:
    return (item for _, item in descendants(root) if kind(item) == "CONTAINER" and is_named(item, *_EVENTS))


def _event(item: Attributes, doses: list[Resource], shared: Resource, source: Source, number: int) -> Resource:
    began = timestamps([node for _, node in descendants(item) if is_named(node, _START)], source)
    stated = [uid_of_event for uid_of_event in texts_of(item, _EVENT_UID, source) if uid(uid_of_event)][:1]
    elements = {
        **shared,
        "identifier": [source.identifier, *map(dicom_uid, stated)],
        "code": name_of(item, source),
        "effectiveDateTime": next(iter(began), None) or source.started,
        "issued": instant(source.written),
        "component": [*_components(item, _CIRCUMSTANCES, source), *doses],
    }
    return source.resource("Observation", elements, place=f"e{number}")


def _components(item: Attributes, names: tuple[Concept, ...], source: Source) -> list[Resource]:
    components = [_component(node, source) for _, node in descendants(item) if is_named(node, *names)]
    return [component for component in components if component]


def _component(item: Attributes, source: Source) -> Resource | None:
    name = name_of(item, source)
    if name is None:
        return None
    if kind(item) == "NUM":
        measured = quantity(item, source)
        return {"code": name, "valueQuantity": measured} if measured else None
    coded = coded_value(item, source)
    if coded is not None:
        return {"code": name, "valueCodeableConcept": coded}
    value = plain_value(item, source)
    return {"code": name, "valueString": value} if value else None
