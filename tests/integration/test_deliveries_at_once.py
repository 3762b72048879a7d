"""Many deliveries for one object at the same moment, as an upload sent twice makes them, on real storage."""

import asyncio
import json
import uuid

from azure.storage.blob.aio import BlobServiceClient

from local.storage_events import envelope
from sync import bootstrap
from sync.config import Settings
from sync.delivery import handlers
from tests.headers import dicom_file, identity

DELIVERIES = 12


async def test_none_of_many_deliveries_for_one_object_gives_up(azurite, actions):
    container = f"c{uuid.uuid4().hex}"
    settings = Settings(fhir_url="http://127.0.0.1:9/fhir", AzureWebJobsStorage=azurite, containers=(container,))
    async with BlobServiceClient.from_connection_string(azurite) as service:
        await service.create_container(container)
        await service.get_blob_client(container, "a.dcm").upload_blob(dicom_file(identity()))
        url = f"{service.url}/{container}/a.dcm"
    event = envelope(
        "cloudevents",
        "Microsoft.Storage.BlobCreated",
        f"/blobServices/default/containers/{container}/blobs/a.dcm",
        {"api": "PutBlob", "url": url},
    )
    running = await bootstrap.start(settings)
    try:
        message = json.dumps(event)
        async with asyncio.TaskGroup() as tasks:  # fails with the first that raises Contention
            for _ in range(DELIVERIES):
                tasks.create_task(handlers.handle_object_message(message, running.sources, running.services))
        assert actions == {"object.synced": DELIVERIES}
        assert not running.services.caches.object_locks
    finally:
        await running.close()
