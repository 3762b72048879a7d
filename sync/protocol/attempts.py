"""
Counts, for the messages of one object or study, the deliveries that began, failed, or died with their process.

`sync.delivery.isolation` calls this for each delivery after the first. The counts are one row of table ``cursors``,
because a process that dies can write nothing: a delivery is recorded before it begins, and is known to have died when
the same message comes again and the record still says that it began.

The row outlives the dead letter ``poison.crash``. What a dead process had in hand is sent again
(`sync.delivery.deletions`), and its own message comes back too, so each death leaves a copy. If the row were deleted
with the dead letter, each copy would count from zero, cause two more deaths, and the process would die for ever.

Source: Azure Functions host, RpcFunctionInvocationDispatcher (a worker that exits fails all its invocations).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sync.errors import PermanentError, SyncError
from sync.events import Sources, parse_message, parse_study_message
from sync.model import Action, Change, Cursor, ObjectRef, Stored, StudyRef, SubjectKind, digest
from sync.model.timestamps import Timestamp
from sync.ports import Core, Jobs, Reject, Removing
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.row_values import RowValue
from sync.telemetry.defects import only_sync_errors

PREFIX = "attempt "
"""Prefix of the names of these rows in table ``cursors``; a hash follows."""

DEATHS = 2
"""Number of process deaths during a message's turn after which the message is dead-lettered."""

KEPT = timedelta(hours=1)
"""How long the row of a message is kept after its dead letter or the last of its copies; a lease lasts ten minutes."""

KEPT_AGAIN = timedelta(minutes=5)
"""How old a row is before a change that is passed over because of it is written there again."""

CRASH_CODE = "poison.crash"
"""Code of the dead letter of a message that ends its process."""

CRASH_HINT = "The process ended each time it handled this. See the worker's exit in the host's log, then retry."

RETURNS = 3
"""Maximum number of times that a poison message is sent again because its row counts no failure."""

