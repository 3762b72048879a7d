"""A start that cannot finish, and tables that do not answer, cost no message a delivery."""

import asyncio
import json
import re

import pytest
from azure.storage.queue import QueueServiceClient

from local.azurite import azurite as private_azurite
from sync import bootstrap
from sync.bootstrap import deliveries, process
from sync.delivery import handlers
from sync.errors import ConfigError, StoreUnavailable, UnexpectedFailure
from sync.events import message_text, parse_study_message, study_message
from tests.worlds import STUDY

UNREACHABLE = "http://127.0.0.1:9/devstoreaccount1"
EVENT = json.dumps({"no": "event"})


@pytest.fixture(scope="module")
def storage():
    with private_azurite() as server:  # ours alone: the app's queues have fixed names
        yield server.connection_string


@pytest.fixture
async def started(monkeypatch, storage):
    """Give what begins a process of its own, with the given settings; its connections are closed at the end."""

    def start(**environment):
        settings = {"AzureWebJobsStorage": storage, "DICOM_SYNC_FHIR_URL": "http://localhost:9/fhir"} | environment
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(process, "_process", process._Process())
        monkeypatch.setattr(process, "ENSURED_AGAIN_AFTER", 0.0)

    monkeypatch.setattr(deliveries, "SHORTEST_DELAY", 0.0)
    monkeypatch.setattr(deliveries, "LONGEST_DELAY", 0.0)
    yield start
    if process.built() is not None:
        await process.built().close()


def without_tables(storage):
    return re.sub(r"TableEndpoint=[^;]+", f"TableEndpoint={UNREACHABLE}", storage)


def waiting(storage, queue):
    """Take and return the texts that wait in a queue."""
    client = QueueServiceClient.from_connection_string(storage).get_queue_client(queue)
    texts = []
    for message in client.receive_messages():
        client.delete_message(message)
        texts.append(message_text(message.content.encode()))
    return texts


async def study(text):
    async def handle(running):
        await handlers.handle_study_message(text, running.services)

    await bootstrap.take("studies", text, handle)


async def poison(text):
    async def handle(running):
        await handlers.handle_poison_object(text, running.sources, running.services)

    await bootstrap.take("objects-poison", text, handle)


async def test_messages_that_come_while_tables_are_down_wait_and_cost_no_delivery(started, storage):
    started(AzureWebJobsStorage=without_tables(storage))
    await asyncio.gather(*[study(study_message(STUDY)) for _ in range(10)], poison(EVENT))
    texts = waiting(storage, "studies")
    while more := waiting(storage, "studies"):
        texts += more
    assert len(texts) == 10
    assert {parse_study_message(text).study for text in texts} == {STUDY}
    assert all(json.loads(text)["redelivered"] for text in texts), "FHIR may have been written: trust no record"
    assert waiting(storage, "objects-poison") == [EVENT]
    with pytest.raises(StoreUnavailable):
        await process.ready()


async def test_the_same_process_goes_on_once_tables_answer(started, storage):
    started(AzureWebJobsStorage=without_tables(storage))
    await study(study_message(STUDY))
    down = process.built().ensure
    started()
    await process.running()
    answers = process.built().ensure
    process._process.is_ensured, outcomes = False, [down, answers]

    async def ensure():
        await outcomes.pop(0)()

    object.__setattr__(process.built(), "ensure", ensure)
    await process.running()  # meets the outage, and goes on all the same
    await process.ready()
    process._process.is_ensured, outcomes = False, [down, answers]
    with pytest.raises(StoreUnavailable):
        await process.ready()
    await process.ready()
    waiting(storage, "studies")


async def test_a_wrong_setting_costs_no_delivery_either(started, storage):
    started()
    await process.ready()
    await process.built().close()
    started(DICOM_SYNC_FHIR_URL="no url")
    await study(study_message(STUDY))
    assert [parse_study_message(text).study for text in waiting(storage, "studies")] == [STUDY]


async def test_where_the_queue_does_not_answer_either_the_host_delivers_again(started):
    away = f"AccountName=a;AccountKey=bm8=;QueueEndpoint={UNREACHABLE};TableEndpoint={UNREACHABLE}"
    started(AzureWebJobsStorage=away)
    with pytest.raises(StoreUnavailable):
        await study(study_message(STUDY))
    started(AzureWebJobsStorage=away, DICOM_SYNC_FHIR_URL="no url")
    with pytest.raises(ConfigError):
        await study(study_message(STUDY))


async def test_a_defect_costs_a_delivery(started, storage):
    started()

    async def handle(running):
        raise UnexpectedFailure("ZeroDivisionError at x.py:1 in y")

    with pytest.raises(UnexpectedFailure):
        await bootstrap.take("studies", study_message(STUDY), handle)
    assert waiting(storage, "studies") == []
