"""What the other side of a webhook gets, and that its address, which may be a secret, stands nowhere."""

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from sync.adapters.http.retrying import ATTEMPTS
from sync.adapters.http.webhook import SHAPES, Webhook
from sync.errors import WebhookUnavailable
from sync.ports import Notice

URL = "https://hooks.example/services/SECRET"
RAISED = Notice(
    id="n1-raised",
    alert="n1",
    step="raised",
    code="alert.lag",
    severity="critical",
    text="The oldest outstanding study waits: 700 s, allowed 300 s.",
    at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    value=700.0,
    threshold=300.0,
)
CLEARED = replace(RAISED, id="n1-cleared", step="cleared")


class Receiver:
    """Answers with the given codes, the last one for ever."""

    def __init__(self, *codes):
        self.codes = list(codes)
        self.got = []

    def __call__(self, request):
        self.got.append((request.headers["content-type"], json.loads(request.content)))
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        if code == 0:
            raise httpx.ConnectError(f"cannot reach {request.url}")
        return httpx.Response(code, headers={"Location": "https://elsewhere.example"})


async def no_wait(_):
    return


def webhook(receiver, shape="cloudevents", key=""):
    return Webhook(URL, shape=shape, key=key, transport=httpx.MockTransport(receiver), sleep=no_wait)


async def sent(shape, notice=RAISED, key=""):
    receiver = Receiver(202)
    await webhook(receiver, shape, key).send(notice)
    (got,) = receiver.got
    return got


async def test_a_cloudevent_has_what_the_specification_requires():
    media, body = await sent("cloudevents")
    assert media == "application/cloudevents+json"
    assert {"specversion": "1.0", "id": "n1-raised", "type": "dicom-fhir-sync.alert.raised"}.items() <= body.items()
    assert datetime.fromisoformat(body["time"]) == RAISED.at
    assert body["data"]["value"] == 700.0


async def test_teams_gets_an_adaptive_card():
    _, body = await sent("teams")
    card = body["attachments"][0]["content"]
    assert body["type"] == "message"
    assert (card["type"], card["body"][0]["text"]) == ("AdaptiveCard", "RAISED critical: alert.lag")


async def test_slack_gets_text():
    _, body = await sent("slack", CLEARED)
    assert body["text"].startswith("*CLEARED critical: alert.lag*\n")


async def test_pagerduty_resolves_what_it_triggered():
    _, raised = await sent("pagerduty", key="K")
    _, cleared = await sent("pagerduty", CLEARED, key="K")
    assert (raised["event_action"], cleared["event_action"]) == ("trigger", "resolve")
    assert raised["dedup_key"] == cleared["dedup_key"]
    assert raised["routing_key"] == cleared["routing_key"] == "K"
    assert raised["payload"]["severity"] == "critical"


async def test_a_short_failure_is_overcome():
    receiver = Receiver(503, 0, 202)
    await webhook(receiver).send(RAISED)
    assert len(receiver.got) == 3


@pytest.mark.parametrize("code", [0, 302, 400, 404, 429, 500])
async def test_what_lasts_is_given_up_after_a_few_attempts_without_a_word_of_the_address(code, caplog):
    receiver = Receiver(code)
    with caplog.at_level(logging.DEBUG, logger="sync"), pytest.raises(WebhookUnavailable) as caught:
        await webhook(receiver).send(RAISED)
    assert len(receiver.got) == ATTEMPTS
    assert "SECRET" not in repr(caught.value) + str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


def test_every_shape_is_one_that_the_settings_know():
    from typing import get_args

    from sync.config import AlertSettings

    assert set(get_args(AlertSettings.model_fields["webhook_shape"].annotation)) == set(SHAPES)
