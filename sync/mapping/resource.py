"""
Ids of FHIR resources, and their comparison.

Ids are derived from the subject of the resource, so that a plain ``PUT`` is the upsert and no race can create two.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from sync.mapping.terminology import DICOM_UID_SYSTEM
from sync.model import Resource, StudyRef, digest

_PREFIXES = {"DiagnosticReport": "dr", "DocumentReference": "df", "Observation": "ob"}
_STAMPED = ("versionId", "lastUpdated")
_OUR_ID = re.compile(r"(is|pt)-[0-9a-f]{40}")


def study_id(study: StudyRef) -> str:
    """Return the FHIR id of the ImagingStudy that we create for a study."""
    return f"is-{study.key}"


def patient_id(patient_key: str) -> str:
    """Return the FHIR id of the Patient that we create for a patient key."""
    return f"pt-{patient_key}"


def derived_id(resource_type: str, study: StudyRef, sop_instance_uid: str, place: str = "") -> str:
    """
    Return the FHIR id of a resource that is derived from an instance.

    It includes the study: an instance that moves to another study makes another resource, and two studies never write
    the same one.

    Parameters
    ----------
    place
        Distinguishes resources of one type from one instance: up to 18 letters, digits and dots.
    """
    stem = f"{_PREFIXES[resource_type]}-{digest(study.key, sop_instance_uid)}"
    return f"{stem}-{place}" if place else stem


def is_our_id(resource_id: str) -> bool:
    """Return whether `study_id` or `patient_id` could have made the id, for any study or patient."""
    return _OUR_ID.fullmatch(resource_id) is not None


def device_id(*identity: str) -> str:
    """Return the FHIR id of the Device that these attributes identify."""
    return f"dv-{digest('device', *identity)}"


def endpoint_id(root: str) -> str:
    """Return the FHIR id of the Endpoint for a DICOMweb root."""
    return f"ep-{digest('endpoint', root)}"


def study_identifier(study: StudyRef) -> tuple[str, str]:
    """Return system and value by which a study is searched (FHIR R4 ImagingStudy.identifier)."""
    return DICOM_UID_SYSTEM, f"urn:oid:{study.study_instance_uid}"


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no blanks: equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "replace")


def content_hash(value: Any) -> str:
    """Return the SHA-256 of the canonical form, as its first 32 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


def unstamped(resource: Resource) -> Resource:
    """Return a resource as a client sends it: without the version and the time that a server stamps (R4 Meta)."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _STAMPED}
    body = {name: value for name, value in resource.items() if name != "meta"}
    return body | ({"meta": meta} if meta else {})


def version_of(resource: Resource) -> str | None:
    """Return ``meta.versionId`` as the server set it."""
    version = resource.get("meta", {}).get("versionId")
    return str(version) if version is not None else None
