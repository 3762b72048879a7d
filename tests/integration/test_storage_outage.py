"""A storage account that does not answer is reported within seconds: the queue waits, not the message in hand."""

import asyncio
import time

import pytest

from sync.bootstrap.clients import Clients, connections
from sync.config import Settings
from sync.errors import SourceUnavailable, StoreUnavailable
from sync.model import Locator, ObjectRef
from sync.telemetry.telemetry import Telemetry

UNREACHABLE = "http://127.0.0.1:9/someaccount"
NO_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=someaccount;AccountKey=bm8ga2V5;"
    f"BlobEndpoint={UNREACHABLE};QueueEndpoint={UNREACHABLE};TableEndpoint={UNREACHABLE}"
)
OBJECT = ObjectRef(account="someaccount", container="dicom", name="x")


async def test_every_kind_of_storage_gives_up_within_seconds():
    settings = Settings(fhir_url="http://localhost:1/fhir", AzureWebJobsStorage=NO_STORAGE)
    clients = Clients(settings, Telemetry())
    tables, queues, blobs = clients.tables(), clients.queues(), clients.blobs()
    began = time.monotonic()
    outcomes = await asyncio.gather(
        tables.locators.read(OBJECT),
        tables.locators.insert(Locator(object=OBJECT, etag=None)),
        queues.length(),
        blobs.read(OBJECT, start=0, length=1),
        return_exceptions=True,
    )
    took = time.monotonic() - began
    await clients.close()
    assert [type(outcome) for outcome in outcomes] == [*[StoreUnavailable] * 3, SourceUnavailable]
    assert took < 15


@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
async def test_a_proxy_of_the_environment_is_heeded(monkeypatch, proxy):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with connections()["transport"] as transport:
        assert transport.session.trust_env is bool(proxy)
