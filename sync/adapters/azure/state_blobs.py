"""Reading, checking and deleting a blob of the state account. Source: Azure "Get Blob", "Delete Blob"."""

from __future__ import annotations

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from sync.adapters.azure.errors import GARBLED, state_errors
from sync.errors import StoreUnavailable


async def remove_blob(container: ContainerClient, name: str) -> None:
    """Delete; a missing blob is fine."""
    with state_errors():
        try:
            await container.delete_blob(name)
        except ResourceNotFoundError:
            return


def ensure_whole(received: int, expected: int) -> None:
    """
    Refuse bytes that are fewer than the service announced: a gateway cut them and made the length fit.

    Raises
    ------
    StoreUnavailable
        ``store.garbled``; try again.
    """
    if received != expected:
        raise StoreUnavailable(f"{received} of {expected} bytes", code="store.garbled", hint=GARBLED)
