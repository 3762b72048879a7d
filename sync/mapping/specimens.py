"""Specimens: (0040,0560) of slides and similar objects -> logical references, for which no Specimen is made."""

from __future__ import annotations

from sync.config import MappingSettings
from sync.dicom.attributes import items
from sync.mapping.agreement import Witnesses
from sync.mapping.identifiers import first_item, issuer_of
from sync.mapping.resource import canonical
from sync.mapping.terminology import DICOM_UID_SYSTEM
from sync.mapping.values import Findings, filled, first, one_text, uid
from sync.model import Attributes, Resource

_CONTAINER, _CONTAINER_ISSUER = "ContainerIdentifier", "IssuerOfTheContainerIdentifierSequence"
_KEYWORD = "SpecimenDescriptionSequence"
_ISSUER = "IssuerOfTheSpecimenIdentifierSequence"


def specimens(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return ``series.specimen``: every specimen of a series, and every container of specimens, each once.

    The order depends only on their values. A slide is a container: laboratories search by its number (0040,0512).
    """
    references = [
        _specimen(item, settings, findings)
        for stated in witnesses.distinct(_KEYWORD)
        for item in items(stated, _KEYWORD)
    ]
    containers = witnesses.distinct(_CONTAINER, _CONTAINER_ISSUER)
    references += [_container(stated, settings, findings) for stated in containers]
    distinct = {canonical(reference): reference for reference in references if reference}
    return [distinct[key] for key in sorted(distinct)]


def _specimen(item: Attributes, settings: MappingSettings, findings: Findings) -> Resource | None:
    """Return a reference by (0040,0551) if its issuer is named, else by UID (0040,0554), else by (0040,0551) alone."""
    value = one_text(item, "SpecimenIdentifier", findings)
    stated = first(item, "SpecimenUID", findings)
    specimen_uid = uid(stated)
    if stated is not None and specimen_uid is None:
        findings.note("SpecimenUID", "uid.unusable", "omitted")
    designator = first_item(item, _ISSUER)
    name = one_text(designator, "LocalNamespaceEntityID", findings)
    issuer = issuer_of(name, designator, settings, findings, keyword=_ISSUER, default="")
    identifier: Resource | None = None
    if value and issuer.system:
        assigner = {"display": issuer.name} if issuer.name else None
        identifier = filled({"system": issuer.system, "value": value, "assigner": assigner})
    elif specimen_uid:
        identifier = {"system": DICOM_UID_SYSTEM, "value": f"urn:oid:{specimen_uid}"}
    elif value:
        identifier = {"value": value}
    return filled({"type": "Specimen", "identifier": identifier, "display": value}) if identifier else None


def _container(said: Attributes, settings: MappingSettings, findings: Findings) -> Resource | None:
    """Return the specimens in a container (0040,0512), which R4 knows by ``Specimen.container.identifier``."""
    value = one_text(said, _CONTAINER, findings)
    if value is None:
        return None
    designator = first_item(said, _CONTAINER_ISSUER)
    name = one_text(designator, "LocalNamespaceEntityID", findings)
    issuer = issuer_of(name, designator, settings, findings, keyword=_CONTAINER_ISSUER, default="")
    assigner = {"display": issuer.name} if issuer.name else None
    kind = {"text": "Container Identifier"}
    identifier = filled({"type": kind, "system": issuer.system or None, "value": value, "assigner": assigner})
    return {"type": "Specimen", "identifier": identifier, "display": value}
