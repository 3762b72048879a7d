"""
Distinguishes deliveries that died with their process from failed ones, and handles them one at a time.

    a first delivery                              ->  handled at once, beside all others
    a later one, or one that the sweep sent       ->  recorded as begun, waits for its turn, is handled
        it ends                                   ->  the row is deleted, or counts a failure
        its process dies                          ->  the row still says "begun" at the next delivery: a death
    its process died twice during its turn        ->  dead letter poison.crash, its row is kept for an hour
    a poison message whose row counts no failure  ->  other deliveries killed the process: sent again

A worker that dies fails everything it had in flight, up to 128 messages a queue, and the host counts that as a delivery
of each. One file that kills the process would thus turn innocent messages into poison messages. Redelivered messages
therefore take turns: a process handles one of them at a time, so if it dies then, that message is very likely the
cause. First deliveries cost nothing extra.

The row is `sync.protocol.attempts`. The functions of the queues in `function_app.py` call this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
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
from sync.ports import Core, Deliver
from sync.protocol.attempts import (
    CRASH_CODE,
    DEATHS,
    AttemptsRow,
    begin_attempt,
    count_return,
    end_attempt,
    forget_count,
    keep_count,
)
from sync.telemetry.defects import only_sync_errors

TURN = 20.0
"""Seconds that a delivery waits for its turn; then it is handled beside the others, and no death counts against it."""

LAST = 5.0
"""Seconds that a delivery lets others go first after a process died with it: most of them finish meanwhile."""

T = TypeVar("T")


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
        await handlers.handle_poison_object(text, sources, s, code=CRASH_CODE)

    if attempt == 1 and not is_lost_message(text):
        return await handle()
    return await _in_turn(AttemptsRow.of_objects_message(text, sources), handle, bury, s, message_id=message_id) or ()


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
        await handlers.handle_poison_study(text, s, code=CRASH_CODE)

    if attempt == 1 and not is_redelivered_message(text):
        await handle()
    else:
        await _in_turn(AttemptsRow.of_study_message(text), handle, bury, s, message_id=message_id)


async def _in_turn(
    where: AttemptsRow,
    handle: Callable[[], Awaitable[T]],
    bury: Callable[[], Awaitable[None]],
    s: Deliver,
    *,
    message_id: str,
) -> T | None:
    # Recorded while it waits, too: a delivery that dies then is known as lost, and no death counts against it.
    row = await begin_attempt(where, s, message_id=message_id, in_turn=False)
    if row.deaths and not row.buried:
        await asyncio.sleep(LAST)
    async with _turn(s) as is_alone:
        if is_alone:
            row = await begin_attempt(where, s, message_id=message_id, in_turn=True)
        if row.deaths >= DEATHS:
            await bury()
            await keep_count(where, s)
            return None
        try:
            result = await handle()
        except StoreUnavailable:
            await end_attempt(where, s, message_id=message_id)  # an outage is no failure of the message
            raise
        except SyncError:
            await end_attempt(where, s, message_id=message_id, failures=1)
            raise
        await forget_count(where, s)
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


async def deliver_poison_object(text: str, sources: Sources, s: Deliver) -> None:
    """
    Send a poison message of ``objects`` again if its deliveries only died, else write its dead letters.

    Idempotent: a message that is sent twice has its objects inspected twice.

    Raises
    ------
    TransientError
        Storage did not answer; deliver again.
    """

    async def bury(code: str) -> None:
        await within_budget(handlers.handle_poison_object(text, sources, s, code=code), s)

    async def send_again() -> None:
        for change in parse_message(text, sources):
            if isinstance(change, PermanentError):
                await handlers.handle_poison_object(text, sources, s)
                return
            await s.object_queue.send(lost_message(change))

    await _send_again_or_bury(AttemptsRow.of_objects_message(text, sources), send_again, bury, s, code="poison.object")


async def deliver_poison_study(text: str, s: Deliver) -> None:
    """
    Send a poison message of ``studies`` again if its deliveries only died, else write its dead letter.

    Idempotent.

    Raises
    ------
    TransientError
        Storage did not answer; deliver again.
    """

    async def bury(code: str) -> None:
        await within_budget(handlers.handle_poison_study(text, s, code=code), s)

    async def send_again() -> None:
        try:
            study = parse_study_message(text).study
        except PermanentError:
            await bury("poison.study")
            return
        await s.study_queue.enqueue(study, redelivered=True)

    await _send_again_or_bury(AttemptsRow.of_study_message(text), send_again, bury, s, code="poison.study")


async def _send_again_or_bury(
    where: AttemptsRow,
    send_again: Callable[[], Awaitable[None]],
    bury: Callable[[str], Awaitable[None]],
    s: Deliver,
    *,
    code: str,
) -> None:
    """Write the dead letter of a poison message: ``code`` if a delivery failed; if all died, only after two deaths."""
    row = await count_return(where, s)
    if row is None:
        await bury(code)
        await forget_count(where, s)
    elif row.deaths >= DEATHS:
        await bury(CRASH_CODE)
        await keep_count(where, s)
    else:
        async with only_sync_errors():
            await send_again()
