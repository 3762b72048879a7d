"""
Ownership of elements: the sync owns the elements that it writes and keeps all others.

`overlay` is the one place that decides which is which.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from types import MappingProxyType
from typing import Any

from sync.mapping import mii
from sync.mapping.terminology import DICOM_UID_SYSTEM, OBSERVATION_VALUE, PATIENT_ANIMAL
from sync.mapping.timestamps import without_trailing_zeros
from sync.model import Resource

IMAGING_STUDY_ELEMENTS = frozenset(
    {
        "basedOn",
        "description",
        "endpoint",
        "identifier",
        "interpreter",
        "location",
        "modality",
        "numberOfInstances",
        "numberOfSeries",
        "procedureCode",
        "reasonCode",
        "referrer",
        "series",
        "started",
        "status",
        "subject",
    }
)
"""Top-level elements that the mapping can write: we own them in an ImagingStudy that we created, even if absent."""

PATIENT_ELEMENTS = frozenset({"birthDate", "_birthDate", "gender", "identifier", "name"})
"""The same for a Patient that we created."""

DERIVED_ELEMENTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        kind: frozenset(elements.split())
        for kind, elements in {
            "DiagnosticReport": "basedOn category code conclusion conclusionCode effectiveDateTime identifier "
            "imagingStudy issued presentedForm result resultsInterpreter status subject text",
            "DocumentReference": "author content context date description docStatus identifier masterIdentifier "
            "relatesTo status subject type",
            "Observation": "basedOn bodySite category code component derivedFrom device effectiveDateTime focus "
            "hasMember identifier issued method partOf performer status subject "
            "valueCodeableConcept valueQuantity valueString",
        }.items()
    }
)
"""The same for resources of single instances, by their type."""

_TIMES = frozenset(
    {"authoredOn", "birthTime", "creation", "date", "effectiveDateTime", "effectiveInstant", "end", "issued", "start"}
    | {"started", "valueDateTime", "valueInstant"}
)
"""Elements that hold a dateTime or an instant, of all types that we write."""

_Slot = tuple[str, ...]
_UID_SLOT: _Slot = ("uid",)
_ACCESSION_SLOT: _Slot = ("accession",)
_SECONDARY_SLOT: _Slot = ("secondary",)
_IDENTITY_REMOVED: frozenset[_Slot] = frozenset({(OBSERVATION_VALUE, "PSEUDED"), (OBSERVATION_VALUE, "ANONYED")})
"""Security labels that the mapping sets on a Patient, and therefore also removes."""


def _study_slot(identifier: Resource) -> _Slot:
    """
    Return the slot of an identifier of a study that we created: our identifiers replace others in the same slot.

    A study has one UID and one accession number, whatever their values; other identifiers are distinguished by system.
    """
    if identifier.get("system") == DICOM_UID_SYSTEM:
        return _UID_SLOT
    codes = [c.get("code", "") for c in identifier.get("type", {}).get("coding", [])]
    return _ACCESSION_SLOT if "ACSN" in codes else _system_slot(identifier)


def _system_slot(identifier: Resource) -> _Slot:
    return ("system", str(identifier.get("system", "")))


def _patient_slot(identifier: Resource) -> _Slot:
    """Return the slot of a Patient's identifier: one system may have several; *secondary* ones are further ones."""
    if identifier.get("use") == "secondary":
        return _SECONDARY_SLOT
    return (*_system_slot(identifier), str(identifier.get("value", "")))


def _extension_slot(extension: Resource) -> _Slot:
    return (str(extension.get("url", "")),)


