"""
Distinguishes deliveries that died with their process from failed ones, and handles them one at a time.

    a first delivery                              ->  handled at once, beside all others
    a later one, or one that the sweep sent       ->  recorded as begun, waits for its turn, is handled
        it ends                                   ->  the row is deleted, or counts a failure
        its process dies                          ->  the row still says "begun" at the next delivery: a death
    its process died twice during its turn        ->  dead letter poison.crash
    a poison message whose row counts no failure  ->  other deliveries killed the process: sent again

A worker that dies fails everything it had in flight, up to 128 messages a queue, and the host counts that as a delivery
of each. One file that kills the process would thus turn innocent messages into poison messages. Redelivered messages
therefore take turns: a process handles one of them at a time, so if it dies then, that message is very likely the
cause. First deliveries cost nothing extra.

Source: Azure Functions host, RpcFunctionInvocationDispatcher (a worker that exits fails all its invocations).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from sync.delivery import handlers
from sync.delivery.watchdog import within_budget
from sync.errors import PermanentError, StoreUnavailable, SyncError
from sync.events import (
    Sources,
    is_lost_message,
    is_redelivered_message,
    lost_message,
    parse_message,
    parse_study_message,
)
from sync.model import Change, Cursor, Stored, digest
from sync.model.timestamps import Timestamp
from sync.ports import Core, Deliver, Jobs
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.row_values import RowValue
from sync.telemetry.defects import only_sync_errors

PREFIX = "attempt "
"""Prefix of the names of these rows in table ``cursors``; a hash follows."""

DEATHS = 2
"""Number of process deaths during a message's turn after which the message is dead-lettered."""

RETURNS = 3
"""Maximum number of times that a poison message is sent again because its row counts no failure."""

TURN = 20.0
"""Seconds that a delivery waits for its turn; then it is handled beside the others, and no death counts against it."""

LAST = 5.0
"""Seconds that a delivery lets others go first after a process died with it: most of them finish meanwhile."""

