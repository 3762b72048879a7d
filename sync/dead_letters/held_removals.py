"""
Decisions of operators about removals above the ceiling: see `sync.protocol.removals`.

    confirm    they are right: what is held by now is inspected again, and goes if it is still not there
    refuse     they are wrong: what is held is dropped; FHIR keeps it until something else tells of the object

Both open the ceiling again, with a new window.
"""

from __future__ import annotations

from sync.dead_letters.actions import Outcome, Selection, discard, retry
from sync.errors import RemovalHeld
from sync.events import Sources
from sync.operators.audit import OperatorAction, record_action
from sync.ports import Operate
from sync.protocol.removals import reset_ceiling

HELD = Selection(code=RemovalHeld.code)
"""Dead letters of the removals that are held."""


async def confirm_removals(sources: Sources, s: Operate, *, who: str, why: str) -> int:
    """
    Let what is held be removed. Idempotent; interrupted, it is repeated.

    Nothing is removed here: each object and study is inspected once more, and one that is there again stays.

    Parameters
    ----------
    sources
        What messages may name now.

    Returns
    -------
    int
        How many are inspected again.

    Raises
    ------
    ValueError
        ``who`` or ``why`` is empty.
    """
    _check(who, why)
    await record_action(OperatorAction.CONFIRM_REMOVALS, s, who=who, code=RemovalHeld.code, why=why)
    # The approval first: without it, what is inspected again would be held again.
    await reset_ceiling(s, approve=True)
    report = await retry(HELD, sources, s, who=who)
    s.telemetry.event("removal.confirmed", dead_letters=report.selected)
    return report.of(Outcome.ASKED)


async def refuse_removals(s: Operate, *, who: str, why: str) -> int:
    """
    Drop what is held: nothing of it is removed. Idempotent; interrupted, it is repeated.

    Returns
    -------
    int
        How many were dropped.

    Raises
    ------
    ValueError
        ``who`` or ``why`` is empty.
    """
    _check(who, why)
    await record_action(OperatorAction.REFUSE_REMOVALS, s, who=who, code=RemovalHeld.code, why=why)
    report = await discard(HELD, s, who=who, why=why)
    # The ceiling last: while it is reached, nothing of this can be removed meanwhile.
    await reset_ceiling(s, approve=False)
    s.telemetry.event("removal.refused", dead_letters=report.selected)
    return report.of(Outcome.DISCARDED)


def _check(who: str, why: str) -> None:
    if not who.strip() or not why.strip():
        raise ValueError("say who decides, and why")
