"""
Records the deletions that a process has begun, so that those of a killed host are repeated within a minute.

    a delete event  ->  the row of this process names its object  ->  ingested  ->  the name is removed from the row
    a row unchanged for half a minute  ->  a message for each object that it names  ->  the row is deleted

A host that is killed leaves its messages leased for ten minutes. An upload among them is found in the source's listing
(`sync.delivery.lost_messages`). A deleted object is in no listing, so its deletion is recorded before anything else is
done. An object that the sync itself asks to inspect again is recorded too, because it may no longer exist. All
deletions in progress in a process share one row and, in a burst, its writes.

A row name is used until no deletion is in progress, and never again. Once another process has emptied the row, its
owner's next write conflicts and the owner continues under a new name, so an emptied row may be deleted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

from sync.errors import StoreConflict, StoreUnavailable, UnreadableRow
from sync.events import hint_message, lost_message
from sync.model import Action, Change, Cursor, ObjectKey
from sync.ports import Deliver, Jobs, Locate
from sync.protocol.optimistic import unless_conflict
from sync.protocol.row_values import RowValue
from sync.telemetry.defects import only_sync_errors
from sync.telemetry.instruments import FAILURES

PREFIX = "deletions-in-hand "
"""Prefix of the names of these rows in table ``cursors``."""

HELD_FOR = timedelta(seconds=30)
"""Age from which a row's process is presumed dead; a slower deletion of a live process is repeated."""

MOST = 400
"""Maximum deletions in a row; more wait for the lease of their message. A process has at most 128 messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """The content of a row: keys of objects, and messages; both empty once it was emptied."""

    deletions: tuple[str, ...] = ()


_NAMED: RowValue[_Named] = RowValue(_Named)


@asynccontextmanager
async def in_hand(changes: Sequence[Change], s: Deliver) -> AsyncIterator[None]:
    """
    Keep the deletions among a message's changes in the row for the length of the block.

    Raises
    ------
    StoreUnavailable
        The row could not be written, so nothing was begun; deliver the message again.
    """
    noted = [text for change in changes if (text := _noted(change))]
    if not noted:
        yield
        return
    held = s.caches.deletions
    try:
        for text in noted:
            held.add(text)
        # Written before the block begins: from here on a crash leaves them to the sweep.
        await _write(s)
        yield
    finally:
        for text in noted:
            held.remove(text)
    if not held.counts:
        await _write(s)


def _noted(change: Change) -> str | None:
    """Return the text that stands for a change in the row; None for an object that a listing shows."""
    if change.action is Action.FOLDER_REMOVED:
        return hint_message(change)
    return str(change.object.key) if change.action is Action.DELETED or change.again else None


async def _write(s: Deliver) -> None:
    """
    Write the deletions in progress to the row.

    One write at a time: a call that waits finds that the next write has included its deletions, or failed.
    """
    held = s.caches.deletions
    mine = held.version
    async with only_sync_errors(), held.lock:
        if held.written >= mine:
            return
        if held.failure is not None and held.failed >= mine:
            raise held.failure  # callers that wait for the same outage must not wait for it one after another
        version, texts = held.version, sorted(held.counts)[:MOST]
        try:
            await _name(texts, s)
        except StoreUnavailable as outage:
            held.failed, held.failure = version, outage
            raise
        held.written, held.failure = version, None


async def _name(texts: Sequence[str], s: Deliver) -> None:
    held = s.caches.deletions
    if texts:
        await _replace(texts, s)
    elif held.name:
        await s.cursors.delete(held.name)
        held.name, held.etag = "", None


async def _replace(texts: Sequence[str], s: Jobs) -> None:
    held = s.caches.deletions
    held.name = held.name or PREFIX + uuid4().hex
    row = Cursor(name=held.name, position=_NAMED.write(_Named(deletions=tuple(texts))), advanced_at=s.clock.now())
    try:
        held.etag = await s.cursors.write(row, held.etag)
    except StoreConflict:
        # Another process presumed us dead and emptied the row, or a write's answer was lost: never use the same name
        # again.
        held.name = PREFIX + uuid4().hex
        held.etag = await s.cursors.write(replace(row, name=held.name), None)


async def enqueue_lost_deletions(s: Deliver) -> int:
    """
    Send a message for each deletion that a killed process had begun. Idempotent: each only has an object inspected.

    Returns
    -------
    int
        Number of messages sent.

    Raises
    ------
    StoreUnavailable
        Storage did not answer; rows that were not reached are unchanged.
    """
    latest, sent = s.clock.now() - HELD_FOR, 0
    async for cursor in s.cursors.all():
        if cursor.name.startswith(PREFIX) and (cursor.advanced_at is None or cursor.advanced_at <= latest):
            try:
                sent += await _send_again(cursor.name, s)
            except UnreadableRow as refusal:  # it may name deletions, so it stays; the other rows are still processed
                s.telemetry.measure(FAILURES, code=refusal.code)
                s.telemetry.event(
                    "object.deletions_unreadable", logging.ERROR, code=refusal.code, detail=refusal.detail
                )
    if sent:
        s.telemetry.event("object.deletions_swept", objects=sent)
    return sent


async def _send_again(name: str, s: Deliver) -> int:
    stored = await s.cursors.read(name)
    if stored is None:
        return 0
    named = _NAMED.read(stored.value.position, row=name).deletions
    messages = [message for text in named if (message := await _message(text, s))]
    # The messages before the row: after a crash in between they are sent twice; the other order would lose them.
    for message in messages:
        await s.object_queue.send(message)
    # Emptied under its ETag: a live owner's newer deletions are kept, and it never writes this name again.
    if await unless_conflict(s.cursors.write(replace(stored.value, position={}), stored.etag)):
        await s.cursors.delete(name)
    return len(messages)


async def _message(text: str, s: Locate) -> str | None:
    """Return the message for an entry of a row; None when the object has no row, so nothing of it is left to remove."""
    if text.startswith("{"):
        return text
    located = await s.locators.find(ObjectKey.parse(text))
    if located is None:
        return None
    return lost_message(Change(object=located.value.object, action=Action.DELETED))
