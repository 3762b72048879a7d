"""Hints for failures known only by their code, from the last attempt or from a count of failures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sync.errors import SyncError

_BY_CODE: Mapping[str, str] = {
    "events.forbidden": "Give the identity the role EventGrid Data Sender on the topic, or set DICOM_SYNC_EVENTS_KEY.",
    "fhir.ambiguous_patient": "Merge the Patients in FHIR, or set DICOM_SYNC_ISSUERS, then retry.",
    "fhir.ambiguous_study": "Delete all ImagingStudies of the study but one, then retry.",
    "fhir.certificate": "Renew the certificate of the FHIR service, or trust its issuer; studies wait meanwhile.",
    "fhir.conflict": "Nothing: another system wrote the resource at the same time, and it is read and written again.",
    "fhir.forbidden": "Give the identity the role FHIR Data Writer, or check DICOM_SYNC_FHIR_AUTH and what it needs.",
    "fhir.garbled": "Check proxies that rewrite or cut answers of the FHIR service; requests are repeated.",
    "fhir.gateway": "A gateway answers instead of FHIR: check what stands on the way, and DICOM_SYNC_FHIR_URL.",
    "fhir.not_fhir": "Set DICOM_SYNC_FHIR_URL to the base URL of a FHIR R4 service.",
    "fhir.version": "Set DICOM_SYNC_FHIR_URL to a service that supports FHIR R4 (4.0).",
    "source.changed": "Nothing: the object was replaced while it was read, and is read again.",
    "source.copying": "If it lasts for hours, see what copies the objects: property copy.status of the blobs.",
    "source.dependency": "Check the health of the DICOM service in the portal, and its key vault.",
    "source.forbidden": "Correct the key that is set; an identity needs Storage Blob Data Reader or DICOM Data Reader.",
    "source.garbage": "Check whether a proxy or a sign-in page answers instead of the source.",
    "source.garbled": "Check proxies that rewrite or cut answers of Blob Storage; requests are repeated.",
    "source.gateway": "A gateway answers instead of the source: check what stands on the way.",
    "source.gone": "Nothing: the object was deleted before it was inspected.",
    "source.refused": "Check DICOM_SYNC_DICOM_URL and DICOM_SYNC_ORTHANC_URL: roots of their services.",
    "source.stale_token": "Nothing: the listing started over.",
    "source.throttled": "Nothing, unless it lasts: the DICOM service answers 429.",
    "source.unreadable": "Store the instances again, or delete them; then retry their dead letters.",
    "store.conflict": "Nothing: another worker changed the row, and it is read and written again.",
    "store.forbidden": "Correct the key that is set; an identity needs Storage Table and Queue Data Contributor.",
    "store.garbled": "Check proxies that rewrite or cut answers of tables and queues; operations are repeated.",
    "store.gateway": "A gateway answers instead of the state account: check what stands on the way, endpoints too.",
}
"""Hints for codes that a class of failures has in addition to its own."""


def hint_of(code: str) -> str:
    """Return the hint for an error code: the hint of the code or of its class, else a general one."""
    return _BY_CODE.get(code) or _of_classes().get(code, SyncError.hint)


@cache
def _of_classes() -> dict[str, str]:
    hints: dict[str, str] = {}
    classes = [SyncError]
    for error in classes:
        hints.setdefault(error.code, error.hint)
        classes += error.__subclasses__()
    return hints
