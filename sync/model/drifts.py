"""How source, ledger and FHIR disagree."""

from __future__ import annotations

import enum
from dataclasses import dataclass
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

    ``subject`` is what was checked: a study key, or the address of what belongs to no study. ``resource`` is the
    address of what is wrong, ``Type/id`` in FHIR or ``object/`` and an object key; ``detail`` holds names of elements
    and codes, never a value. ``kept`` means that a repair had its turn and FHIR would not let it go: no alarm.
    ``found_in`` names the round of checks that met it last.
    """

    subject: str
    kind: DriftKind
    resource: str
    detail: str = ""
    kept: bool = False
    first_at: datetime | None = None
    last_at: datetime | None = None
    found_in: str = ""
