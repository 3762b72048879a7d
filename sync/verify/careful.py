"""
Repairs that may have ended the process before: each is recorded before it begins, and dead-lettered after two deaths.

A run whose predecessor did not end calls these instead of `sync.verify.repair`; without a death nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from sync.errors import PermanentError
from sync.model import Action, Change, Drift, ObjectRef, StudyRef
from sync.ports import Deliver
from sync.protocol.attempts import AttemptsRow, unless_deadly
from sync.protocol.dead_letters import dead_letter_object, dead_letter_study
from sync.verify.source import repair_object


async def repair_object_carefully(ref: ObjectRef, s: Deliver, *, run: str) -> None:
    """
    Repair an object as `repair_object`, unless its repair ended the process twice: then write its dead letter.

    Parameters
    ----------
    run
        Names the work that repairs; the same for each process that takes it over.

    Raises
    ------
    TransientError
        As `repair_object`.
    """

    async def bury(refusal: PermanentError) -> None:
        await dead_letter_object(Change(object=ref, action=Action.CREATED), refusal, s)

    work = partial(repair_object, ref, s)
    await unless_deadly(AttemptsRow.of_object(ref), s, message_id=run, work=work, bury=bury)


async def repair_study_carefully(
    study: StudyRef,
    drifts: Sequence[Drift],
    repair: Callable[[], Awaitable[Sequence[Drift]]],
    s: Deliver,
    *,
    run: str,
) -> Sequence[Drift]:
    """
    Repair a study, unless its repair ended the process twice; return the remaining drifts.

    Parameters and errors as `repair_object_carefully`.
    """
    left = drifts

    async def work() -> None:
        nonlocal left
        left = await repair()

    async def bury(refusal: PermanentError) -> None:
        await dead_letter_study(study, refusal, s)

    await unless_deadly(AttemptsRow.of_study(study), s, message_id=run, work=work, bury=bury)
    return left
