"""
Result events, at least once: a stage puts its event into the outbox first and publishes it afterwards.

    add_event puts it into the outbox, before the last write after which a crash would no longer repeat the work
    publish_pending sends the events of this process; an event that fails stays in the outbox sweep_outbox sends events
    left there by a crash, or by a topic that did not answer

A study's event is sent if its state differs from the state last published, which its projection row keeps. So an
attempt that finds the work of a crashed one done still publishes it, and a replay that changes nothing publishes
nothing. Publishing never fails the work: events for a topic that is down wait for the sweeper.

Without a topic no event is stored; the present state of each study counts as published.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sync.errors import PermanentError, SyncError
from sync.model import Drift, ObjectKey, Projection, StudyRef, digest
from sync.model.result_events import (
    DriftFound,
    InstanceRejected,
    Result,
    ResultEvent,
    StudyFailed,
    StudyRemoved,
    StudySynced,
)
from sync.ports import Announce, Core

BATCH = 100
"""Events in one request; far below the megabyte that a topic accepts."""

SETTLED = timedelta(seconds=30)
"""Younger events are left to the process that added them."""


async def add_event(event: ResultEvent, s: Announce) -> None:
    """Put an event into the outbox, to be published. Idempotent: it is stored once, by its id."""
    if s.results is None:
        return
    # The table before memory: a crash after this line leaves the event to the sweeper.
    await s.outbox.put(event)
    s.caches.unsent_events[event.id] = event


async def publish_pending(s: Announce) -> None:
    """Send the events of this process. Never raises: events that cannot be sent now stay for the sweeper."""
    if s.results is None or not s.caches.unsent_events:
        return
    events = list(s.caches.unsent_events.values())[:BATCH]
    for event in events:
        # Taken before the send, so that two tasks of one process do not send it twice; on failure the sweeper has it.
        s.caches.unsent_events.pop(event.id, None)
    await _send(events, s)


async def sweep_outbox(s: Announce) -> int:
    """
    Send the events left in the outbox, and return how many were sent. Never raises.

    An event that the topic refuses does not hold up others.
    """
    if s.results is None:
        return 0
    try:
        waiting = await s.outbox.waiting(BATCH)
    except SyncError as failure:
        s.telemetry.event("events.postponed", logging.WARNING, code=failure.code)
        return 0
    latest = s.clock.now() - SETTLED
    return await _send([event for event in waiting if event.at <= latest], s)


async def _send(events: Sequence[ResultEvent], s: Announce) -> int:
    if s.results is None or not events:
        return 0
    try:
        await s.results.publish(events)
    except PermanentError as refusal:
        if len(events) > 1:
            return sum([await _send([event], s) for event in events])
        s.telemetry.event("events.refused", logging.ERROR, type=events[0].type, code=refusal.code)
        return 0
    except SyncError as failure:
        s.telemetry.event("events.postponed", logging.WARNING, events=len(events), code=failure.code)
        return 0
    except Exception as defect:  # noqa: BLE001 -- telling others must never fail the work; its text may hold anything
        s.telemetry.event("events.postponed", logging.ERROR, events=len(events), type=type(defect).__name__)
        return 0
    s.telemetry.event("events.sent", events=len(events))
    # Deleted only after the topic accepted them: delivery is at least once, and the id stays the same.
    return await _forget(events, s)


async def _forget(events: Sequence[ResultEvent], s: Announce) -> int:
    """Remove the events from the outbox; one that stays is sent again, with the same id."""
    for event in events:
        try:
            await s.outbox.delete(event)
        except SyncError as failure:
            s.telemetry.event("events.kept", logging.WARNING, code=failure.code)
            break
    return len(events)


async def add_study_event(after: Projection, before: Projection | None, s: Announce) -> Projection:
    """
    Add the event of a study if its state changed, and return the projection row that records it.

    Idempotent: the caller writes the row next. If it dies in between, the next attempt adds the event again under the
    same id.
    """
    state, result = _removed(after, s) if after.content_hash is None else _synced(after, s)
    return await _if_news(after, before, state, result, s)


def _removed(after: Projection, s: Core) -> tuple[str, Result]:
    return "", StudyRemoved(resource=f"ImagingStudy/{after.fhir_id}", **_named(after.study, s))


def _synced(after: Projection, s: Core) -> tuple[str, Result]:
    derived = (f"{name}={digest}" for name, digest in sorted(after.derived.items()))
    result = StudySynced(
        resource=f"ImagingStudy/{after.fhir_id}",
        series=after.series,
        instances=after.instances,
        findings=len(after.findings),
        **_named(after.study, s),
    )
    return digest("synced", after.fhir_id, after.content_hash or "", *derived), result


async def add_failure_event(noted: Projection, failure: SyncError, s: Announce) -> Projection:
    """Add the event that a study could not be written, unless it is published already; see `add_study_event`."""
    result = StudyFailed(code=failure.code, hint=failure.hint, **_named(noted.study, s))
    return await _if_news(noted, noted, f"failed {failure.code}", result, s)


async def add_rejection_event(key: ObjectKey, etag: str | None, failure: SyncError, s: Announce) -> None:
    """Add the event that an object cannot become an instance in its present state. Idempotent: the id is the same."""
    result = InstanceRejected(object=str(key), code=failure.code, hint=failure.hint)
    name = digest("rejected", str(key), etag or "", failure.code)
    await add_event(ResultEvent.of(result, id=name, subject=f"objects/{key}", at=s.clock.now()), s)


async def add_drift_event(drift: Drift, s: Announce, *, found_in: str, repaired: bool) -> None:
    """
    Add the event that source, ledger and FHIR disagree. Idempotent: the event has the same id.

    Parameters
    ----------
    found_in
        Names the round of checks that found the drift: finding it again in a later round is a new event.
    repaired
        Whether it was repaired at once.
    """
    study = drift.subject if "/" not in drift.subject else None
    result = DriftFound(
        code=drift.kind.value,
        study=study,
        resource=None if drift.resource.startswith("object/") else drift.resource,
        repaired=repaired,
    )
    name = digest("drift", drift.subject, drift.kind.value, drift.resource, found_in)
    about = f"studies/{study}" if study else drift.subject.replace("object/", "objects/", 1)
    await add_event(ResultEvent.of(result, id=name, subject=about, at=s.clock.now()), s)


async def _if_news(after: Projection, before: Projection | None, state: str, result: Result, s: Announce) -> Projection:
    published, times = (before.published_state, before.published_count) if before else ("", 0)
    if published == state:
        return replace(after, published_state=published, published_count=times)
    name = digest("study", after.study.key, str(times + 1), state)
    await add_event(ResultEvent.of(result, id=name, subject=f"studies/{after.study.key}", at=s.clock.now()), s)
    return replace(after, published_state=state, published_count=times + 1)


def _named(study: StudyRef, s: Core) -> dict[str, str]:
    if not s.settings.events_uids:
        return {"study": study.key}
    partition = {"partition": study.partition} if study.partition else {}
    return {"study": study.key, "study_instance_uid": study.study_instance_uid, **partition}
