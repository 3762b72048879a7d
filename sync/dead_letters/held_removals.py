"""
Decisions of operators about removals above the ceiling: see `sync.protocol.removals`.

    confirm    they are right: held objects are inspected again, and removed if they are still gone
    refuse     they are wrong: held removals are dropped; FHIR keeps the resources until a new change of the object

Both lift the ceiling, with a new window. A page shows what is held at one time, and is answered later: then other
removals may be held, of another cause, that the operator has not seen. So a decision may be of those up to a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sync.dead_letters.actions import Outcome, Selection, discard, retry
from sync.errors import RemovalHeld
from sync.events import Sources
from sync.operators.audit import OperatorAction, record_action
from sync.ports import Operate
from sync.protocol.removals import Ceiling, reset_ceiling

HELD = Selection(code=RemovalHeld.code)
"""Selects the dead letters of held removals."""


def as_json(ceiling: Ceiling, dead_letters: Mapping[str, int], until: datetime) -> dict[str, Any]:
    """
    Return how many studies lost instances within the hour, and how many removals are held. Pure.

    Parameters
    ----------
    dead_letters
        Their number by code.
    until
        A time before both were read, for a decision on these: what was held later is in neither.
    """
    return {
        "studies": len(ceiling.studies),
        "limit": ceiling.limit,
        "held": dead_letters.get(RemovalHeld.code, 0),
        "held_since": ceiling.held_since.isoformat() if ceiling.held_since else None,
        "until": until.isoformat(),
    }


async def confirm_removals(sources: Sources, s: Operate, *, who: str, why: str, until: datetime | None = None) -> int:
    """
    Release the held removals. Idempotent; if it is interrupted, repeat it.

    Removes nothing itself: each object and study is inspected again, and one that is back stays.

    Parameters
    ----------
    sources
        The sources that messages may name now.
    until
        Removals held later stay held; None: all are confirmed.

    Returns
    -------
    int
        Number of objects and studies inspected again.

    Raises
    ------
    ValueError
        ``who`` or ``why`` is empty.
    """
    _check(who, why)
    await record_action(OperatorAction.CONFIRM_REMOVALS, s, who=who, code=RemovalHeld.code, why=why)
    # The approval first: without it, a removal that is inspected again would be held again.
    await reset_ceiling(s, approve=True, until=until)
    report = await retry(replace(HELD, until=until), sources, s, who=who)
    s.telemetry.event("removal.confirmed", dead_letters=report.selected)
    return report.of(Outcome.ASKED)


async def refuse_removals(s: Operate, *, who: str, why: str, until: datetime | None = None) -> int:
    """
    Drop the held removals: nothing is removed. Idempotent; if it is interrupted, repeat it.

    Parameters
    ----------
    until
        Removals held later stay held; None: all are refused.

    Returns
    -------
    int
        Number of removals dropped.

    Raises
    ------
    ValueError
        ``who`` or ``why`` is empty.
    """
    _check(who, why)
    await record_action(OperatorAction.REFUSE_REMOVALS, s, who=who, code=RemovalHeld.code, why=why)
    report = await discard(replace(HELD, until=until), s, who=who, why=why)
    # The ceiling last: while it is reached, none of these can be removed meanwhile.
    await reset_ceiling(s, approve=False, until=until)
    s.telemetry.event("removal.refused", dead_letters=report.selected)
    return report.of(Outcome.DISCARDED)


def _check(who: str, why: str) -> None:
    if not who.strip() or not why.strip():
        raise ValueError("say who decides, and why")
