"""
Writes dead letters: the one place for every stage.

    an object can never become an instance      `record_rejection`, part of its ingest
    an object could not be inspected            `dead_letter_object`
    a study could not be written                `dead_letter_study`, which is noted on its projection row
    a message cannot be acted on                `dead_letter_message`

There is one dead letter per subject: writing it again counts one more attempt. All functions are idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sync.errors import PermanentError, SyncError
from sync.events import message_digest
from sync.mapping.resource import study_id
from sync.model import Change, DeadLetter, Inspection, Locator, Projection, StudyRef, SubjectKind
from sync.ports import Ingest, Locate, Project, Reject
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.outbox import add_failure_event, add_rejection_event
from sync.telemetry.instruments import DEAD_LETTERS

MAX_MESSAGE_CHARACTERS = 64 * 1024
"""Characters; a longer message cannot come from a queue, and its dead letter does not keep it."""

_ROUNDS = 3
"""Maximum number of times that a dead letter is written again."""


async def record_rejection(
    inspection: Inspection, claim: Locator, before: Locator | None, s: Reject, *, clear: bool
) -> None:
    """
    Write the dead letter of an object that can never become an instance; any other result clears it.

    Parameters
    ----------
    claim, before
        The object's row as it is now, and as it was.
    clear
        Whether there may be a dead letter to clear.
    """
    key = claim.object.key
    if inspection.problem is None:
        if clear:
            await s.dead_letters.clear(SubjectKind.OBJECT, str(key))
        return
    if before is None or not (before.settled and before.has_dead_letter and before.etag == inspection.etag):
        await add_rejection_event(key, inspection.etag, inspection.problem, s)
    await _put(DeadLetter.of(SubjectKind.OBJECT, str(key), inspection.problem, s.clock.now()), s)


async def dead_letter_object(change: Change, failure: SyncError, s: Ingest) -> None:
    """
    Write the dead letter of an object that could not be ingested.

    Flags the object's locator, so that the next delivery of any event for it inspects it and clears the dead letter.
    The flag is set after the dead letter is written, so that a delivery in between cannot clear the flag and leave the
    dead letter.

    Raises
    ------
    Contention
        The locator kept changing.
    """
    key = change.object.key
    stored = await s.dead_letters.read(SubjectKind.OBJECT, str(key))
    if stored is None or stored.value.code != failure.code:
        # Before the dead letter: once it is stored, a repeat assumes that the event was published. Its id stays the
        # same.
        await add_rejection_event(key, change.etag, failure, s)
    letter = DeadLetter.of(SubjectKind.OBJECT, str(key), failure, s.clock.now())
    await _put_and_note(letter, lambda: _flag_locator(change, s), s)


async def dead_letter_study(study: StudyRef, refusal: SyncError, s: Project) -> None:
    """
    Write the dead letter of a study and its code on the projection row, so that success clears it.

    Raises
    ------
    Contention
        The projection row kept changing.
    """

    async def note_failure() -> None:
        recorded = await s.projections.read(study)
        before = recorded.value if recorded else Projection(study=study, fhir_id=study_id(study))
        noted = await add_failure_event(replace(before, error=refusal.code, finished=False), refusal, s)
        await s.projections.write(noted, recorded.etag if recorded else None)

    letter = DeadLetter.of(SubjectKind.STUDY, study.key, refusal, s.clock.now())
    await _put_and_note(letter, lambda: retry_on_conflict(note_failure, subject="a projection row"), s)


async def dead_letter_message(text: str, refusal: PermanentError, s: Reject, *, queue: str) -> None:
    """
    Write the dead letter of a message that cannot be acted on, keyed by its digest: it may hold a patient's name.

    The dead letter keeps the message itself, for a retry and for an operator who asks for it; nothing else shows it.
    """
    retryable = text if len(text) <= MAX_MESSAGE_CHARACTERS else None
    letter = DeadLetter.of(
        SubjectKind.MESSAGE, message_digest(text), refusal, s.clock.now(), message=retryable, queue=queue
    )
    await _put(letter, s)
    s.telemetry.event("message.refused", logging.WARNING, message=letter.subject, code=refusal.code)


async def _put_and_note(letter: DeadLetter, note: Callable[[], Awaitable[None]], s: Reject) -> None:
    """
    Write a dead letter, and note it on the row of its subject.

    The row is written second: its note makes the next success clear the dead letter, so a success in between cannot
    remove the note and leave the dead letter. It can remove the dead letter, though, and so can an operator. Then both
    are written once more; otherwise the row would for ever name a dead letter that does not exist, and reconciliation
    relies on the row.
    """
    await _put(letter, s)
    await note()
    for _ in range(_ROUNDS):
        if await s.dead_letters.read(letter.kind, letter.subject) is not None:
            return
        await s.dead_letters.put(letter)
        await note()


async def _put(letter: DeadLetter, s: Reject) -> None:
    # The same failure again does not count: it would raise an alert for a known dead letter.
    if await s.dead_letters.put(letter):
        s.telemetry.measure(DEAD_LETTERS, code=letter.code)


async def _flag_locator(change: Change, s: Locate) -> None:
    async def flag() -> None:
        stored = await s.locators.read(change.object)
        if stored is None:
            await s.locators.insert(Locator(object=change.object, etag=None, has_dead_letter=True))
        else:
            await s.locators.replace(replace(stored.value, has_dead_letter=True, settled=False), stored.etag)

    await retry_on_conflict(flag, subject="a locator")