MARGIN = 60.0
"""Seconds past the budget of a delivery after which it can no longer be running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptsRow:
    """What a row counts for: its name, and the subjects of the dead letters that its messages would have."""

    name: str
    subjects: Sequence[tuple[SubjectKind, str]] = ()

    @classmethod
    def of_object(cls, ref: ObjectRef) -> AttemptsRow:
        """Return the row for the messages of one object."""
        key = str(ref.key)
        return cls(name=PREFIX + digest("objects", key), subjects=((SubjectKind.OBJECT, key),))

    @classmethod
    def of_objects_message(cls, text: str, sources: Sources) -> AttemptsRow:
        """Return the row for all messages of the same objects, ours and those of Event Grid."""
        changes = parse_message(text, sources)
        keys = [str(change.object.key) if isinstance(change, Change) else text for change in changes]
        objects = [
            (SubjectKind.OBJECT, str(change.object.key))
            for change in changes
            if isinstance(change, Change) and change.action is not Action.FOLDER_REMOVED
        ]
        return cls(name=PREFIX + digest("objects", *keys), subjects=objects)

    @classmethod
    def of_change(cls, change: Change) -> AttemptsRow:
        """Return the row for a change that a feed or a listing names; a later change of its object has another."""
        key = str(change.object.key)
        which = (change.action.value, str(change.sequence), str(change.etag))
        return cls(name=PREFIX + digest("changes", key, *which), subjects=((SubjectKind.OBJECT, key),))

    @classmethod
    def of_study(cls, study: StudyRef) -> AttemptsRow:
        """Return the row for the messages of one study."""
        return cls(name=PREFIX + digest("studies", study.key), subjects=((SubjectKind.STUDY, study.key),))

    @classmethod
    def of_study_message(cls, text: str) -> AttemptsRow:
        """Return the row for all messages of a study; that of the text itself if it names none."""
        try:
            return cls.of_study(parse_study_message(text).study)
        except PermanentError:
            return cls(name=PREFIX + digest("studies", text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """
    The record of the deliveries of one object's or study's messages.

    ``begun`` maps the message id of each attempt that has not ended to its start, and whether it had its turn.
    ``buried`` is the time of the dead letter ``poison.crash``; while that stands, copies are not handled.
    """

    begun: Mapping[str, tuple[Timestamp, bool]] = field(default_factory=dict)
    deaths: int = 0
    failures: int = 0
    returns: int = 0
    buried: Timestamp | None = None

    @classmethod
    def of(cls, stored: Stored[Cursor] | None) -> Attempts:
        """Return the record in a row; an empty one without a row, or if its form is unknown."""
        return ATTEMPTS.read_or(cls(), stored.value.position, row=stored.value.name) if stored is not None else cls()


ATTEMPTS: RowValue[Attempts] = RowValue(Attempts)


async def begin_attempt(where: AttemptsRow, s: Removing, *, message_id: str, in_turn: bool) -> Attempts:
    """Record that an attempt begins, and count attempts that can no longer end as deaths."""
    # This process lives, so it has not died of an attempt that it began: storage did not record the end.
    mine = s.caches.attempts.setdefault(where.name, set())

    async def note() -> Attempts:
        stored = await s.cursors.read(where.name)
        now = s.clock.now()
        before = await _still_valid(Attempts.of(stored), where, s)
        # A message is redelivered only after its delivery has ended; another message's delivery may still be running.
        ended = {message for message, (at, _) in before.begun.items() if message == message_id or _is_over(at, now, s)}
        deaths = before.deaths + sum(before.begun[message][1] for message in ended - mine)
        going_on = {message: attempt for message, attempt in before.begun.items() if message not in ended}
        row = replace(before, deaths=deaths, begun={**going_on, message_id: (now, in_turn)})
        await s.cursors.write(_cursor(where.name, row, s), stored.etag if stored is not None else None)
        return row

    async with only_sync_errors():
        row = await retry_on_conflict(note, subject="an attempt")
    mine.add(message_id)
    return row


async def _still_valid(row: Attempts, where: AttemptsRow, s: Reject) -> Attempts:
    """Return the record; an empty one if its dead letter was cleared by a success or discarded, or is long past."""
    if row.buried is None:
        return row
    return Attempts() if _is_expired(row, s) or not await _has_letter(where, s) else row


async def _has_letter(where: AttemptsRow, s: Reject) -> bool:
    letters = [await s.dead_letters.read(kind, subject) for kind, subject in where.subjects]
    return not letters or any(letter is not None and letter.value.code == CRASH_CODE for letter in letters)


def _is_expired(row: Attempts, s: Core) -> bool:
    return row.buried is not None and s.clock.now() - row.buried >= KEPT


def _is_over(began: datetime, now: datetime, s: Core) -> bool:
    return now - began > timedelta(seconds=s.settings.delivery_budget_seconds + MARGIN)


async def end_attempt(where: AttemptsRow, s: Removing, *, message_id: str, failures: int = 0) -> None:
    """Record that the attempt ended, if storage answers: an end that is not recorded counts as a death."""

    async def note() -> None:
        stored = await s.cursors.read(where.name)
        before = Attempts.of(stored)
        begun = {message: attempt for message, attempt in before.begun.items() if message != message_id}
        row = replace(before, begun=begun, failures=before.failures + failures)
        if stored is not None:
            await s.cursors.write(_cursor(where.name, row, s), stored.etag)

    with suppress(SyncError):
        async with only_sync_errors():
            await retry_on_conflict(note, subject="an attempt")


async def count_return(where: AttemptsRow, s: Removing) -> Attempts | None:
    """
    Count that a message is sent again whose deliveries all died with their process; None if it is not to be sent.

    Counted before it is sent. A poison delivery that dies in between comes back and is counted again; the other order
    would send another copy at each death.
    """

    async def note() -> Attempts | None:
        stored = await s.cursors.read(where.name)
        row = await _still_valid(Attempts.of(stored), where, s)
        if stored is None or row.failures or row.returns >= RETURNS:
            return None
        # The attempt that began with this poison message has ended: its process died.
        deaths = row.deaths + sum(in_turn for _, in_turn in row.begun.values())
        row = replace(row, begun={}, deaths=deaths, returns=row.returns + 1)
        await s.cursors.write(_cursor(where.name, row, s), stored.etag)
        return row

    async with only_sync_errors():
        row = await retry_on_conflict(note, subject="an attempt")
    if row is not None and row.deaths < DEATHS:
        s.telemetry.event("message.returned", logging.WARNING, returns=row.returns)
    return row


async def unless_deadly(
    where: AttemptsRow,
    s: Removing,
    *,
    message_id: str,
    work: Callable[[], Awaitable[None]],
    bury: Callable[[PermanentError], Awaitable[None]],
) -> bool:
    """
    Do work that may end its process: recorded before it begins, and buried instead once the process died of it twice.

    Only one at a time in a process, else a death counts against all of them.

    Parameters
    ----------
    message_id
        The same for each repeat of the work.
    bury
        Writes the dead letter; not called again while that stands.

    Returns
    -------
    bool
        Whether the work was done.
    """
    row = await begin_attempt(where, s, message_id=message_id, in_turn=True)
    if row.deaths >= DEATHS:
        if not row.buried:
            await bury(PermanentError("its process ended each time", code=CRASH_CODE, hint=CRASH_HINT))
        await keep_count(where, s)
        return False
    try:
        await work()
    except BaseException:  # also if it is cancelled: it has ended, and its process lives
        await end_attempt(where, s, message_id=message_id)
        raise
    await forget_count(where, s)
    return True


async def keep_if_buried(where: AttemptsRow, s: Removing) -> bool:
    """
    Return whether the messages have their dead letter ``poison.crash``, which still stands; if so, keep their row.

    A feed calls it at each read of an entry, so the row is written only once `KEPT_AGAIN` has passed.
    """
    async with only_sync_errors():
        stored = await s.cursors.read(where.name)
        buried = (await _still_valid(Attempts.of(stored), where, s)).buried
    if buried is not None and s.clock.now() - buried >= KEPT_AGAIN:
        await keep_count(where, s)
    return buried is not None


async def keep_count(where: AttemptsRow, s: Removing) -> None:
    """Keep the row of a message that has its dead letter, so that no copy of it kills another process."""

    async def note() -> None:
        stored = await s.cursors.read(where.name)
        row = Attempts(deaths=DEATHS, buried=s.clock.now())
        await s.cursors.write(_cursor(where.name, row, s), stored.etag if stored is not None else None)

    async with only_sync_errors():
        await retry_on_conflict(note, subject="an attempt")
    s.caches.attempts.pop(where.name, None)


async def forget_count(where: AttemptsRow, s: Jobs) -> None:
    """Delete the row: a message got through, or an operator retries and counts afresh. Idempotent."""
    async with only_sync_errors():
        await s.cursors.delete(where.name)
    s.caches.attempts.pop(where.name, None)


async def forget_buried(s: Jobs) -> None:
    """
    Delete the rows of messages that were dead-lettered more than an hour ago. Idempotent.

    Raises
    ------
    StoreUnavailable
        The table did not answer; the next call continues.
    """
    async with only_sync_errors():
        async for cursor in s.cursors.all():
            if cursor.name.startswith(PREFIX) and _is_expired(Attempts.of(Stored(cursor, "")), s):
                await s.cursors.delete(cursor.name)


def _cursor(name: str, row: Attempts, s: Core) -> Cursor:
    return Cursor(name=name, position=ATTEMPTS.write(row), advanced_at=s.clock.now())
