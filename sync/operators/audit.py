"""
The audit trail: who did what, to which subject, and why.

Every operator action, from HTTP, the dashboard or the command line, is recorded by `record_action` under one name. The
function that performs an action records it, so that no path to it is unrecorded. The entry is written before the
action, so that the author is known even if a crash interrupts the action.
"""

from __future__ import annotations

import enum

from sync.model import AuditEntry
from sync.ports import Audited


class OperatorAction(enum.StrEnum):
    """Actions of operators; the values are stored in column ``action`` of table ``audit``."""

    RETRY = "dead-letters.retry"
    DISCARD = "dead-letters.discard"
    REVEAL = "dead-letters.secrets"
    REPLAY = "replay.begin"
    BACKFILL = "backfill.begin"
    WALK_PAUSE = "walk.pause"
    WALK_RESUME = "walk.resume"
    WALK_CANCEL = "walk.cancel"
    VERIFY = "verify.study"
    COMPARE = "verify.begin"
    EXPORT = "export.begin"
    REPAIR = "verify.repair"
    CONFIRM_REMOVALS = "removals.confirm"
    REFUSE_REMOVALS = "removals.refuse"
    PAUSE = "projection.pause"
    RESUME = "projection.resume"
    ACKNOWLEDGE = "alert.acknowledge"
    NAME_OBJECTS = "source.where"


async def record_action(
    action: OperatorAction, s: Audited, *, who: str, subject: str = "", code: str = "", why: str = ""
) -> None:
    """
    Record one operator action. Idempotent for one author, action, subject and time.

    Parameters
    ----------
    who
        Name of the operator; empty when the caller did not say.
    subject
        A hashed key, a code or the id of a replay; never a name or a UID.
    why
        The reason as the operator gave it.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: then the action must not happen.
    """
    entry = AuditEntry(at=s.clock.now(), who=who, action=action.value, subject=subject, code=code, why=why)
    await s.audit.add(entry)
