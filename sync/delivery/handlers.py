"""
Handlers of queue messages, around the pipeline: each failure is raised, postponed or dead-lettered here.

Each function takes one message as its queue delivered it. Returning means done; raising means that the host delivers
the message again and at last moves it to the poison queue. What is raised carries no value from any file: an exception
that is not ours is replaced by `UnexpectedFailure`, which names its type and place only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from sync.delivery.backoff import due_for_rescue, postpone, postpone_object, release_while_paused
from sync.delivery.deletions import in_hand
from sync.delivery.folders import inspect_folder
from sync.errors import (
    Contention,
    FhirUnavailable,
    PermanentError,
    SourceUnavailable,
    StoreUnavailable,
    SyncError,
    Throttled,
)
from sync.events import Sources, parse_message, parse_object_message, parse_study_message
from sync.model import (
    Action,
    Change,
    DirtyStudy,
    Ingested,
    Locator,
    Projected,
    Projection,
    Stored,
    StudyEvent,
    StudyRef,
    SubjectKind,
)
from sync.model.queues import OBJECTS_QUEUE, STUDIES_QUEUE
from sync.operators.pause import projection_pause
from sync.pipeline import ingest, project_study
from sync.ports import Announce, Core, Deliver, Ingest, Project
from sync.projection.last_record import LastRecord
from sync.protocol.attempts import CRASH_CODE, CRASH_HINT
from sync.protocol.dead_letters import dead_letter_message, dead_letter_object, dead_letter_study
from sync.protocol.dirty_studies import due_at, sleep_until_due
from sync.protocol.optimistic import unless_conflict
from sync.protocol.outbox import publish_pending, sweep_outbox
from sync.telemetry.defects import only_sync_errors
from sync.telemetry.instruments import FAILURES, SWEEPS, SWEPT
from sync.telemetry.spans import INGEST_OBJECT, OBJECT_MESSAGE, PROJECT_STUDY, STUDY_MESSAGE, SpanKind

LONG_OVERDUE = 600.0
"""Seconds after which a study is enqueued again though the queue is busy."""

STALLED = 20.0
"""Seconds after which a study is enqueued again though all messages are leased: their holder may have been killed."""

_HINTS = {CRASH_CODE: CRASH_HINT}

FEW = 32
"""Studies that one sweep enqueues while the queue is busy."""


async def handle_object_message(text: str, sources: Sources, s: Deliver, *, attempt: int = 1) -> Sequence[int | None]:
    """
    Handle one message of the queue ``objects``: one event, or a batch of them. Idempotent.

    Each event is tried even after another has failed: one bad object must not hold up the others. An outage of the
    object store does not raise, because that would poison everything in minutes: the object waits with a growing delay.

    Parameters
    ----------
    text
        The message body, decoded.
    sources
        The accounts and containers that events may name.
    attempt
        1 on first delivery.

    Returns
    -------
    list
        Sequences of the DICOM service's feed that the message names, for `sync.feeds.wake`.

    Raises
    ------
    TransientError
        Deliver it again.
    """
    async with only_sync_errors():
        message = parse_object_message(text, sources)
    async with in_hand([change for change in message.changes if isinstance(change, Change)], s):
        failures = [failure for change in message.changes if (failure := await _failure_of(text, change, s, attempt))]
    if failures:
        raise failures[0]
    return message.feed_sequences


async def _failure_of(text: str, change: Change | PermanentError, s: Deliver, attempt: int) -> SyncError | None:
    """Handle one change of a message; return why the message has to be delivered again, None if it has not."""
    try:
        async with only_sync_errors():
            await _handle_or_postpone(text, change, s, attempt)
    except SyncError as failure:
        s.telemetry.measure(FAILURES, code=failure.code)
        return failure
    return None


async def _handle_or_postpone(text: str, change: Change | PermanentError, s: Deliver, attempt: int) -> None:
    if isinstance(change, PermanentError):
        await dead_letter_message(text, change, s, queue=OBJECTS_QUEUE)
        return
    if change.action is Action.FOLDER_REMOVED:
        await inspect_folder(change, s)  # an outage has the whole message delivered again
        return
    try:
        await _ingest(change, s, attempt=attempt, span=OBJECT_MESSAGE)
    except (SourceUnavailable, StoreUnavailable) as outage:
        await postpone_object(change, outage, s)  # fails only when nothing can be sent either


async def handle_change(change: Change, s: Ingest, *, attempt: int = 1) -> Ingested:
    """
    Ingest one object that an event, a feed or a listing names. Idempotent.

    Returns
    -------
    Ingested
        ``DEAD_LETTERED`` when it could not be ingested and trying again would change nothing.

    Raises
    ------
    TransientError
        Try again later.
    """
    async with only_sync_errors():
        return await _ingest(change, s, attempt=attempt, span=INGEST_OBJECT)


async def _ingest(change: Change, s: Ingest, *, attempt: int, span: SpanKind) -> Ingested:
    key = str(change.object.key)
    with s.telemetry.span(span, object=key, attempt=attempt) as traced:
        async with _delivering(s):
            try:
                async with _object_lock(change, s):
                    with s.caches.company.joined(from_queue=span is OBJECT_MESSAGE):
                        outcome = await ingest(change, s, redelivered=attempt > 1)
            except PermanentError as refusal:
                await dead_letter_delivery(change, refusal, s)
                traced.note(outcome=Ingested.DEAD_LETTERED.word, code=refusal.code)
                return Ingested.DEAD_LETTERED
            s.telemetry.event(outcome.value, object=key, attempt=attempt)
            traced.note(outcome=outcome.word)
            return outcome


def _object_lock(change: Change, s: Core) -> asyncio.Lock:
    """
    Let the deliveries of one object take turns within this process.

    Nothing depends on it but time: at once, each would take the other's claim away, round after round.
    """
    return s.caches.object_locks.setdefault(change.object.key, asyncio.Lock())


async def handle_study_message(text: str, s: Deliver, *, attempt: int = 1) -> None:
    """
    Handle one message of the queue ``studies``. Idempotent.

    An outage of the FHIR service does not raise, as that would poison everything in minutes: the study waits with a
    growing delay, and its dirty row remembers that an attempt may have died half-way.

    Raises
    ------
    TransientError
        Deliver it again.
    """
    async with _failures_measured(s), only_sync_errors():
        try:
            message = parse_study_message(text)
        except PermanentError as refusal:
            await dead_letter_message(text, refusal, s, queue=STUDIES_QUEUE)
            return
        attempt = max(attempt, 2) if message.redelivered else attempt
        if await projection_pause(s) is not None:
            await release_while_paused(message.study, s, attempt=attempt)
        else:
            marked, records = None, LastRecord(s.projections)
            if attempt == 1:
                with suppress(SyncError):  # the attempt meets the same outage, and postpones the study
                    marked = await sleep_until_due(message.study, s, is_recorded=records.is_there)
            await _project(
                message.study,
                s,
                attempt=attempt,
                span=STUDY_MESSAGE,
                links=message.links,
                marked=marked,
                records=records,
            )


async def handle_study(study: StudyRef, s: Deliver) -> Projected | None:
    """
    Project one outstanding study that no message names. Idempotent.

    Returns
    -------
    Projected or None
        None when the FHIR service is out of reach: the study waits.

    Raises
    ------
    TransientError
        Try again later.
    """
    async with only_sync_errors():
        return await _project(study, s, attempt=1, span=PROJECT_STUDY)


async def _project(
    study: StudyRef,
    s: Deliver,
    *,
    attempt: int,
    span: SpanKind,
    links: Sequence[str] = (),
    marked: Stored[DirtyStudy] | None = None,
    records: LastRecord | None = None,
) -> Projected | None:
    with s.telemetry.span(span, links=links, study=study.key, attempt=attempt) as traced:
        async with _delivering(s):
            try:
                slots = s.caches.projecting(s.settings.fhir_concurrency)
                # A study that waits for a slot may be marked meanwhile: then its mark is read again.
                known = None if slots.locked() else marked
                records = records or LastRecord(s.projections)
                async with slots:
                    noting = replace(s, projections=records)
                    outcome = await project_study(study, noting, redelivered=attempt > 1, marked=known)
            except (FhirUnavailable, Throttled, Contention, StoreUnavailable) as outage:
                traced.note(code=outage.code)
                await postpone(study, outage, s)
                return None
            s.telemetry.event(outcome.value, study=study.key, attempt=attempt)
            traced.note(outcome=outcome.word)
            await _remember(study, outcome, records.last, s)
            return outcome


async def _remember(study: StudyRef, outcome: Projected, recorded: Projection | None, s: Deliver) -> None:
    """Record the outcome of a study for the dashboard; no work depends on it, so none fails because of it."""
    if outcome not in (Projected.WRITTEN, Projected.DEAD_LETTERED):
        return
    with suppress(SyncError):
        series, instances = (recorded.series, recorded.instances) if recorded else (0, 0)
        event = StudyEvent(study=study, at=s.clock.now(), outcome=outcome.value, series=series, instances=instances)
        await s.history.add(event)


async def handle_poison_object(text: str, sources: Sources, s: Ingest, *, code: str = "poison.object") -> None:
    """
    Turn a message that failed too often into dead letters of its objects. Idempotent.

    Objects of the same message that did get through are left out.
    """
    async with only_sync_errors(), _delivering(s):
        for change in parse_message(text, sources):
            if isinstance(change, PermanentError):
                await dead_letter_message(text, change, s, queue=OBJECTS_QUEUE)
                continue
            if change.action is Action.FOLDER_REMOVED:
                await dead_letter_message(text, _poison(code), s, queue=OBJECTS_QUEUE)
                continue
            if not await _is_settled(change, s):
                await dead_letter_object(change, _poison(code), s)
                s.telemetry.event("object.poisoned", logging.ERROR, object=str(change.object.key))


async def handle_poison_study(text: str, s: Project, *, code: str = "poison.study") -> None:
    """Turn a message that failed too often into a dead letter of its study; the study leaves the list. Idempotent."""
    async with only_sync_errors(), _delivering(s):
        try:
            study = parse_study_message(text).study
        except PermanentError as refusal:
            await dead_letter_message(text, refusal, s, queue=STUDIES_QUEUE)
            return
        dirty = await s.dirty.read(study)
        await dead_letter_study(study, _poison(code), s)
        if dirty is not None:
            # After the letter, under the ETag read before it: a study that was marked meanwhile stays dirty.
            await unless_conflict(s.dirty.delete(study, dirty.etag))
        s.telemetry.event("study.poisoned", logging.ERROR, study=study.key)


def _poison(code: str) -> PermanentError:
    hint = _HINTS.get(code, "See the log for the failure; fix its cause, then retry.")
    return PermanentError("delivered too often without success", code=code, hint=hint)


async def _is_settled(change: Change, s: Ingest) -> bool:
    """Return whether the object got through, and has no letter but one that its next success clears."""
    stored = await s.locators.read(change.object)
    if stored is None or not _is_done(change, stored.value):
        return False
    # A delivery of this message may have died between the letter and its row, before the object got through.
    return stored.value.has_dead_letter or await s.dead_letters.read(SubjectKind.OBJECT, str(change.object.key)) is None


def _is_done(change: Change, locator: Locator) -> bool:
    """Return whether the state that an event reports was inspected; a deletion, event or object, has no ETag."""
    comparable = change.etag is not None or change.action is Action.DELETED
    return locator.settled and locator.etag == change.etag and comparable


async def dead_letter_delivery(change: Change, refusal: PermanentError, s: Ingest) -> None:
    """Keep a dead letter of an object that could not be ingested, and say so. Idempotent."""
    await dead_letter_object(change, refusal, s)
    s.telemetry.event(Ingested.DEAD_LETTERED.value, logging.ERROR, object=str(change.object.key), code=refusal.code)


async def sweep(s: Deliver) -> int:
    """
    Enqueue the studies whose wake-up was lost: a crash between mark and message, a message that was poisoned, a pause.

    Result events that were left behind are sent too. Idempotent.

    While the queue holds as many messages as there are dirty studies, they are probably all on their way; but several
    may be for one study. So then only a few are enqueued, the longest overdue, which can neither flood the queue nor
    leave one behind for ever.

    A worker that was killed leaves its messages leased for ten minutes, and they count as messages all the while. Then
    the queue shows none that waits for a worker, though studies are overdue: these are enqueued at once. If the holder
    does live, its study is projected twice, which writes nothing new. It lives where a service hangs, and would get
    message after message of one study: so each further one comes after twice the time.

    Returns
    -------
    int
        How many were enqueued.
    """
    async with only_sync_errors():
        enqueued = await _sweep(s)
    # Only now: a heartbeat that comes before the work beats on while tables or queues refuse it.
    s.telemetry.measure(SWEEPS)
    return enqueued


async def _sweep(s: Deliver) -> int:
    await sweep_outbox(s)
    if await projection_pause(s) is not None:
        return 0
    outstanding = [dirty async for dirty in s.dirty.all()]
    if not outstanding:
        return 0
    # After the dirty rows: messages sent meanwhile only make the queue look busier, and fewer are enqueued.
    busy = await s.study_queue.length() >= len(outstanding)
    stalled = busy and not await s.study_queue.has_visible()
    patience = STALLED if stalled else LONG_OVERDUE if busy else s.settings.quiet_period
    latest = s.clock.now() - timedelta(seconds=patience)
    overdue = sorted((due, dirty.study) for dirty in outstanding if (due := due_at(dirty, s)) <= latest)
    chosen = [study for _, study in overdue[: FEW if busy and not stalled else None]]
    if stalled:
        chosen = due_for_rescue(chosen, s, first=STALLED, longest=LONG_OVERDUE)
    for study in chosen:
        # Of a killed holder: its attempt may have written, and may have been what ended it.
        await s.study_queue.enqueue(study, redelivered=stalled)
    if chosen:
        s.telemetry.event("study.swept", studies=len(chosen))
        s.telemetry.measure(SWEPT, len(chosen))
    return len(chosen)


@asynccontextmanager
async def _failures_measured(s: Core) -> AsyncIterator[None]:
    try:
        yield
    except SyncError as failure:
        s.telemetry.measure(FAILURES, code=failure.code)
        raise


@asynccontextmanager
async def _delivering(s: Announce) -> AsyncIterator[None]:
    """Send, in the end, the result events of what was done; not when the process is being stopped, as after a crash."""
    try:
        yield
    except SyncError:
        await publish_pending(s)
        raise
    await publish_pending(s)
