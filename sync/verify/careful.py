"""
Repairs of one run. After a predecessor that did not end, perhaps a repair ended its process.

    the process before died  ->  each repair is recorded before it begins, and dead-lettered after two deaths
    it did not               ->  nothing is recorded

The comparison of the timer and `verify` repair through this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sync.errors import PermanentError
from sync.model import Action, Change, Drift, ObjectRef, StudyRef
from sync.ports import Deliver
from sync.protocol.attempts import AttemptsRow, unless_deadly
from sync.protocol.dead_letters import dead_letter_object, dead_letter_study
from sync.verify.repair import Budget, repair_study
from sync.verify.source import repair_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """
    The repairs of one run, one at a time.

    Attributes
    ----------
    run
        Names the work that repairs; the same for each process that takes it over.
    careful
        Whether the process that began this work died.
    """

    s: Deliver
    run: str
    careful: bool

    async def of_object(self, ref: ObjectRef) -> None:
        """Repair an object; parameters and errors as `repair_object`."""
        if not self.careful:
            await repair_object(ref, self.s)
            return

        async def bury(refusal: PermanentError) -> None:
            await dead_letter_object(Change(object=ref, action=Action.CREATED), refusal, self.s)

        work = partial(repair_object, ref, self.s)
        await unless_deadly(AttemptsRow.of_object(ref), self.s, message_id=self.run, work=work, bury=bury)

    async def of_study(
        self, study: StudyRef, drifts: Sequence[Drift], budget: Budget, *, listed: bool = False
    ) -> Sequence[Drift]:
        """Repair a study; parameters, the remaining drifts and errors as `repair_study`."""
        if not self.careful:
            return await repair_study(study, drifts, budget, self.s, listed=listed)
        left = drifts

        async def work() -> None:
            nonlocal left
            left = await repair_study(study, drifts, budget, self.s, listed=listed)

        async def bury(refusal: PermanentError) -> None:
            await dead_letter_study(study, refusal, self.s)

        await unless_deadly(AttemptsRow.of_study(study), self.s, message_id=self.run, work=work, bury=bury)
        return left
