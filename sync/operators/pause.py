"""
The pause of projection by an operator, while a FHIR service is moved, restored or investigated.

Ingest continues, so nothing is lost: studies are marked dirty and wait. Messages that arrive during a pause are
completed, because the dirty row is the truth, and the sweeper wakes every study once the pause is over.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.model import Cursor
from sync.model.timestamps import Timestamp
from sync.operators.audit import OperatorAction, record_action
from sync.ports import Control, Jobs
from sync.protocol.optimistic import retry_on_conflict
from sync.protocol.row_values import RowValue

PROJECTION = "control.projection"
"""Name of the row in table ``cursors``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """When projection was paused, by whom, and why. Aware UTC."""

    since: Timestamp
    who: str = ""
    why: str = ""


_PAUSE: RowValue[Pause] = RowValue(Pause)


async def projection_pause(s: Jobs) -> Pause | None:
    """Return the pause of projection; None when there is none. Only reads."""
    stored = await s.cursors.read(PROJECTION)
    return pause_of(stored.value if stored is not None else None)


def pause_of(cursor: Cursor | None) -> Pause | None:
    """Return the pause in a row; None when there is none."""
    if cursor is None or not cursor.position:
        return None
    return _PAUSE.read(cursor.position, row=PROJECTION)


async def pause_projection(s: Control, *, who: str, why: str) -> Pause:
    """
    Pause projection from now on; running writes are finished. Idempotent: the first pause counts.

    Raises
    ------
    Contention
        Another operator kept changing it.
    """

    async def pause() -> Pause:
        if (current := await projection_pause(s)) is not None:
            return current
        await record_action(OperatorAction.PAUSE, s, who=who, subject=PROJECTION, why=why)
        paused = Pause(since=s.clock.now(), who=who, why=why)
        await s.cursors.write(Cursor(name=PROJECTION, position=_PAUSE.write(paused), advanced_at=paused.since), None)
        s.telemetry.event("projection.paused")
        return paused

    # Of two simultaneous calls the second finds the row, reads again, and the first pause counts.
    return await retry_on_conflict(pause, subject="the pause")


async def resume_projection(s: Control, *, who: str) -> None:
    """Let projection continue; the next sweep wakes the waiting studies. Idempotent."""
    await record_action(OperatorAction.RESUME, s, who=who, subject=PROJECTION)
    await s.cursors.delete(PROJECTION)
    s.telemetry.event("projection.resumed")
