"""
Recovers events that Event Grid could not deliver from its dead-letter container.

    a blob: an array of events with reason and attempts  ->  one queue message for each object
                                                             a dead letter for each unreadable entry
                                                             then the blob is deleted

An event is a hint, so one that arrives days late is as good as any: its object is inspected as it is now. The blob is
deleted last; after a crash before that, its objects are inspected once more. A blob without any event stays, marked.

Source: Azure Event Grid, "Dead letter and retry policies" (``deadLetterReason`` and its companions stand beside the
event's own attributes, in both schemas).
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from sync.errors import BadEvent
from sync.events import Sources, hint_message, parse_event
from sync.model import Change
from sync.ports import Deliver, UndeliveredEvents
from sync.protocol.dead_letters import dead_letter_message

LARGEST = 4 * 1024 * 1024
"""Bytes of a blob that are read; Event Grid's batches have at most one megabyte."""

MOST = 1000
"""Blobs that one run reads."""

_PLAIN = re.compile(r"[A-Za-z]{1,40}")
"""Events of a DICOM service only say that its feed has new entries; the feed is read anyway."""


async def recover_undelivered_events(lost: UndeliveredEvents, sources: Sources, s: Deliver) -> int:
    """
    Request an inspection of the objects of undelivered events. Idempotent and safe to interrupt.

    Returns
    -------
    int
        Number of objects.

    Raises
    ------
    StoreUnavailable
        Storage did not answer; blobs that were not reached are unchanged.
    """
    recovered = 0
    for name in await lost.names(MOST):
        text = await lost.read(name, LARGEST)
        if text is not None:
            recovered += await _recover(name, text, lost, sources, s)
    return recovered


async def _recover(name: str, text: str, lost: UndeliveredEvents, sources: Sources, s: Deliver) -> int:
    events = _events(text)
    if events is None:
        await dead_letter_message(text, BadEvent("a lost event is not JSON"), s, queue="objects")
        await lost.mark(name)
        return 0
    recovered = 0
    for event in events:
        recovered += await _reinspect(event, sources, s)
    await lost.remove(name)
    reason = str(events[0].get("deadLetterReason") or events[0].get("deadletterreason")) if events else ""
    shown = reason if _PLAIN.fullmatch(reason) else None
    s.telemetry.event("events.recovered", logging.WARNING, events=len(events), objects=recovered, reason=shown)
    return recovered


def _events(text: str) -> list[Any] | None:
    """Return the events of a blob, which holds an array of them or one; None for any other content."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    events = document if isinstance(document, list) else [document]
    return events if all(isinstance(event, dict) for event in events) else None


async def _reinspect(event: Any, sources: Sources, s: Deliver) -> int:
    changes = 0
    for change in parse_event(event, sources):
        if isinstance(change, Change):
            await s.object_queue.send(hint_message(change))
            changes += 1
        else:
            await dead_letter_message(json.dumps(event), change, s, queue="objects")
    return changes


async def recover_if_any(lost: UndeliveredEvents | None, sources: Sources, s: Deliver) -> None:
    """Recover undelivered events if a container is configured; raises like `recover_undelivered_events`."""
    if lost is not None:
        await recover_undelivered_events(lost, sources, s)
