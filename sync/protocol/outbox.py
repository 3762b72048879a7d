"""
Result events, at least once: a stage puts its event into the outbox first and publishes it afterwards.

    announce    into the outbox, before the last row goes that would have the work done again after a crash
    deliver     what this process has announced; what fails stays in the outbox
    sweep_outbox    what is left there: a crash, or a topic that did not answer

A study is announced by comparing what was last announced of it, which its projection row keeps, with what is true now:
so an attempt that finds the work of a crashed one done still announces it, and a replay that changes nothing
announces nothing. Delivery never fails the work: a topic that is down is the sweeper's trouble, not the study's.

Without a topic nothing is put anywhere; that a study is as it is counts as announced.
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
"""Events sent at once; far below the megabyte that a topic takes."""

SETTLED = timedelta(seconds=30)
"""What is younger is left to the process that put it."""


async def add_event(event: ResultEvent, s: Announce) -> None:
    """Put an event into the outbox, to be delivered. Idempotent: it is there once, by its id."""
    if s.results is None:
        return
    # The table before memory: a crash after this line leaves the event to the sweeper.
    await s.outbox.put(event)
    s.caches.unsent_events[event.id] = event


async def publish_pending(s: Announce) -> None:
    """Send what this process has announced. It never raises: what cannot be sent now stays for the sweeper."""
    if s.results is None or not s.caches.unsent_events:
        return
    events = list(s.caches.unsent_events.values())[:BATCH]
    for event in events:
        # Taken before the send, so that two tasks of one process do not send it twice; on failure the sweeper has it.
        s.caches.unsent_events.pop(event.id, None)
    await _send(events, s)


async def sweep_outbox(s: Announce) -> int:
    """
    Send what was left in the outbox, and return how many were sent. It never raises.

    One event that the topic refuses holds up no other.
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
    # Deleted only after the topic took them: delivery is at least once, and the id stays the same.
    return await _forget(events, s)


async def _forget(events: Sequence[ResultEvent], s: Announce) -> int:
    """Take the events out of the outbox; one that stays is sent once more, with the same id."""
    for event in events:
        try:
            await s.outbox.delete(event)
        except SyncError as failure:
            s.telemetry.event("events.kept", logging.WARNING, code=failure.code)
            break
    return len(events)


async def add_study_event(after: Projection, before: Projection | None, s: Announce) -> Projection:
    """
    Add the event of a study, if its state changed, and return the projection row that records it.

    Idempotent: the caller writes the row next; dying in between, its next life announces it again, by the same id.
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
    """Announce that a study could not be written, if that is news; see `add_study_event`."""
    result = StudyFailed(code=failure.code, hint=failure.hint, **_named(noted.study, s))
    return await _if_news(noted, noted, f"failed {failure.code}", result, s)


async def add_rejection_event(key: ObjectKey, etag: str | None, failure: SyncError, s: Announce) -> None:
    """Announce that an object can not become an instance as it is. Idempotent: the event has the same id."""
    result = InstanceRejected(object=str(key), code=failure.code, hint=failure.hint)
    name = digest("rejected", str(key), etag or "", failure.code)
    await add_event(ResultEvent.of(result, id=name, subject=f"objects/{key}", at=s.clock.now()), s)


async def add_drift_event(drift: Drift, s: Announce, *, found_in: str, repaired: bool) -> None:
    """
    Announce that source, ledger and FHIR disagree. Idempotent: the event has the same id.

    Parameters
    ----------
    found_in
        Names the round of checks that found it: found once more in a later round, it is news again.
    repaired
        Whether it was put right at once.
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
