"""Event Grid's dead-letter container in Blob Storage, in the state account."""

from __future__ import annotations

from collections.abc import Sequence

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.listed_items import items_of
from sync.adapters.azure.state_blobs import ensure_whole, remove_blob
from sync.ports import UndeliveredEvents

_MARK = "dicom_sync_refused"
"""Metadata that marks a blob as inspected: it holds no events, and stays."""


class AzureUndeliveredEvents(UndeliveredEvents):
    """One container."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._service = service
        self._container = service.get_container_client(container)

    async def names(self, most: int) -> Sequence[str]:
        """Return the names of at most ``most`` unmarked blobs; none if the container does not exist."""
        listed: list[str] = []
        with state_errors():
            try:
                async for blob in items_of(self._container.list_blobs(include=["metadata"])):
                    if len(listed) >= most:
                        break
                    if _MARK not in (blob.metadata or {}):
                        listed.append(str(blob.name))
            except ResourceNotFoundError:
                return []
        return listed

    async def read(self, name: str, most: int) -> str | None:
        """Return the text, limited to ``most`` bytes; None when the blob is gone."""
        with state_errors():
            try:
                stream = await self._container.download_blob(name, offset=0, length=most)
                data: bytes = await stream.readall()
            except ResourceNotFoundError:
                return None
        ensure_whole(len(data), stream.size)  # truncated, it would seem to hold no events, and be dead-lettered
        return data.decode("utf-8", "replace")

    async def remove(self, name: str) -> None:
        """Delete; a missing blob is fine."""
        await remove_blob(self._container, name)

    async def mark(self, name: str) -> None:
        """Mark the blob, so that `names` leaves it out; a missing blob is fine."""
        with state_errors():
            try:
                await self._container.get_blob_client(name).set_blob_metadata({_MARK: "yes"})
            except ResourceNotFoundError:
                return

    async def close(self) -> None:
        """Close the connections."""
        await self._service.close()
