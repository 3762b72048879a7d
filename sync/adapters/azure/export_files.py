"""Files of exports in a container of the state's account. Source: Azure "Put Blob", "Put Block List", "Get Blob"."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.listed_items import items_of
from sync.adapters.azure.state_blobs import ensure_whole, remove_blob
from sync.ports import ExportFiles


class AzureExportFiles(ExportFiles):
    """One container."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._container = service.get_container_client(container)

    async def ensure(self) -> None:
        """Create the container if it is missing."""
        with state_errors():
            try:
                await self._container.create_container()
            except ResourceExistsError:
                return

    async def create(self, name: str, path: Path) -> bool:
        """Upload a file of this machine; a large blob exists once its list of blocks is committed."""
        with state_errors(), path.open("rb") as content:
            try:
                await self._container.upload_blob(name, content, overwrite=False)
            except ResourceExistsError:
                return False
        return True

    async def fetch(self, name: str, path: Path, *, start: int = 0, size: int | None = None) -> bool:
        """Download a blob, or a part of it, to this machine; False if the blob does not exist."""
        with state_errors():
            try:
                stream = await self._container.download_blob(name, offset=start, length=size)
            except ResourceNotFoundError:
                return False
            with path.open("wb") as copy:
                written = await stream.readinto(copy)
        ensure_whole(written, stream.size if size is None else size)
        return True

    async def names(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the names that begin with ``prefix``."""
        with state_errors():
            async for blob in items_of(self._container.list_blobs(name_starts_with=prefix)):
                yield str(blob.name)

    async def remove(self, name: str) -> None:
        """Delete; a missing blob is fine."""
        await remove_blob(self._container, name)
