"""Result events through Microsoft's own client to a topic that checks what the service checks."""

from datetime import UTC, datetime

import pytest
from azure.core.credentials import AzureKeyCredential

from local.result_topic import result_topic
from sync.adapters.azure.event_grid import EventGridTopic
from sync.adapters.circuit_breaker import FAILURES_TO_OPEN
from sync.errors import EventsRefused, EventsUnavailable
from sync.model.result_events import DriftFound, ResultEvent, StudySynced

AT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
SOURCE = "https://fhir.example/r4"


def event(number=1):
    result = StudySynced(study="k", resource="ImagingStudy/is-k", series=1, instances=number, findings=0)
    return ResultEvent.of(result, id=f"id-{number}", subject="studies/k", at=AT)


@pytest.fixture
async def topic():
    async with result_topic() as running:
        yield running


@pytest.fixture
async def sender(topic):
    sender = EventGridTopic(topic.url, AzureKeyCredential(topic.key), source=SOURCE, retry_total=0)
    yield sender
    await sender.close()


async def test_the_wire_holds_cloud_events(topic, sender):
    await sender.publish([event()])
    (got,) = topic.events
    assert datetime.fromisoformat(got.pop("time")) == AT
    assert got == {
        "specversion": "1.0",
        "id": "id-1",
        "source": SOURCE,
        "type": "org.dicom-fhir-sync.study.synced.v1",
        "subject": "studies/k",
        "datacontenttype": "application/json",
        "dataschema": "urn:dicom-fhir-sync:events:study.synced.v1",
        "data": {"study": "k", "resource": "ImagingStudy/is-k", "series": 1, "instances": 1, "findings": 0},
    }


async def test_a_batch_is_one_request(topic, sender):
    await sender.publish([event(n) for n in range(100)])
    assert (len(topic.events), topic.requests) == (100, 1)


async def test_a_wrong_key_names_the_setting(topic):
    sender = EventGridTopic(topic.url, AzureKeyCredential("wrong"), source=SOURCE, retry_total=0)
    with pytest.raises(EventsUnavailable) as caught:
        await sender.publish([event()])
    await sender.close()
    assert caught.value.code == "events.forbidden"
    assert "DICOM_SYNC_EVENTS_KEY" in caught.value.hint


@pytest.mark.parametrize(("status", "error"), [(400, EventsRefused), (413, EventsRefused), (500, EventsUnavailable)])
async def test_what_the_topic_answers_decides_whether_it_is_tried_again(topic, sender, status, error):
    topic.status = status
    with pytest.raises(error):
        await sender.publish([event()])


async def test_a_topic_that_is_down_is_asked_no_more_for_a_while(topic, sender):
    topic.status = 503
    for _ in range(FAILURES_TO_OPEN + 5):
        with pytest.raises(EventsUnavailable):
            await sender.publish([event()])
    assert topic.requests == FAILURES_TO_OPEN


async def test_a_closed_port_is_an_outage():
    sender = EventGridTopic("http://127.0.0.1:9/api/events", AzureKeyCredential("x"), source=SOURCE, retry_total=0)
    drift = ResultEvent.of(DriftFound(code="drift.missing"), id="1", subject="studies/k", at=AT)
    with pytest.raises(EventsUnavailable):
        await sender.publish([drift])
    await sender.close()
