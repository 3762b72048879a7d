"""
Finds, in a walk whose processes die, the object that ends them.

    a holder dies                        ->  the next one counts it beside the position (`sync.walks.walk`)
    three die without moving it          ->  changes are processed one at a time, each recorded before it begins
    two more die of the same change      ->  it is given up: dead letter ``poison.crash``
    it is named again within an hour     ->  it is passed over while that letter stands

Without this, a walk that reaches such an object would end one process after another, each with all its other work, and
never end itself. Holders that a deployment ends do not count for long: the position moves meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from sync.errors import PermanentError
from sync.model import Change
from sync.ports import Removing
from sync.protocol.attempts import KEPT, AttemptsRow, keep_if_buried, unless_deadly
from sync.walks.walk import Walk, Work


def alone_if_suspect(
    work: Work, walk: Walk, give_up: Callable[[Change, PermanentError], Awaitable[None]], s: Removing
) -> Work:
    """
    Return the work of a walk that dead-letters a change which ends its process.

    Costs nothing while no holder of the walk dies. Otherwise changes take turns, also with redelivered messages of this
    process, and each costs a read and two writes more, until the position moves.
    """

    async def work_on(change: Change) -> None:
        if walk.is_suspect:
            async with s.caches.turn:
                await _recorded(change)
        elif not await _is_passed_over(change):
            await work(change)

    async def _is_passed_over(change: Change) -> bool:
        """Return whether a change is buried, as an entry is that a feed names again and again."""
        if walk.crashed is None or s.clock.now() - walk.crashed >= KEPT:
            return False
        buried = await keep_if_buried(AttemptsRow.of_change(change), s)
        if buried:
            walk.crashed = s.clock.now()
        return buried

    async def _recorded(change: Change) -> None:
        where, bury = AttemptsRow.of_change(change), partial(give_up, change)
        if not await unless_deadly(where, s, message_id=walk.name, work=partial(work, change), bury=bury):
            walk.crashed = s.clock.now()

    return work_on
