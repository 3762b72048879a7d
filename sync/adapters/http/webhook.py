"""
Sends alerts by HTTP POST, in the receiver's format.

The URL may hold a secret: it appears in no log and no error. Sources: CloudEvents 1.0 JSON format; Microsoft Teams,
"Create incoming webhooks with Workflows" (Adaptive Card); Slack "Sending messages using incoming webhooks"; PagerDuty
"Events API v2" (trigger and resolve share a dedup_key).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from sync.adapters.http.no_answer import words_of
from sync.adapters.http.retrying import Sleep, short_retries
from sync.adapters.http.trust import trusted
from sync.errors import WebhookUnavailable
from sync.ports import AlertChannel, Notice

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_SOURCE = "dicom-fhir-sync"


class Webhook(AlertChannel):
    """
    One URL that gets every notice.

    Parameters
    ----------
    shape
        One of `SHAPES`.
    key
        PagerDuty's integration key.
    transport, sleep
        Replace network and waiting, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        shape: str = "cloudevents",
        key: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = url
        self._shaped = SHAPES[shape]
        self._key = key
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT, transport=transport, follow_redirects=False, verify=trusted()
        )
        self._sleep = sleep

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, notice: Notice) -> None:
        """Send the notice by POST; after three attempts raise `WebhookUnavailable`."""
        retrying = short_retries(lambda _: True, sleep=self._sleep)
        await retrying(self._post, notice)

    async def _post(self, notice: Notice) -> None:
        media, body = self._shaped(notice, self._key)
        try:
            response = await self._client.post(self._url, json=body, headers={"Content-Type": media})
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise WebhookUnavailable(words_of(problem)) from None
        if not response.is_success:
            raise WebhookUnavailable(str(response.status_code))


Shaped = tuple[str, Mapping[str, Any]]


def _cloudevent(notice: Notice, _: str) -> Shaped:
    return "application/cloudevents+json", {
        "specversion": "1.0",
        "id": notice.id,
        "source": _SOURCE,
        "type": f"{_SOURCE}.alert.{notice.step}",
        "subject": notice.code,
        "time": notice.at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "alert": notice.alert,
            "code": notice.code,
            "severity": notice.severity,
            "text": notice.text,
            "value": notice.value,
            "threshold": notice.threshold,
        },
    }


def _headline(notice: Notice) -> str:
    return f"{notice.step.upper()} {notice.severity}: {notice.code}"


def _teams(notice: Notice, _: str) -> Shaped:
    color = "good" if notice.step == "cleared" else "attention" if notice.severity == "critical" else "warning"
    lines = [
        {"type": "TextBlock", "text": _headline(notice), "weight": "bolder", "size": "medium", "color": color},
        {"type": "TextBlock", "text": notice.text, "wrap": True},
        {"type": "TextBlock", "text": notice.at.isoformat(timespec="seconds"), "isSubtle": True},
    ]
    card = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": lines,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return "application/json", {"type": "message", "attachments": [attachment]}


def _slack(notice: Notice, _: str) -> Shaped:
    return "application/json", {"text": f"*{_headline(notice)}*\n{notice.text}"}


def _pagerduty(notice: Notice, key: str) -> Shaped:
    common = {"routing_key": key, "dedup_key": notice.alert}
    if notice.step == "cleared":
        return "application/json", {**common, "event_action": "resolve"}
    payload = {
        "summary": notice.text,
        "source": _SOURCE,
        "severity": notice.severity,
        "timestamp": notice.at.isoformat(),
        "class": notice.code,
        "custom_details": {"value": notice.value, "threshold": notice.threshold},
    }
    return "application/json", {**common, "event_action": "trigger", "payload": payload}


SHAPES: Mapping[str, Callable[[Notice, str], Shaped]] = {
    "cloudevents": _cloudevent,
    "teams": _teams,
    "slack": _slack,
    "pagerduty": _pagerduty,
}
