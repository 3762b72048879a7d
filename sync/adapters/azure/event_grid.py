"""
Result events as CloudEvents 1.0 to an Event Grid topic, by Microsoft's client.

Source: Azure Event Grid, "Publish events to custom topics" (a batch is accepted as a whole; 401 and 403 mean the key or
the role, 400 and 413 the events).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from azure.core.credentials import AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid.aio import EventGridPublisherClient

from sync.adapters.azure.errors import is_denied, what
from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.no_answer import LATE, cause_of
from sync.errors import EventsRefused, EventsUnavailable, SyncError
from sync.model.result_events import NAMESPACE, ResultEvent
from sync.ports import ResultEvents

LONGEST = 10.0
"""Seconds that sending may take; after that, the sweeper tries again."""

_RETRIES: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0.3, "connection_timeout": 5, "read_timeout": 8}
_OUR_FAULT = (400, 413)
_FORBIDDEN_HINT = "Give the identity the role EventGrid Data Sender on the topic, or set DICOM_SYNC_EVENTS_KEY."


class EventGridTopic(ResultEvents):
    """
    One topic.

    Parameters
    ----------
    source
        The events' source: base URL of the FHIR service, to which their references are relative.
    """

    def __init__(
        self, endpoint: str, credential: AsyncTokenCredential | AzureKeyCredential, *, source: str, **more: Any
    ) -> None:
        self._client = EventGridPublisherClient(endpoint, credential, **(_RETRIES | more))
        self._source = source
        self._breaker = CircuitBreaker()
        self._outage: SyncError = EventsUnavailable()
        """The last outage's error: a topic that refuses us is not reported as one that does not answer."""

    async def publish(self, events: Sequence[ResultEvent]) -> None:
        """Send the events, all or none; see `sync.ports.ResultEvents`."""
        if self._breaker.remaining() > 0:
            raise EventsUnavailable(
                "the topic failed several times in a row", code=self._outage.code, hint=self._outage.hint
            )
        try:
            async with asyncio.timeout(LONGEST):
                await self._client.send([self._cloud_event(event) for event in events])
        except (AzureError, TimeoutError, OSError) as problem:
            failure = _failure(problem)
            if not isinstance(failure, EventsRefused):
                self._breaker.failed()
                self._outage = failure
            raise failure from None
        self._breaker.succeeded()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _cloud_event(self, event: ResultEvent) -> CloudEvent[dict[str, Any]]:
        name = event.type.removeprefix(f"{NAMESPACE}.")
        return CloudEvent(
            source=self._source,
            type=event.type,
            id=event.id,
            subject=event.subject,
            time=event.at,
            data=dict(event.data),
            datacontenttype="application/json",
            dataschema=f"urn:dicom-fhir-sync:events:{name}",
        )


def _failure(problem: Exception) -> SyncError:
    status = problem.status_code if isinstance(problem, HttpResponseError) else None
    if is_denied(problem):
        return EventsUnavailable(f"{status}", code="events.forbidden", hint=_FORBIDDEN_HINT)
    if status in _OUR_FAULT:
        return EventsRefused(f"{status}")
    words = what(problem) if isinstance(problem, AzureError) else cause_of(problem) or LATE
    return EventsUnavailable(words)
