"""
Ids, comparison and ownership of FHIR resources.

Ids are derived from what the resource is about, so that a plain ``PUT`` is the upsert and no race can create two.
We own the elements that we write and keep the others: `overlay` is the one place that decides which is which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from sync.model import Resource, StudyRef, digest

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
"""Top-level elements of an ImagingStudy that we created and therefore own, present or not."""

PATIENT_ELEMENTS = frozenset({"birthDate", "_birthDate", "gender", "identifier", "name"})
"""Top-level elements of a Patient that we created and therefore own, present or not."""

_DICOM_UID_SYSTEM = "urn:dicom:uid"


def study_id(study: StudyRef) -> str:
    """FHIR id of the ImagingStudy that we create for a study."""
    return f"is-{study.key}"


def patient_id(patient_key: str) -> str:
    """FHIR id of the Patient that we create for a patient key."""
    return f"pt-{patient_key}"


def endpoint_id(root: str) -> str:
    """FHIR id of the Endpoint for a DICOMweb root."""
    return f"ep-{digest('endpoint', root)}"


def study_identifier(study: StudyRef) -> tuple[str, str]:
    """System and value under which a study is looked up (FHIR R4 ImagingStudy.identifier)."""
    return _DICOM_UID_SYSTEM, f"urn:oid:{study.study_instance_uid}"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no blanks: equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")


def content_hash(value: Any) -> str:
    """Hex SHA-256 of the canonical form, 32 digits."""
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


def version_of(resource: Resource) -> str | None:
    """``meta.versionId`` as the server gave it."""
    version = resource.get("meta", {}).get("versionId")
    return str(version) if version is not None else None


def overlay(held: Resource, ours: Resource, owned: Collection[str]) -> Resource:
    """
    Our elements over what the server holds; elements of others stay.

    Parameters
    ----------
    held
        The resource as the server has it; its id stays, its ``meta`` keeps profile, tag and security.
    ours
        What we want it to say.
    owned
        Top-level elements that are ours: those absent from ``ours`` go.

    Returns
    -------
    Resource
        What to PUT. Identifiers of other systems and extensions with other URLs survive inside our lists.
    """
    merged = {k: v for k, v in held.items() if k not in owned}
    merged.update({k: v for k, v in ours.items() if k not in ("id", "meta")})
    for element, key in (("identifier", _identifier_key), ("extension", _extension_key)):
        merged[element] = _keep_foreign(held.get(element, []), ours.get(element, []), key)
        if not merged[element]:
            del merged[element]
    merged["id"] = held.get("id", ours.get("id"))
    meta = {k: v for k, v in held.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source")}
    meta.update(ours.get("meta", {}))
    merged.pop("meta", None)
    return {**merged, "meta": meta} if meta else merged


def differs(held: Resource, wanted: Resource) -> bool:
    """Whether a PUT of ``wanted`` would change what the server holds; what servers stamp themselves is left out."""
    return canonical(_comparable(held)) != canonical(_comparable(wanted))


def has_foreign(merged: Resource, ours: Resource) -> bool:
    """Whether ``merged`` carries anything beyond ``ours``, so that an update has to read before it writes."""
    return canonical(_comparable(merged)) != canonical(_comparable(ours))


def _comparable(resource: Resource) -> Resource:
    body = {k: v for k, v in resource.items() if k not in ("id", "meta", "text")}
    meta = {k: resource["meta"][k] for k in ("profile", "security", "tag") if k in resource.get("meta", {})}
    return {**body, "meta": meta} if meta else body


def _identifier_key(identifier: Resource) -> tuple[str, ...]:
    """
    Slot an identifier fills: ours replace those of the same slot.

    A study has one UID and one accession number, whatever their values; others are told apart by system.
    """
    if identifier.get("system") == _DICOM_UID_SYSTEM:
        return ("uid",)
    codes = [c.get("code", "") for c in identifier.get("type", {}).get("coding", [])]
    if "ACSN" in codes:
        return ("accession",)
    return ("system", str(identifier.get("system", "")))


def _extension_key(extension: Resource) -> tuple[str, ...]:
    return (str(extension.get("url", "")),)


def _keep_foreign(held: list[Resource], ours: list[Resource], key: Any) -> list[Resource]:
    slots = {key(item) for item in ours}
    return [*ours, *(item for item in held if key(item) not in slots)]