def _label_slot(label: Resource) -> _Slot:
    return str(label.get("system", "")), str(label.get("code", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """
    Our parts of a stored resource: top-level elements, slots within ``identifier``, extensions, security labels.

    In a resource that we created, we own every element that we could write, even if absent. In an adopted resource, we
    own only the elements that we write now, or wrote before.
    """

    elements: frozenset[str]
    identifier_slot: Callable[[Resource], _Slot] = _system_slot
    identifier_slots: frozenset[_Slot] = frozenset()
    extensions: frozenset[_Slot] = frozenset()
    labels: frozenset[_Slot] = frozenset()

    @classmethod
    def of_study(cls, *, adopted: bool, written: frozenset[str], study_id_system: str) -> Ownership:
        """Return the ownership of an ImagingStudy."""
        extensions = frozenset({(mii.HEIGHT,), (mii.WEIGHT,)})
        if adopted:
            return cls(elements=written - {"identifier", "extension"}, extensions=extensions)
        slots = {_UID_SLOT, _ACCESSION_SLOT} | ({("system", study_id_system)} if study_id_system else set())
        # We own an encounter only if we wrote it: other systems also assign studies to encounters.
        elements = IMAGING_STUDY_ELEMENTS | (written & {"encounter"})
        return cls(
            elements=elements,
            identifier_slot=_study_slot,
            identifier_slots=frozenset(slots),
            extensions=extensions,
        )

    @classmethod
    def of_taken_over(cls, *, former: frozenset[str], written: frozenset[str], study_id_system: str) -> Ownership:
        """Return the ownership of an adopted ImagingStudy of whose ``former`` elements we are now the only owner."""
        ours = cls.of_study(adopted=False, written=written, study_id_system=study_id_system)
        return replace(ours, elements=(written | former) - {"identifier", "extension"})

    @classmethod
    def of_patient(cls) -> Ownership:
        """Return the ownership of a Patient that we created."""
        return cls(
            elements=PATIENT_ELEMENTS,
            identifier_slot=_patient_slot,
            identifier_slots=frozenset({_SECONDARY_SLOT}),
            extensions=frozenset({(PATIENT_ANIMAL,)}),
            labels=_IDENTITY_REMOVED,
        )

    @classmethod
    def of_derived(cls, ours: Resource) -> Ownership:
        """
        Return the ownership of a derived resource; other systems add their own identifiers.

        We own codes of a conclusion only if the document states some: other systems code a conclusion in text.
        """
        slots = frozenset({("system", DICOM_UID_SYSTEM)})
        left_to_others = {"identifier"} if "conclusionCode" in ours else {"identifier", "conclusionCode"}
        return cls(elements=DERIVED_ELEMENTS[ours["resourceType"]] - left_to_others, identifier_slots=slots)

    @classmethod
    def of_exactly(cls, ours: Resource) -> Ownership:
        """Return the ownership of exactly the elements of ``ours``."""
        return cls(elements=frozenset(ours) - {"identifier"})


def overlay(held: Resource, ours: Resource, owned: Ownership) -> Resource:
    """
    Overlay the server's resource with our elements; elements of others stay.

    Parameters
    ----------
    held
        The resource as the server has it; its id stays, its ``meta`` keeps profile, tag and security.
    ours
        The content that we want.
    owned
        The parts that we own: they are removed if ``ours`` lacks them.

    Returns
    -------
    Resource
        What to PUT. Identifiers of other slots and extensions with other URLs survive beside ours.
    """
    merged = {k: v for k, v in held.items() if k not in owned.elements}
    merged.update({k: v for k, v in ours.items() if k not in ("id", "meta")})
    identifiers = _keep_foreign(held, ours, "identifier", owned.identifier_slot, owned.identifier_slots)
    extensions = _keep_foreign(held, ours, "extension", _extension_slot, owned.extensions)
    merged.update(identifier=identifiers, extension=extensions)
    merged = {k: v for k, v in merged.items() if v != []}
    merged["id"] = held.get("id", ours.get("id"))
    merged.pop("meta", None)
    meta = _merged_meta(held.get("meta", {}), ours.get("meta", {}), owned)
    return {**merged, "meta": meta} if meta else merged


def overlay_linked(held: Resource, stated: Resource, *, wrong: frozenset[_Slot] = frozenset()) -> Resource:
    """
    Overlay a Patient of another system with our values: the studies' values are written, none is removed.

    Parameters
    ----------
    held
        The Patient as the server has it.
    stated
        The Patient that `sync.mapping.patient.linked_patient_of` builds from the studies.
    wrong
        System and value of identifiers that our identifiers replace.

    Returns
    -------
    Resource
        The resource to PUT: name, gender and birth date from the studies, each unchanged if the studies have no value.
        Identifiers are only added. When a birth date changes, its time is removed; when content changes, its generated
        narrative is removed.
    """
    ours = {k: v for k, v in stated.items() if k in PATIENT_ELEMENTS}
    present = held.get("identifier", [])
    added = [
        identifier
        for identifier in ours.pop("identifier", [])
        if _patient_value(identifier) not in map(_patient_value, present)
    ]
    merged = {**{k: v for k, v in held.items() if k != "meta"}, **ours}
    if added:
        merged["identifier"] = [
            *(identifier for identifier in present if _patient_value(identifier) not in wrong),
            *added,
        ]
    if merged.get("birthDate") != held.get("birthDate") and "_birthDate" not in ours:
        merged.pop("_birthDate", None)
    if held.get("text", {}).get("status") == "generated" and differs(held, {**merged, "meta": held.get("meta", {})}):
        merged.pop("text")
    meta = _merged_meta(held.get("meta", {}), {}, Ownership(elements=frozenset()))
    return {**merged, "meta": meta} if meta else merged


def _patient_value(identifier: Resource) -> _Slot:
    return str(identifier.get("system", "")), str(identifier.get("value", ""))


def _merged_meta(held: Resource, ours: Resource, owned: Ownership) -> Resource:
    foreign = {k: v for k, v in held.items() if k not in ("versionId", "lastUpdated", "source")}
    security = _keep_foreign(held, ours, "security", _label_slot, owned.labels)
    return {k: v for k, v in {**foreign, **ours, "security": security}.items() if v != []}


def differs(held: Resource, expected: Resource) -> bool:
    """
    Return whether a PUT of ``expected`` would change the held resource; elements that servers set are ignored.

    Servers add a missing narrative, and rewrite its markup, so only the words of our narrative are compared. A time or
    number in another spelling is equal, because some servers drop trailing zeros.
    """
    if not _is_same(_comparable(held), _comparable(expected)):
        return True
    return "text" in expected and _words(held) != _words(expected)


def _words(resource: Resource) -> list[str]:
    div = str(resource.get("text", {}).get("div", ""))
    return html.unescape(re.sub("<[^>]*>", " ", div)).split()


def has_foreign(merged: Resource, ours: Resource) -> bool:
    """Return whether ``merged`` carries anything beyond ``ours``, so that an update has to read before it writes."""
    return "text" in merged or differs(merged, ours)


def _comparable(resource: Resource) -> Resource:
    body = {k: v for k, v in resource.items() if k not in ("id", "meta", "text")}
    meta = {k: resource["meta"][k] for k in ("profile", "security", "tag") if k in resource.get("meta", {})}
    return {**body, "meta": meta} if meta else body


def _is_same(one: Any, other: Any, element: str = "") -> bool:
    """
    Return whether two pieces of JSON are equal but for trailing zeros of times and fractions of whole numbers.

    Compared without copies: a study of 30,000 instances takes 20 MB in memory, and each copy as text 6 MB more.
    """
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return False
        return all(_is_same(value, other[name], name) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other, repeat(element)))
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _text(one, element) == _text(other, element)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _text(value: str, element: str) -> bytes:
    """Return a text as it is sent, a time without trailing zeros."""
    return (without_trailing_zeros(value) if element in _TIMES else value).encode("utf-8", "replace")


def _keep_foreign(
    held: Resource,
    ours: Resource,
    element: str,
    slot: Callable[[Resource], _Slot],
    owned: frozenset[_Slot],
) -> list[Resource]:
    own: list[Resource] = ours.get(element, [])
    occupied = owned | {slot(item) for item in own}
    return [*own, *(item for item in held.get(element, []) if slot(item) not in occupied)]
