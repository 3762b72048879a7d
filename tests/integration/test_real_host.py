"""The trial of other Functions hosts uploads what it then waits for."""

from types import SimpleNamespace

import httpx
from azure.storage.blob.aio import BlobServiceClient

from local.samples import samples
from scripts import real_host


async def test_every_sample_is_uploaded(azurite, monkeypatch):
    monkeypatch.setattr(real_host, "ARRIVAL_SECONDS", 0)  # nothing reads the files here
    running = SimpleNamespace(addresses=SimpleNamespace(storage=azurite, container="tried", fhir=""))
    silent = httpx.MockTransport(lambda _: httpx.Response(200))
    async with (
        BlobServiceClient.from_connection_string(azurite) as service,
        service.get_container_client("tried") as container,
        httpx.AsyncClient(base_url="http://host", transport=silent) as host,
    ):
        await container.create_container()
        await real_host.samples_arrive(running, host)
        assert {blob.name async for blob in container.list_blobs()} == {sample.name for sample in samples()}
