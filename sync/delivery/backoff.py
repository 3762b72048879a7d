"""
Postpones work during an outage, so that its messages do not become poison.

    FHIR does not answer            the study's dirty row counts the attempt; a message comes later
    the object store does not       a message of ours takes the event's place; it comes later
    an operator paused projection   the message goes, the dirty row stays

The delays grow. Work that an outage delays for longer than ``DICOM_SYNC_DEAD_LETTER_AFTER_SECONDS`` becomes a dead
letter too, so that operators see it: an outage of hours, or one study to which FHIR always answers 500. It is still
tried every ten minutes, and the first success clears the dead letter.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sync.errors import TransientError
from sync.events import object_message
from sync.model import Change, StudyRef
from sync.ports import Core, Deliver, Ingest, MarkDirty, Project
from sync.protocol.dead_letters import dead_letter_object, dead_letter_study
from sync.protocol.dirty_studies import read_dirty_study
from sync.protocol.optimistic import retry_on_conflict
from sync.telemetry.instruments import FAILURES

FIRST_BACK_OFF = 5.0
"""Seconds before what met an outage is tried again; doubles each time."""

LONGEST_BACK_OFF = 60.0
"""Seconds: so long at most does a study stay behind once the FHIR service is back."""

LONGEST_OBJECT_BACK_OFF = 300.0
"""Seconds: the same of an object once its store is back."""

SLOW = 600.0
"""Seconds between two tries of what has exhausted dead_letter_after_seconds."""


async def postpone(study: StudyRef, outage: TransientError, s: Project) -> None:
    """
    Note the failure on the dirty row, then send a message for later; either alone is enough to get there.

    Idempotent: the study waits longer.

    Raises
    ------
    TransientError
        Storage does not answer either, or the row kept changing; deliver again.
    """

    async def note_failure() -> float:
        dirty, _ = await read_dirty_study(study, s)
        attempts = dirty.value.attempts + 1
        since = dirty.value.failing_since or s.clock.now()
        out_of_patience = _is_out_of_patience(since, s)
        if out_of_patience:
            # Before the row is postponed: should its write fail, the redelivery writes the same letter again.
            await dead_letter_study(study, outage, s)
        delay = _delay(attempts, outage, longest=SLOW if out_of_patience else LONGEST_BACK_OFF)
        not_before = s.clock.now() + timedelta(seconds=delay)
        waiting = replace(
            dirty.value, attempts=attempts, not_before=not_before, failing_since=since, failure=outage.code
        )
        await s.dirty.postpone(waiting, dirty.etag)
        return delay

    # The row first: without it a message that comes too early would trust what a failed attempt left.
    delay = await retry_on_conflict(note_failure, subject="a dirty row")
    s.telemetry.measure(FAILURES, code=outage.code)  # before sending: a queue that refuses must not hide the outage
    await s.study_queue.enqueue(study, delay)
    s.telemetry.event("study.postponed", logging.WARNING, study=study.key, code=outage.code, seconds=round(delay, 1))


async def release_while_paused(study: StudyRef, s: MarkDirty, *, attempt: int) -> None:
    """
    Let a message go while projection is paused: the sweeper wakes the study afterwards. Idempotent.

    That an earlier delivery may have died after it wrote is noted on the dirty row, because the message takes it along.
    """
    s.telemetry.event("study.held_back", study=study.key)
    if attempt == 1:
        return

    async def count_attempt() -> None:
        dirty, _ = await read_dirty_study(study, s)
        await s.dirty.postpone(replace(dirty.value, attempts=dirty.value.attempts + 1), dirty.etag)

    await retry_on_conflict(count_attempt, subject="a dirty row")


async def postpone_object(change: Change, outage: TransientError, s: Deliver) -> None:
    """
    Have an object inspected later, trusting nothing, by a message that takes the place of this one.

    Exactly one message is sent, and it is sent last: otherwise messages would multiply for as long as the outage lasts.
    So a repeat of this call sends another one; who is delivered again has not sent it.

    Raises
    ------
    TransientError
        The queue does not answer either; deliver this one again.
    """
    since = change.failing_since or s.clock.now()
    out_of_patience = _is_out_of_patience(since, s)
    if out_of_patience:
        await _show(change, outage, s)
    delay = _delay(change.postponements + 1, outage, longest=SLOW if out_of_patience else LONGEST_OBJECT_BACK_OFF)
    s.telemetry.measure(FAILURES, code=outage.code)  # before sending: a queue that refuses must not hide the outage
    await s.object_queue.send(
        object_message(change.object, postponements=change.postponements + 1, failing_since=since), delay
    )
    key = str(change.object.key)
    s.telemetry.event("object.postponed", logging.WARNING, object=key, code=outage.code, seconds=round(delay, 1))


async def _show(change: Change, outage: TransientError, s: Ingest) -> None:
    """Write the dead letter if the state can be written; if not, the next try will."""
    try:
        await dead_letter_object(change, outage, s)
    except TransientError as failure:
        s.telemetry.event("object.not_shown", logging.WARNING, object=str(change.object.key), code=failure.code)


def due_for_rescue(studies: Sequence[StudyRef], s: Core, *, first: float, longest: float) -> list[StudyRef]:
    """
    Return the studies that may be enqueued beside a message that another delivery holds, and note that they are.

    Each may be again ``first`` seconds later, and every further time after twice as long: the holder of the message may
    live and wait for a service that hangs. A process that starts knows of none.
    """
    known = {study: s.caches.rescues[study] for study in studies if study in s.caches.rescues}
    due = [study for study in studies if study not in known or known[study][0] <= s.clock.now()]
    for study in due:
        wait = min(2 * known[study][1], longest) if study in known else first
        known[study] = s.clock.now() + timedelta(seconds=wait), wait
    s.caches.rescues.clear()
    s.caches.rescues.update(known)
    return due


def _is_out_of_patience(since: datetime, s: Core) -> bool:
    return (s.clock.now() - since).total_seconds() >= s.settings.dead_letter_after_seconds


def _delay(attempts: int, outage: TransientError, *, longest: float) -> float:
    """
    Seconds to wait: doubling, or what the service asked for if that is longer, up to the longest.

    >>> [_delay(n, TransientError(), longest=60.0) for n in range(1, 6)]
    [5.0, 10.0, 20.0, 40.0, 60.0]
    """
    return min(max(outage.retry_after or 0.0, FIRST_BACK_OFF * float(2 ** min(attempts - 1, 8))), longest)
