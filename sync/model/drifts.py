"""How source, ledger and FHIR disagree."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime


class DriftKind(enum.Enum):
    """How source, ledger and FHIR can disagree; the value is the code in reports, metrics and the runbook."""

    MISSING = "drift.missing"
    STALE = "drift.stale"
    FOREIGN_MODIFIED = "drift.foreign_modified"
    ORPHANED = "drift.orphaned"
    DOUBLED = "drift.doubled"
    DEAD_LETTERED = "drift.dead_lettered"
    OBJECT_GONE = "drift.object_gone"
    OBJECT_CHANGED = "drift.object_changed"
    OBJECT_UNSEEN = "drift.object_unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """
    One disagreement that a check has found, until a later check finds it gone.

    ``subject`` is what was checked: a study key, or the address of a resource that belongs to no study. ``resource`` is
    the address of the resource or object that is wrong: ``Type/id`` in FHIR, or ``object/`` and an object key.
    ``detail`` holds names of elements and codes, never a value. ``kept`` means that a repair tried to delete the
    resource and FHIR refused: no alert. ``found_in`` names the last full round that found the drift; a check of parts
    does not change it.
    """

    subject: str
    kind: DriftKind
    resource: str
    detail: str = ""
    kept: bool = False
    first_at: datetime | None = None
    last_at: datetime | None = None
    found_in: str = ""

    def noted(self, before: Drift | None, now: datetime) -> Drift | None:
        """
        Return the row to write after a check found this drift; None when the row must stay as it is.

        The rows of a full round are its list of work. A check of parts that finds the same drift at the same time must
        not change them.
        """
        if before is None:
            return replace(self, first_at=now, last_at=now)
        noted = replace(self, first_at=before.first_at, last_at=now, found_in=self.found_in or before.found_in)
        leaves = before.found_in != "" and self.found_in == "" and noted == replace(before, last_at=now)
        return None if leaves else noted
