"""
Endpoints of images: one for each DICOMweb root that viewers fetch from, and for each container that holds blobs.

They are the same for all studies. Blobs themselves are named by an extension of their instance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from sync.config import MappingSettings
from sync.mapping.resource import endpoint_id
from sync.mapping.terminology import ENDPOINT_CONNECTION_TYPE, OBJECT_URL, OWN_CONNECTION_TYPE
from sync.mapping.validation import validated
from sync.model import LedgerRow, Resource


def dicomweb_root(settings: MappingSettings) -> str:
    """Return the root of the DICOMweb service without ``/studies``; empty if none is configured."""
    return settings.dicomweb_url.rstrip("/").removesuffix("/studies")


def build_endpoint(settings: MappingSettings) -> Resource | None:
    """
    Return the FHIR Endpoint of DICOM_SYNC_DICOMWEB_URL; None if it is not set.

    The address is the service root: viewers append ``/studies/…`` themselves. Source: R4 ``Endpoint``; PS3.18 8.2.

    Raises
    ------
    InvalidResource
        The configured root is no URL that FHIR accepts.
    """
    root = dicomweb_root(settings)
    if not root:
        return None
    return _endpoint(root, ENDPOINT_CONNECTION_TYPE, "dicom-wado-rs", "DICOM WADO-RS")


def container_address(container: str, settings: MappingSettings) -> str:
    """Return the address of a container below DICOM_SYNC_BLOB_URL."""
    return f"{settings.blob_url.rstrip('/')}/{quote(container)}"


def build_containers(rows: Sequence[LedgerRow], settings: MappingSettings) -> tuple[Resource, ...]:
    """
    Return the Endpoints of the containers with a study's blobs, 0..n, by address; none without DICOM_SYNC_BLOB_URL.

    No standard code says "a container of blobs", so the type of connection is one of our own.

    Raises
    ------
    InvalidResource
        The configured root is no URL that FHIR accepts.
    """
    has_address = settings.blob_url != ""
    names = {row.source.container for row in rows if row.source is not None} if has_address else set()
    addresses = [container_address(name, settings) for name in sorted(names)]
    return tuple(_endpoint(address, OWN_CONNECTION_TYPE, "azure-blob", "DICOM files") for address in addresses)


def _endpoint(address: str, system: str, code: str, payload: str) -> Resource:
    return validated(
        {
            "resourceType": "Endpoint",
            "id": endpoint_id(address),
            "status": "active",
            "connectionType": {"system": system, "code": code},
            "payloadType": [{"text": payload}],
            "payloadMimeType": ["application/dicom"],
            "address": address,
        }
    )


def object_urls(rows: Sequence[LedgerRow], settings: MappingSettings) -> Mapping[tuple[str, str], Sequence[Resource]]:
    """
    Return extensions with the addresses of the blobs of each instance, by Series and SOP Instance UID.

    Several blobs may hold one instance: each has an extension. None without DICOM_SYNC_BLOB_NAMES.
    """
    root = settings.blob_url.rstrip("/")
    if not root or not settings.blob_names:
        return {}
    urls: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row.source is not None and row.source.name:
            key = (row.record.series_instance_uid, row.record.sop_instance_uid)
            urls[key].add(f"{root}/{quote(row.source.container)}/{quote(row.source.name)}")
    return {key: [{"url": OBJECT_URL, "valueUrl": url} for url in sorted(addresses)] for key, addresses in urls.items()}
