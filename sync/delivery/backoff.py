"""
Postpones work during an outage, so that its messages do not become poison.

    FHIR does not answer            the study's dirty row counts the attempt; a message is sent with a delay
    the object store does not       a delayed message of ours replaces the event
    an operator paused projection   the message is dropped, the dirty row stays

The delays grow. Work that an outage delays for longer than ``DICOM_SYNC_DEAD_LETTER_AFTER_SECONDS`` also becomes a dead
letter, so that operators see it: an outage of hours, or one study to which FHIR always answers 500. It is still retried
every ten minutes, and the first success clears the dead letter.
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
"""Seconds before work that met an outage is retried; doubles each time."""

LONGEST_BACK_OFF = 60.0
"""Seconds: the longest delay of a study once the FHIR service is back."""

LONGEST_OBJECT_BACK_OFF = 300.0
"""Seconds: the longest delay of an object once its store is back."""

SLOW = 600.0
"""Seconds between two attempts of work that has exhausted dead_letter_after_seconds."""


async def postpone(study: StudyRef, outage: TransientError, s: Project) -> None:
    """
    Note the failure on the dirty row, then send a delayed message; either alone ensures the next attempt.

    Idempotent: a repeat only makes the study wait longer.

    Raises
    ------
    TransientError
        Storage does not answer either, or the row kept changing; deliver the message again.
    """

    async def note_failure() -> float:
        dirty, _ = await read_dirty_study(study, s)
        attempts = dirty.value.attempts + 1
        since = dirty.value.failing_since or s.clock.now()
        out_of_patience = _is_out_of_patience(since, s)
        if out_of_patience:
            # Before the row is postponed: if the row's write fails, the redelivery writes the same dead letter again.
            await dead_letter_study(study, outage, s)
        delay = _delay(attempts, outage, longest=SLOW if out_of_patience else LONGEST_BACK_OFF)
        not_before = s.clock.now() + timedelta(seconds=delay)
        waiting = replace(
            dirty.value, attempts=attempts, not_before=not_before, failing_since=since, failure=outage.code
        )
        await s.dirty.postpone(waiting, dirty.etag)
        return delay

    # The row first: otherwise a message that arrives too early would trust what a failed attempt left.
    delay = await retry_on_conflict(note_failure, subject="a dirty row")
    s.telemetry.measure(FAILURES, code=outage.code)  # before sending: a queue that refuses must not hide the outage
    await s.study_queue.enqueue(study, delay)
    s.telemetry.event("study.postponed", logging.WARNING, study=study.key, code=outage.code, seconds=round(delay, 1))


async def release_while_paused(study: StudyRef, s: MarkDirty, *, attempt: int) -> None:
    """
    Drop a message while projection is paused: the sweeper wakes the study afterwards. Idempotent.

    An earlier delivery may have died after it wrote. The dropped message was the only sign of that, so the dirty row
    notes it.
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
    Send a delayed message that replaces this one and has the object inspected without shortcuts.

    Exactly one message is sent, and it is sent last: otherwise messages would multiply as long as the outage lasts. A
    repeat of this call sends another one, but a delivery that is repeated has not sent its own.

    Raises
    ------
    TransientError
        The queue does not answer either; deliver this message again.
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
    """Write the dead letter if storage answers; otherwise the next attempt writes it."""
    try:
        await dead_letter_object(change, outage, s)
    except TransientError as failure:
        s.telemetry.event("object.not_shown", logging.WARNING, object=str(change.object.key), code=failure.code)


def due_for_rescue(studies: Sequence[StudyRef], s: Core, *, first: float, longest: float) -> list[StudyRef]:
    """
    Return the studies that may be enqueued although another delivery holds their message, and note them as enqueued.

    A study may be enqueued again after ``first`` seconds, and after twice as long each further time: the message's
    holder may be alive and waiting for a service that hangs. A process starts without any such record.
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
    Return the seconds to wait: doubling, or the time that the service requested if longer, up to ``longest``.

    >>> [_delay(n, TransientError(), longest=60.0) for n in range(1, 6)]
    [5.0, 10.0, 20.0, 40.0, 60.0]
    """
    return min(max(outage.retry_after or 0.0, FIRST_BACK_OFF * float(2 ** min(attempts - 1, 8))), longest)
