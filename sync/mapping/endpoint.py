"""The Endpoint that viewers fetch images from: one for each DICOMweb root, the same for all studies."""

from __future__ import annotations

from sync.config import MappingSettings
from sync.mapping.resource import endpoint_id
from sync.mapping.terminology import ENDPOINT_CONNECTION_TYPE
from sync.mapping.validation import validated
from sync.model import Resource


def dicomweb_root(settings: MappingSettings) -> str:
    """Root of the DICOMweb service without ``/studies``; empty when none is configured."""
    return settings.dicomweb_url.rstrip("/").removesuffix("/studies")


def build_endpoint(settings: MappingSettings) -> Resource | None:
    """
    FHIR Endpoint of DICOM_SYNC_DICOMWEB_URL, None when it is not set.

    The address is the service root: viewers append ``/studies/…`` themselves. Source: R4 ``Endpoint``; PS3.18 8.2.

    Raises
    ------
    InvalidResource
        The configured root is no URL that FHIR accepts.
    """
    root = dicomweb_root(settings)
    if not root:
        return None
    return validated(
        {
            "resourceType": "Endpoint",
            "id": endpoint_id(root),
            "status": "active",
            "connectionType": {"system": ENDPOINT_CONNECTION_TYPE, "code": "dicom-wado-rs"},
            "payloadType": [{"text": "DICOM WADO-RS"}],
            "payloadMimeType": ["application/dicom"],
            "address": root,
        }
    )
