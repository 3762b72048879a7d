"""
Where failures are decided, once, around the pipeline: raise, postpone, or write a dead letter.

Each function takes one message as its queue delivered it. Returning means done; raising means that the host delivers
the message again and at last moves it to the poison queue. What is raised carries no value from any file: an exception
that is not ours is replaced by `UnexpectedFailure`, which names its type and place only.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from sync.errors import (
    Contention,
    FhirUnavailable,
    PermanentError,
    StoreConflict,
    SyncError,
    Throttled,
    TransientError,
    UnexpectedFailure,
)
from sync.events import Sources, message_digest, parse_message, parse_study_message
from sync.instruments import DEAD_LETTERS, FAILURES, SWEEPS, SWEPT
from sync.model import Action, Change, DeadLetter, Locator, StudyRef, SubjectKind
from sync.pipeline import MAX_ROUNDS, Ingested, Projected, due_at, ingest, park_study, project_study
from sync.ports import Services

FIRST_BACK_OFF = 5.0
"""Seconds before a study that met an outage is tried again; doubles each time."""

LONGEST_BACK_OFF = 60.0
"""Seconds: so long at most does a study stay behind once the FHIR service is back."""


LONG_OVERDUE = 600.0
"""Seconds after which a study is enqueued anew though the queue is busy."""

FEW = 32
"""Studies that one sweep enqueues while the queue is busy."""


async def handle_object_message(text: str, sources: Sources, s: Services, *, attempt: int = 1) -> None:
    """
    Handle one message of the queue ``objects``: one event, or a batch of them.

    Each event is tried, whatever became of those before it: one bad object must not hold up the others.

    Parameters
    ----------
    text
        The message body, decoded.
    sources
        The accounts and containers that events may name.
    attempt
        1 on first delivery.

    Raises
    ------
    TransientError
        Deliver it again.
    """
    failures: list[SyncError] = []
    async with _ours_only():
        for change in parse_message(text, sources):
            try:
                async with _ours_only():
                    await _handle_change(text, change, s, attempt)
            except SyncError as failure:
                s.telemetry.measure(FAILURES, code=failure.code)
                failures.append(failure)
    if failures:
        raise failures[0]


async def _handle_change(text: str, change: Change | PermanentError, s: Services, attempt: int) -> None:
    if isinstance(change, PermanentError):
        await _refuse_message(text, change, s)
    else:
        await handle_change(change, s, attempt=attempt)


async def handle_change(change: Change, s: Services, *, attempt: int = 1) -> Ingested | None:
    """
    Look at one object, whoever said that it changed: an event, a feed or a listing. Safe to repeat.

    Returns
    -------
    Ingested or None
        None when it was set aside: trying again would change nothing, and it has a dead letter.

    Raises
    ------
    TransientError
        Try again later.
    """
    async with _ours_only():
        try:
            async with _turn(change, s):
                outcome = await ingest(change, s, redelivered=attempt > 1)
        except PermanentError as refusal:
            await set_aside(change, refusal, s)
            return None
        s.telemetry.event(outcome.value, object=str(change.object.key), attempt=attempt)
        return outcome


def _turn(change: Change, s: Services) -> asyncio.Lock:
    """
    Let the deliveries of one object take turns within this process.

    Nothing depends on it but time: at once, each would take the other's claim away, round after round.
    """
    return s.turns.setdefault(change.object.key, asyncio.Lock())


async def handle_study_message(text: str, s: Services, *, attempt: int = 1) -> None:
    """
    Handle one message of the queue ``studies``.

    An outage of the FHIR service does not raise, for that would poison everything in minutes: the study waits with a
    growing delay, and its dirty row remembers that a pass may have died half-way.

    Raises
    ------
    TransientError
        Deliver it again.
    """
    async with _failures_measured(s), _ours_only():
        try:
            study = parse_study_message(text)
        except PermanentError as refusal:
            await _refuse_message(text, refusal, s)
            return
        await handle_study(study, s, attempt=attempt)


async def handle_study(study: StudyRef, s: Services, *, attempt: int = 1) -> Projected | None:
    """
    Project one outstanding study. Safe to repeat.

    Returns
    -------
    Projected or None
        None when the FHIR service is out of reach: the study waits.

    Raises
    ------
    TransientError
        Try again later.
    """
    async with _ours_only():
        try:
            outcome = await project_study(study, s, redelivered=attempt > 1)
        except (FhirUnavailable, Throttled, Contention) as outage:
            await _postpone(study, outage, s)
            return None
        s.telemetry.event(outcome.value, study=study.key, attempt=attempt)
        return outcome


async def handle_poison_object(text: str, sources: Sources, s: Services) -> None:
    """
    Turn a message that failed too often into dead letters of its objects. Safe to repeat.

    Objects of the same message that did get through are left out.
    """
    async with _ours_only():
        for change in parse_message(text, sources):
            if isinstance(change, PermanentError):
                await _refuse_message(text, change, s)
                continue
            known = await s.locators.read(change.object)
            if known is None or not _is_done(change, known.value):
                await _keep_aside(change, _poison("poison.object"), s)
                s.telemetry.event("object.poisoned", logging.ERROR, object=str(change.object.key))


async def handle_poison_study(text: str, s: Services) -> None:
    """Turn a message that failed too often into a dead letter of its study, and set the study aside. Safe to repeat."""
    async with _ours_only():
        try:
            study = parse_study_message(text)
        except PermanentError as refusal:
            await _refuse_message(text, refusal, s)
            return
        dirty = await s.dirty.read(study)
        await park_study(study, _poison("poison.study"), s)
        if dirty is not None:
            # Marked meanwhile: then it is not set aside after all, and that is right.
            await _unless_conflict(s.dirty.delete(study, dirty.etag))
        s.telemetry.event("study.poisoned", logging.ERROR, study=study.key)


def _poison(code: str) -> PermanentError:
    hint = "See the log for what failed; once it is mended, retry."
    return PermanentError("delivered too often without success", code=code, hint=hint)


def _is_done(change: Change, known: Locator) -> bool:
    """Whether what the event speaks of was looked at: an event of a deletion has no ETag, nor has a deleted object."""
    seen = change.etag is not None or change.action is Action.DELETED
    return known.settled and known.etag == change.etag and seen


async def set_aside(change: Change, refusal: PermanentError, s: Services) -> None:
    """Keep a dead letter of an object that could not be ingested, and say so. Safe to repeat."""
    await _keep_aside(change, refusal, s)
    s.telemetry.event("object.set_aside", logging.ERROR, object=str(change.object.key), code=refusal.code)


async def _keep_aside(change: Change, refusal: PermanentError, s: Services) -> None:
    """
    Keep a dead letter of an object that could not be ingested.

    Its locator is flagged, so that the next delivery of any event for it looks at it and clears the dead letter; after
    the dead letter, so that a delivery in between cannot take the flag and leave the letter.
    """
    await s.dead_letters.put(_letter(SubjectKind.OBJECT, str(change.object.key), refusal, s))
    s.telemetry.measure(DEAD_LETTERS, code=refusal.code)
    await _flag_locator(change, s)


async def sweep(s: Services) -> int:
    """
    Enqueue the studies whose wake-up was lost: a crash between mark and message, a message that was poisoned.

    While the queue holds as many messages as there are dirty studies, they are probably all on their way; but several
    may be for one study. So then only a few are enqueued, the longest overdue, which can neither flood the queue nor
    leave one behind for ever.

    Returns
    -------
    int
        How many were enqueued.
    """
    s.telemetry.measure(SWEEPS)
    async with _ours_only():
        outstanding = [dirty async for dirty in s.dirty.all()]
        if not outstanding:
            return 0
        busy = await s.study_queue.length() >= len(outstanding)
        latest = s.clock.now() - timedelta(seconds=LONG_OVERDUE if busy else s.settings.quiet_period)
        overdue = sorted((due, dirty.study) for dirty in outstanding if (due := due_at(dirty, s)) <= latest)
        chosen = [study for _, study in overdue[: FEW if busy else None]]
        for study in chosen:
            await s.study_queue.enqueue(study)
        if chosen:
            s.telemetry.event("study.swept", studies=len(chosen))
            s.telemetry.measure(SWEPT, len(chosen))
        return len(chosen)


async def _postpone(study: StudyRef, outage: TransientError, s: Services) -> None:
    """Note the failure on the dirty row, then send a message for later; either alone is enough to get there."""
    delay = FIRST_BACK_OFF
    for _ in range(MAX_ROUNDS):
        dirty = await s.dirty.read(study)
        if dirty is None:
            await s.dirty.mark(study, s.clock.now())
            continue
        attempts = dirty.value.attempts + 1
        delay = min(max(outage.retry_after or 0.0, FIRST_BACK_OFF * 2 ** min(attempts - 1, 8)), LONGEST_BACK_OFF)
        not_before = s.clock.now() + timedelta(seconds=delay)
        waiting = replace(dirty.value, attempts=attempts, not_before=not_before)
        if await _unless_conflict(s.dirty.postpone(waiting, dirty.etag)):
            break
    else:
        raise outage
    await s.study_queue.enqueue(study, delay)
    s.telemetry.measure(FAILURES, code=outage.code)
    s.telemetry.event("study.postponed", logging.WARNING, study=study.key, code=outage.code, seconds=round(delay, 1))


async def _flag_locator(change: Change, s: Services) -> None:
    for _ in range(MAX_ROUNDS):
        known = await s.locators.read(change.object)
        if known is None:
            fresh = Locator(object=change.object, etag=None, has_dead_letter=True)
            if await _unless_conflict(s.locators.insert(fresh)):
                return
        else:
            flagged = replace(known.value, has_dead_letter=True, settled=False)
            if await _unless_conflict(s.locators.replace(flagged, known.etag)):
                return
    raise Contention("a locator kept changing")


async def _unless_conflict(write: Awaitable[object]) -> bool:
    try:
        await write
    except StoreConflict:
        return False
    return True


async def _refuse_message(text: str, refusal: PermanentError, s: Services) -> None:
    """Keep a dead letter keyed by the digest of a message that cannot be acted on: it may hold a patient's name."""
    await s.dead_letters.put(_letter(SubjectKind.MESSAGE, message_digest(text), refusal, s))
    s.telemetry.measure(DEAD_LETTERS, code=refusal.code)
    s.telemetry.event("message.refused", logging.WARNING, message=message_digest(text), code=refusal.code)


def _letter(kind: SubjectKind, subject: str, failure: PermanentError, s: Services) -> DeadLetter:
    now = s.clock.now()
    return DeadLetter(
        kind=kind,
        subject=subject,
        code=failure.code,
        detail=failure.detail,
        hint=failure.hint,
        first_at=now,
        last_at=now,
    )


@asynccontextmanager
async def _failures_measured(s: Services) -> AsyncIterator[None]:
    try:
        yield
    except SyncError as failure:
        s.telemetry.measure(FAILURES, code=failure.code)
        raise


@asynccontextmanager
async def _ours_only() -> AsyncIterator[None]:
    """Let our own errors pass; replace any other by its type and place, for its text may hold a patient's name."""
    try:
        yield
    except SyncError:
        raise
    except Exception as defect:  # noqa: BLE001 -- its text must not reach a log, whatever it is
        place = traceback.extract_tb(defect.__traceback__)[-1]
        where = f"{type(defect).__name__} at {place.filename.rpartition('/')[2]}:{place.lineno} in {place.name}"
        raise UnexpectedFailure(where) from None
