"""
How dead letters of objects and messages are written, once for whoever finds out that one is needed.

A study's letter is written where the study is projected (`sync.pipeline.park_study`), since its projection row has to
know of it; an unreadable object's where it is ingested, since it is part of what the object is.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import replace

from sync.announcing import announce_rejected
from sync.errors import Contention, PermanentError, StoreConflict, SyncError
from sync.events import message_digest
from sync.instruments import DEAD_LETTERS
from sync.model import Change, DeadLetter, Locator, SubjectKind
from sync.pipeline import MAX_ROUNDS
from sync.ports import Services

MOST_KEPT = 64 * 1024
"""Characters; a longer message cannot come from a queue, and is not kept in its letter."""


async def keep_aside(change: Change, failure: SyncError, s: Services) -> None:
    """
    Keep a dead letter of an object that could not be ingested. Safe to repeat.

    Its locator is flagged, so that the next delivery of any event for it looks at it and clears the dead letter; after
    the dead letter, so that a delivery in between cannot take the flag and leave the letter.
    """
    key = change.object.key
    known = await s.dead_letters.read(SubjectKind.OBJECT, str(key))
    if known is None or known.value.code != failure.code:
        await announce_rejected(key, change.etag, failure, s)
    await s.dead_letters.put(DeadLetter.of(SubjectKind.OBJECT, str(key), failure, s.clock.now()))
    s.telemetry.measure(DEAD_LETTERS, code=failure.code)
    await _flag_locator(change, s)


async def refuse_message(text: str, refusal: PermanentError, s: Services, *, queue: str) -> None:
    """
    Keep a dead letter of a message that cannot be acted on, keyed by its digest: it may hold a patient's name.

    The message itself is kept in the letter, for a retry and for the operator who asks; nothing else ever shows it.
    """
    kept = text if len(text) <= MOST_KEPT else None
    letter = DeadLetter.of(SubjectKind.MESSAGE, message_digest(text), refusal, s.clock.now(), message=kept, queue=queue)
    await s.dead_letters.put(letter)
    s.telemetry.measure(DEAD_LETTERS, code=refusal.code)
    s.telemetry.event("message.refused", logging.WARNING, message=letter.subject, code=refusal.code)


async def _flag_locator(change: Change, s: Services) -> None:
    for _ in range(MAX_ROUNDS):
        known = await s.locators.read(change.object)
        if known is None:
            fresh = Locator(object=change.object, etag=None, has_dead_letter=True)
            if await unless_conflict(s.locators.insert(fresh)):
                return
        else:
            flagged = replace(known.value, has_dead_letter=True, settled=False)
            if await unless_conflict(s.locators.replace(flagged, known.etag)):
                return
    raise Contention("a locator kept changing")


async def unless_conflict(write: Awaitable[object]) -> bool:
    """Make the write; False when somebody else wrote in between."""
    try:
        await write
    except StoreConflict:
        return False
    return True
