"""From an event to the FHIR write on real servers, as a collector sees it: metrics, linked spans, and no patient."""

import base64
import json
import uuid
from contextlib import asynccontextmanager

from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient

from local.storage_events import envelope
from sync import bootstrap
from sync.config import Settings
from sync.delivery import handlers
from sync.errors import SyncError
from sync.events import parse_study_message
from sync.model import StudyRef
from sync.telemetry.instruments import BY_NAME
from tests.collector import attributes, collecting
from tests.e2e.sentinels import STUDIES, blob, file_of, found_in

GOOD, BAD = blob("good"), blob("bad")


@asynccontextmanager
async def uploaded(azurite, container):
    """Two objects, one of them no DICOM file; gives the messages that tell of them."""
    async with BlobServiceClient.from_connection_string(azurite) as service:
        await service.create_container(container)
        messages = []
        for name, content in ((GOOD, file_of("good")), (BAD, b"Zzyzx^Quillon is no DICOM file")):
            await service.get_blob_client(container, name).upload_blob(content)
            subject = f"/blobServices/default/containers/{container}/blobs/{name}"
            url = service.get_blob_client(container, name).url
            data = {"api": "PutBlob", "url": url}
            messages.append(json.dumps(envelope("cloudevents", "Microsoft.Storage.BlobCreated", subject, data)))
        yield messages


async def sent_study_message(azurite, study):
    """The message of queue ``studies`` that names the study; other tests' messages stay."""
    async with QueueClient.from_connection_string(azurite, "studies") as queue:
        async for message in queue.receive_messages(visibility_timeout=1, messages_per_page=32):
            text = str(message.content)
            decoded = text if text.startswith("{") else base64.b64decode(text).decode()
            if parse_study_message(decoded).study == study:
                await queue.delete_message(message)
                return decoded
    raise AssertionError("no message names the study")


async def test_a_collector_sees_the_way_of_a_study_and_no_patient(azurite, fhir_embedded, caplog):
    container = f"c{uuid.uuid4().hex}"
    study = StudyRef(study_instance_uid=STUDIES["good"])
    given = {"AzureWebJobsStorage": azurite, "containers": (container,), "quiet_period": 0, "max_wait": 0}
    with collecting() as collector:
        exported = {"otlp_endpoint": collector.url, "insights_connection": collector.connection_string}
        async with uploaded(azurite, container) as messages:
            running = await bootstrap.start(Settings(fhir_url=fhir_embedded, **given, **exported))
            try:
                for message in messages:
                    await handlers.handle_object_message(message, running.sources, running.services)
                text = await sent_study_message(azurite, study)
                await handlers.handle_study_message(text, running.services, attempt=1)
                projection = await running.services.projections.read(study)
                assert projection is not None
                assert projection.value.finished
            finally:
                await running.close()

    spans = collector.spans()
    good, bad = (span for span in spans if span.name == "process objects")
    (projected,) = (span for span in spans if span.name == "process studies")
    requests = [span for span in spans if span.kind == span.SPAN_KIND_CLIENT]
    assert attributes(good)["dicom_sync.outcome"] == "synced"
    assert attributes(bad)["dicom_sync.outcome"] == "rejected"
    assert attributes(projected)["dicom_sync.outcome"] == "written"
    assert attributes(projected)["dicom_sync.study"] == study.key
    assert [link.span_id for link in projected.links] == [good.span_id]
    assert good.trace_id != projected.trace_id
    assert "POST Bundle" in {span.name for span in requests}
    assert {span.parent_span_id for span in requests} == {projected.span_id}
    assert {span.name for span in spans} == {"process objects", "process studies"} | {
        request.name for request in requests
    }

    metrics = collector.metrics()
    names = {"dicom_sync.objects", "dicom_sync.studies", "dicom_sync.study.latency", "dicom_sync.fhir.request.duration"}
    assert names <= set(metrics) <= set(BY_NAME)
    assert all(metric.unit == BY_NAME[name].unit for name, several in metrics.items() for metric in several)
    sent = [record["data"]["baseData"] for record in collector.envelopes()]
    assert names <= {datum["metrics"][0]["name"] for datum in sent if "metrics" in datum}
    assert {"process objects", "process studies"} <= {entry.get("name") for entry in sent}

    assert found_in(collector.everything()) == []
    assert container not in collector.everything()


async def test_a_collector_that_is_not_there_disturbs_nothing(azurite, fhir_embedded, actions):
    container = f"c{uuid.uuid4().hex}"
    given = {"AzureWebJobsStorage": azurite, "containers": (container,), "otlp_endpoint": "http://127.0.0.1:9"}
    async with uploaded(azurite, container) as messages:
        running = await bootstrap.start(Settings(fhir_url=fhir_embedded, **given))
        try:
            await handlers.handle_object_message(messages[0], running.sources, running.services)
            assert actions["object.synced"] == 1
        except SyncError as failure:
            raise AssertionError(failure.code) from failure
        finally:
            await running.close()
