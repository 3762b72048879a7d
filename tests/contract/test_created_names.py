"""Tables and queues that are missing are created; those that are there cost one request, not one each."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables import generate_account_sas as tables_signature
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue import generate_account_sas as queues_signature
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.azurite import ACCOUNT, KEY
from sync.adapters.azure.queues import AzureQueues
from sync.adapters.azure.tables.store import TableStore
from sync.bootstrap import start
from sync.config import Settings
from sync.errors import StoreUnavailable
from sync.model.queues import QUEUES
from tests.contract.storage import fresh


class Account:
    """Tables or queues of a store that counts its requests, and what of its names is there."""

    def __init__(self, service, store, listing, names, asked):
        self.store, self.names, self._listing, self._service, self.asked = store, names, listing, service, asked

    async def there(self):
        listed = {item.name async for item in self._listing()}
        self.asked.clear()
        return [name for name in self.names if name in listed]

    async def remove(self, name):
        remove = getattr(self._service, "delete_table", None) or self._service.delete_queue
        await remove(name)


MAY = {"resource_types": "sco", "permission": "rwdacup", "expiry": datetime.now(UTC) + timedelta(days=1)}

CREATED = {"tables": ("POST", 201), "queues": ("PUT", 201)}


@pytest.fixture(params=["tables", "queues"])
def kind(request):
    return request.param


@pytest.fixture
async def opened(azurite, kind, monkeypatch):
    """Give what opens the account; names are of this test alone, as other tests use the rest."""
    ours, services = [f"t{fresh()}", f"t{fresh()}", f"t{fresh()}"], []
    monkeypatch.setattr("sync.adapters.azure.names.TABLES", tuple(ours))
    monkeypatch.setattr("sync.adapters.azure.queues.QUEUES", (*QUEUES, *ours))

    def open_account(*, may_list=True, address=None):
        where = address or (azurite if may_list else signed(azurite, kind))
        client = TableServiceClient if kind == "tables" else QueueServiceClient
        asked = []
        service = client.from_connection_string(
            where,
            retry_total=0,
            raw_response_hook=lambda answer: asked.append(
                (answer.http_request.method, answer.http_response.status_code)
            ),
        )
        services.append(service)
        store = TableStore(service) if kind == "tables" else AzureQueues(service)
        listing = service.list_tables if kind == "tables" else service.list_queues
        return Account(service, store, listing, ours, asked)

    yield open_account
    for service in services:
        await service.close()


def signed(azurite, kind):
    """Return the connection string of one who may create tables and queues, but not list them."""
    if kind == "tables":
        signature = tables_signature(AzureNamedKeyCredential(ACCOUNT, KEY), **MAY)
    else:
        signature = queues_signature(ACCOUNT, KEY, **MAY)
    endpoints = [part for part in azurite.split(";") if "Endpoint=" in part]
    return ";".join((*endpoints, f"SharedAccessSignature={signature}"))


async def test_what_is_missing_is_created_and_what_is_there_costs_one_request(opened, kind):
    account = opened()
    await account.store.create_missing()
    assert await account.there() == account.names
    await account.store.create_missing()
    assert account.asked == [("GET", 200)]
    await account.remove(account.names[1])
    account.asked.clear()
    await account.store.create_missing()
    assert account.asked == [("GET", 200), CREATED[kind]]
    assert await account.there() == account.names


async def test_several_that_begin_at_once_all_find_everything(opened):
    accounts = [opened() for _ in range(4)]
    await asyncio.gather(*(account.store.create_missing() for account in accounts))
    assert await accounts[0].there() == accounts[0].names


async def test_who_may_not_list_creates_all_the_same(opened):
    signed_in = opened(may_list=False)
    await signed_in.store.create_missing()
    assert signed_in.asked[0] == ("GET", 403)
    assert await opened().there() == signed_in.names


async def test_an_account_that_does_not_answer_is_an_outage(opened, kind):
    account = opened(address=f"AccountName=a;AccountKey=bm8=;{kind[:-1].title()}Endpoint=http://127.0.0.1:1/a")
    with pytest.raises(StoreUnavailable):
        await account.store.create_missing()


async def test_a_command_that_finds_all_there_creates_nothing(azurite, monkeypatch):
    settings = Settings(fhir_url="http://localhost:1/fhir", AzureWebJobsStorage=azurite)
    await (await start(settings, command=True)).close()

    def refused(*_):
        raise AssertionError("created once more")

    monkeypatch.setattr(TableServiceClient, "create_table_if_not_exists", refused)
    monkeypatch.setattr(QueueClient, "create_queue", refused)
    await (await start(settings, command=True)).close()
