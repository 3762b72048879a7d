"""A table that is not there is an outage: it tells nothing about its rows."""

import pytest
from azure.data.tables.aio import TableServiceClient

from sync.adapters.azure.tables.store import TableStore
from sync.errors import StoreUnavailable
from sync.model import ObjectKey
from tests.contract.storage import fresh, fresh_study


@pytest.fixture
async def store(azurite, monkeypatch):
    for name in ("LOCATORS", "PROJECTIONS", "CURSORS"):
        monkeypatch.setattr(f"sync.adapters.azure.names.{name}", f"t{fresh()}")
    async with TableServiceClient.from_connection_string(azurite) as service:
        yield TableStore(service)


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.locators.find(ObjectKey("0" * 20, "0" * 40)),
        lambda store: store.projections.read(fresh_study()),
        lambda store: store.cursors.read("feed"),
    ],
    ids=["locators", "projections", "cursors"],
)
async def test_no_row_is_found_missing_in_a_table_that_is_not_there(store, read):
    with pytest.raises(StoreUnavailable):
        await read(store)
