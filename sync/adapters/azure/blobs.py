"""
The DICOM objects in Azure Blob Storage: ranged reads, one request each, and listings, one request per page.

Addresses are built here from account, container and name; a URL that came with an event is never used. Source: Azure
"Get Blob", "List Blobs", "Specifying the range header", "Specifying conditional headers".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure.blob_feed import AzureBlobFeed
from sync.adapters.azure.blob_listing import ListedBlob, list_blobs
from sync.adapters.azure.blob_ranges import read_range
from sync.adapters.azure.errors import GARBLED, ensure_whole, source_errors
from sync.errors import ForeignSource, SourceChanged, SourceGone, SourceUnavailable, StaleToken
from sync.model import Chunk, ListedObject, ObjectRef, Page
from sync.ports import ObjectListing, ObjectSource
from sync.telemetry.instruments import HEADER_BYTES
from sync.telemetry.telemetry import Telemetry

_BAD_REQUEST = 400
_RANGE_NOT_SATISFIABLE = 416

_FOLDER = "hdi_isfolder"
"""Metadata of empty blobs that represent folders: in accounts with a hierarchical namespace, and made by some tools."""


_COPYING = "The object is inspected again until its copy has ended. If that never happens, see what copies it."


class AzureBlobs(ObjectSource, ObjectListing):
    """
    The containers of one account that are synced.

    Parameters
    ----------
    service
        Client of the account; closed with `close`.
    containers
        The allow-list: other containers are refused before any request.
    telemetry
        Counts the bytes of each read.
    """

    def __init__(
        self,
        service: BlobServiceClient,
        *,
        account: str,
        containers: Collection[str],
        telemetry: Telemetry | None = None,
    ) -> None:
        self._service = service
        self._telemetry = telemetry or Telemetry()
        self._containers = frozenset(containers)
        self.account = account

    async def read(self, ref: ObjectRef, *, start: int, length: int, etag: str | None = None) -> Chunk:
        """Read a range; see `sync.ports.ObjectSource.read`."""
        if ref.account != self.account or ref.container not in self._containers:
            raise ForeignSource("the object is outside the configured account and containers")
        with source_errors():
            try:
                piece = await read_range(self._service, ref.container, ref.name, start=start, length=length, etag=etag)
            except HttpResponseError as problem:
                if problem.status_code != _RANGE_NOT_SATISFIABLE:
                    raise
                return await _beyond_the_end(self._service, ref, start, etag)
        if etag and _bare(piece.etag) != etag:
            raise SourceChanged("the range is one of another version")  # the service that answered ignores conditions
        ensure_whole(len(piece.data), min(length, piece.size - start))
        self._telemetry.measure(HEADER_BYTES, len(piece.data))
        _check_whole(ref, piece.size, copy_status=piece.copy_status, metadata=piece.metadata)
        return Chunk(data=piece.data, etag=_bare(piece.etag), size=piece.size, last_modified=piece.last_modified)

    async def etag(self, ref: ObjectRef) -> str:
        """Return the object's ETag; see `sync.ports.ObjectSource.etag`."""
        if ref.account != self.account or ref.container not in self._containers:
            raise ForeignSource("the object is outside the configured account and containers")
        with source_errors():
            properties = await self._service.get_blob_client(ref.container, ref.name).get_blob_properties()
        return _bare(properties.etag)

    async def page(self, container: str, *, prefix: str = "", token: str | None = None, size: int = 1000) -> Page:
        """List a container; see `sync.ports.ObjectListing.page`. The token is the service's marker."""
        if container not in self._containers:
            raise ForeignSource("the container is not configured")
        client = self._service.get_container_client(container)
        with source_errors():
            try:
                listed = await list_blobs(client, prefix=prefix, marker=token, size=size)
            except HttpResponseError as problem:
                if problem.status_code != _BAD_REQUEST or token is None:
                    raise
                raise StaleToken("the store refuses the token") from None
            except (ValueError, OverflowError):
                raise _not_the_page() from None
        is_other = listed.container != container or not all(blob.name.startswith(prefix) for blob in listed.blobs)
        if is_other or (listed.marker is not None and listed.marker == token):
            # If accepted, it would count as the whole container, or be read for ever.
            raise _not_the_page()
        return Page(
            objects=tuple(self._listed(container, blob) for blob in listed.blobs if not _is_folder(blob)),
            token=listed.marker,
        )

    def _listed(self, container: str, blob: ListedBlob) -> ListedObject:
        return ListedObject(
            object=ObjectRef(account=self.account, container=container, name=blob.name),
            etag=_bare(blob.etag),
            size=blob.size,
            last_modified=blob.last_modified,
        )

    @property
    def feed(self) -> AzureBlobFeed:
        """The change feed of the account."""
        return AzureBlobFeed(self._service)

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()


async def _beyond_the_end(service: BlobServiceClient, ref: ObjectRef, start: int, etag: str | None) -> Chunk:
    """Describe an object that ends before the range; it may have grown since, like uploads that begin empty."""
    condition: dict[str, Any] = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
    properties = await service.get_blob_client(ref.container, ref.name).get_blob_properties(**condition)
    if properties.size > start:
        raise SourceChanged("the object grew while it was read")
    copy_status = properties.copy.status if properties.copy is not None else None
    _check_whole(ref, int(properties.size), copy_status=copy_status, metadata=properties.metadata)
    return Chunk(
        data=b"",
        etag=_bare(properties.etag),
        size=properties.size,
        last_modified=properties.last_modified.astimezone(UTC),
    )


def _check_whole(
    ref: ObjectRef, size: int, *, copy_status: str | None = None, metadata: Mapping[str, str] | None = None
) -> None:
    """
    Refuse a blob that is still being copied, or that represents a folder.

    An event comes when a copy begins, not when it ends, and the copied bytes appear only then. Source: Azure "Copy
    Blob" (``x-ms-copy-status``).
    """
    if copy_status == "pending":
        raise SourceUnavailable("a copy is under way", code="source.copying", hint=_COPYING)
    if not size and (_is_marker(metadata) or ref.name.endswith("/")):
        raise SourceGone("a folder, not an object")


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')


def _is_folder(blob: ListedBlob) -> bool:
    return not blob.size and (_is_marker(blob.metadata) or blob.name.endswith("/"))


def _not_the_page() -> SourceUnavailable:
    return SourceUnavailable("the answer is not the page that was asked for", code="source.garbled", hint=GARBLED)


def _is_marker(metadata: Mapping[str, str | None] | None) -> bool:
    return any(key.lower() == _FOLDER and str(value).lower() == "true" for key, value in (metadata or {}).items())