MARGIN = 60.0
"""Seconds past the budget of a delivery after which it can no longer be running."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """
    The record of the deliveries of one object's or study's messages.

    ``begun`` maps the message id of each attempt that has not ended to its start, and whether it had its turn.
    """

    begun: Mapping[str, tuple[Timestamp, bool]] = field(default_factory=dict)
    deaths: int = 0
    failures: int = 0
    returns: int = 0

    @classmethod
    def of(cls, stored: Stored[Cursor] | None) -> Attempts:
        """Return the record in a row; an empty one without a row, or if its form is unknown."""
        return ATTEMPTS.read_or(cls(), stored.value.position, row=stored.value.name) if stored is not None else cls()


ATTEMPTS: RowValue[Attempts] = RowValue(Attempts)


async def deliver_object_message(
    text: str, sources: Sources, s: Deliver, *, attempt: int, message_id: str
) -> Sequence[int | None]:
    """
    Handle one message of the queue ``objects`` within the budget of a delivery. Idempotent.

    Parameters
    ----------
    attempt
        1 on first delivery.
    message_id
        The queue's id of the message; the same in each of its deliveries.

    Returns
    -------
    list
        As `sync.delivery.handlers.handle_object_message`.

    Raises
    ------
    TransientError
        Deliver it again.
    """

    async def handle() -> Sequence[int | None]:
        return await within_budget(handlers.handle_object_message(text, sources, s, attempt=attempt), s)

    async def bury() -> None:
        await handlers.handle_poison_object(text, sources, s, code="poison.crash")

    if attempt == 1 and not is_lost_message(text):
        return await handle()
    return await _in_turn(_object_name(text, sources), handle, bury, s, message_id=message_id) or ()


async def deliver_study_message(text: str, s: Deliver, *, attempt: int, message_id: str) -> None:
    """
    Handle one message of the queue ``studies`` within the budget of a delivery. Idempotent.

    Raises
    ------
    TransientError
        Deliver it again.
    """

    async def handle() -> None:
        await within_budget(handlers.handle_study_message(text, s, attempt=attempt), s)

    async def bury() -> None:
        await handlers.handle_poison_study(text, s, code="poison.crash")

    if attempt == 1 and not is_redelivered_message(text):
        await handle()
    else:
        await _in_turn(_study_name(text), handle, bury, s, message_id=message_id)


async def _in_turn(
    name: str, handle: Callable[[], Awaitable[T]], bury: Callable[[], Awaitable[None]], s: Deliver, *, message_id: str
) -> T | None:
    # Recorded while it waits, too: a delivery that dies then is known as lost, and no death counts against it.
    row = await _begin(name, s, message_id=message_id, in_turn=False)
    if row.deaths:
        await asyncio.sleep(LAST)
    async with _turn(s) as is_alone:
        if is_alone:
            row = await _begin(name, s, message_id=message_id, in_turn=True)
        if row.deaths >= DEATHS:
            await bury()
            await _forget(name, s)
            return None
        try:
            result = await handle()
        except StoreUnavailable:
            await _end(name, s, message_id=message_id)  # an outage is no failure of the message
            raise
        except SyncError:
            await _end(name, s, message_id=message_id, failures=1)
            raise
        await _forget(name, s)
        return result


@asynccontextmanager
async def _turn(s: Core) -> AsyncIterator[bool]:
    """Wait for the turn for a limited time; return whether it came."""
    try:
        async with asyncio.timeout(TURN):
            await s.caches.turn.acquire()
    except TimeoutError:
        yield False
        return
    try:
        yield True
    finally:
        s.caches.turn.release()


async def _begin(name: str, s: Deliver, *, message_id: str, in_turn: bool) -> Attempts:
    """Record that an attempt begins, and count attempts that can no longer end as deaths."""

    async def note() -> Attempts:
        stored = await s.cursors.read(name)
        before, now = Attempts.of(stored), s.clock.now()
        # A message is redelivered only after its delivery has ended; another message's delivery may still be running.
        ended = {message for message, (at, _) in before.begun.items() if message == message_id or _is_over(at, now, s)}
        deaths = before.deaths + sum(before.begun[message][1] for message in ended)
        going_on = {message: attempt for message, attempt in before.begun.items() if message not in ended}
        row = replace(before, deaths=deaths, begun={**going_on, message_id: (now, in_turn)})
        await s.cursors.write(_cursor(name, row, s), stored.etag if stored is not None else None)
        return row

    async with only_sync_errors():
        return await retry_on_conflict(note, subject="an attempt")


def _is_over(began: datetime, now: datetime, s: Core) -> bool:
    return now - began > timedelta(seconds=s.settings.delivery_budget_seconds + MARGIN)


async def _end(name: str, s: Deliver, *, message_id: str, failures: int = 0) -> None:
    """Record that the attempt ended, if storage answers: an end that is not recorded counts as a death."""

    async def note() -> None:
        stored = await s.cursors.read(name)
        before = Attempts.of(stored)
        begun = {message: attempt for message, attempt in before.begun.items() if message != message_id}
        row = replace(before, begun=begun, failures=before.failures + failures)
        if stored is not None:
            await s.cursors.write(_cursor(name, row, s), stored.etag)

    with suppress(SyncError):
        async with only_sync_errors():
            await retry_on_conflict(note, subject="an attempt")


async def _forget(name: str, s: Jobs) -> None:
    async with only_sync_errors():
        await s.cursors.delete(name)


def _cursor(name: str, row: Attempts, s: Core) -> Cursor:
    return Cursor(name=name, position=ATTEMPTS.write(row), advanced_at=s.clock.now())


# Poison messages.


async def deliver_poison_object(text: str, sources: Sources, s: Deliver) -> None:
    """
    Send a poison message of ``objects`` again if its deliveries only died, else write its dead letters.

    Idempotent: a message that is sent twice has its objects inspected twice.

    Raises
    ------
    TransientError
        Storage did not answer; deliver again.
    """
    name = _object_name(text, sources)
    row = await _lost(name, s)
    if row is None:
        await within_budget(handlers.handle_poison_object(text, sources, s), s)
        await _forget(name, s)
        return
    async with only_sync_errors():
        for change in parse_message(text, sources):
            if isinstance(change, PermanentError):
                await handlers.handle_poison_object(text, sources, s)
                return
            await s.object_queue.send(lost_message(change))
    await _returned(name, s)


async def deliver_poison_study(text: str, s: Deliver) -> None:
    """
    Send a poison message of ``studies`` again if its deliveries only died, else write its dead letter.

    Idempotent.

    Raises
    ------
    TransientError
        Storage did not answer; deliver again.
    """
    name = _study_name(text)
    row = await _lost(name, s)
    try:
        study = parse_study_message(text).study
    except PermanentError:
        row = None
    if row is None:
        await within_budget(handlers.handle_poison_study(text, s), s)
        await _forget(name, s)
        return
    async with only_sync_errors():
        await s.study_queue.enqueue(study, redelivered=True)
    await _returned(name, s)


async def _lost(name: str, s: Jobs) -> Attempts | None:
    """Return the record of a message whose deliveries all died with their process; None if one failed."""
    async with only_sync_errors():
        stored = await s.cursors.read(name)
    row = Attempts.of(stored)
    return row if stored is not None and row.failures == 0 and row.returns < RETURNS else None


async def _returned(name: str, s: Deliver) -> None:
    """Count that it was sent again. After sending: if this write is lost, the message is sent once too often."""

    async def note() -> int:
        stored = await s.cursors.read(name)
        row = Attempts.of(stored)
        # The attempt that began with this poison message has ended: its process died.
        deaths = row.deaths + sum(in_turn for _, in_turn in row.begun.values())
        row = replace(row, begun={}, deaths=deaths, returns=row.returns + 1)
        await s.cursors.write(_cursor(name, row, s), stored.etag if stored is not None else None)
        return row.returns

    async with only_sync_errors():
        returns = await retry_on_conflict(note, subject="an attempt")
    s.telemetry.event("message.returned", logging.WARNING, returns=returns)


# Names of rows.


def _object_name(text: str, sources: Sources) -> str:
    """Return the row's name for all messages of the same objects, ours and those of Event Grid."""
    keys = [str(change.object.key) if isinstance(change, Change) else text for change in parse_message(text, sources)]
    return PREFIX + digest("objects", *keys)


def _study_name(text: str) -> str:
    try:
        return PREFIX + digest("studies", parse_study_message(text).study.key)
    except PermanentError:
        return PREFIX + digest("studies", text)
