"""Each contract is tried on every adapter of its port."""

from collections.abc import AsyncIterator

import pytest
from azure.storage.blob.aio import BlobServiceClient

from tests.contract.storage import Storage, azure_storage, memory_storage


@pytest.fixture(params=["memory", "azurite"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    """Give all storage ports, in memory and in Azurite."""
    if request.param == "memory":
        yield memory_storage()
        return
    async with azure_storage(request.getfixturevalue("azurite")) as built:
        yield built


@pytest.fixture
async def azurite_twin(request: pytest.FixtureRequest, storage: Storage) -> AsyncIterator[Storage | None]:
    """Give the same storage as another process has it; None in memory, where there is only one."""
    if storage.account == "memory":
        yield None
        return
    async with azure_storage(request.getfixturevalue("azurite")) as built:
        yield built


@pytest.fixture
async def azurite_client(request: pytest.FixtureRequest, storage: Storage) -> AsyncIterator[BlobServiceClient | None]:
    """Give a client of Azurite for what only Azure has; None in memory."""
    if storage.account == "memory":
        yield None
        return
    async with BlobServiceClient.from_connection_string(request.getfixturevalue("azurite")) as client:
        yield client
