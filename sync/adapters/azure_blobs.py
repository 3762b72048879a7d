"""
The DICOM objects in Azure Blob Storage: ranged reads, one request each.

Addresses are built here from account, container and name; a URL that came with an event is never used. Source: Azure
"Get Blob", "Specifying the range header", "Specifying conditional headers".
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from sync.adapters.azure_errors import source_errors
from sync.errors import ForeignSource, SourceChanged
from sync.instruments import HEADER_BYTES
from sync.model import Chunk, ObjectRef
from sync.ports import ObjectSource
from sync.telemetry import Telemetry

_RANGE_NOT_SATISFIABLE = 416


class AzureBlobs(ObjectSource):
    """
    The containers of one account that are synced.

    Parameters
    ----------
    service
        Client of the account; closed with `close`.
    containers
        The allow-list: anything else is refused before any request.
    telemetry
        Learns how many bytes each read brought.
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
        blob = self._service.get_blob_client(ref.container, ref.name)
        condition: dict[str, Any] = {}
        if etag:
            condition = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        with source_errors():
            try:
                download = await blob.download_blob(offset=start, length=length, max_concurrency=1, **condition)
                data = await download.readall()
            except HttpResponseError as problem:
                if problem.status_code != _RANGE_NOT_SATISFIABLE:
                    raise
                return await _beyond_the_end(blob, start, condition)
        self._telemetry.measure(HEADER_BYTES, len(data))
        found = download.properties
        modified = found.last_modified.astimezone(UTC)
        return Chunk(data=data, etag=_bare(found.etag), size=_whole_size(download), last_modified=modified)

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()


async def _beyond_the_end(blob: BlobClient, start: int, condition: dict[str, Any]) -> Chunk:
    """Describe an object that ended before the range; it may have grown since, as uploads that begin empty do."""
    found = await blob.get_blob_properties(**condition)
    if found.size > start:
        raise SourceChanged("the object grew while it was read")
    return Chunk(data=b"", etag=_bare(found.etag), size=found.size, last_modified=found.last_modified.astimezone(UTC))


def _whole_size(download: Any) -> int:
    """Return the blob's size: the library's ``size`` is that of the range, only Content-Range tells the whole."""
    _, _, size = (download.properties.content_range or "").rpartition("/")
    return int(size) if size else int(download.properties.size)


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')
