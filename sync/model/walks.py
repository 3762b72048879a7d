"""Batches and cursors of walks: what they find, and their position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sync.model.changes import Change
from sync.model.timestamps import Timestamp

Json = Mapping[str, object]
"""A JSON object that is passed on and not looked into: who reads it makes a value of it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    How far a walk has come: a change feed, a listing, a slow check of everything. One row a walk.

    ``position`` is the job's own value as `sync.protocol.row_values` writes and reads it; it names no patient.
    ``holder`` is the process that holds it
    until ``held_until`` (aware UTC), empty when none does: see `sync.protocol.leases`.
    """

    name: str
    position: Json = field(default_factory=dict)
    holder: str = ""
    held_until: datetime | None = None
    advanced_at: datetime | None = None
    """When ``position`` last moved, or was found to be the end."""


RECONCILE_CURSOR = "reconcile"
"""Cursor of the timer that compares everything in turn; its position holds a `LastRound` as ``last_round``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRound:
    """When the last whole comparison of everything began and ended, and over how many studies."""

    began: Timestamp
    ended: Timestamp
    studies: int


def dicom_cursor(account: str) -> str:
    """Name of the cursor of a DICOM service's feed; of any such cursor, how its name begins, without an account."""
    return f"dicom-feed {account}"


def orthanc_cursor(account: str) -> str:
    """Name of the cursor of an Orthanc's changes; without an account as for `dicom_cursor`."""
    return f"orthanc-changes {account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    Changes that a walk found, and where it stands once they all are dealt with.

    ``passed`` counts the entries beside them that concern nothing of ours, ``unusable`` those that name no object,
    ``unchanged`` those of objects that are known as they are, ``counts`` what else was counted on the way to it.
    """

    changes: Sequence[Change] = ()
    position: Json = field(default_factory=dict)
    passed: int = 0
    unusable: int = 0
    unchanged: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


CHECKS = "checks"
"""Unit of walks that compare: what an object of a list costs, of which one request tells a thousand."""

_WORTH: Mapping[str, Mapping[str, float]] = {
    CHECKS: {"objects": 1.0, "resources": 10.0, "studies": 100.0},
    "studies": {"studies": 1.0},
}


def units_of(counts: Mapping[str, int], unit: str) -> float:
    """Return how much of a walk its counts stand for; none where the unit is not counted one by one."""
    if unit == "objects":
        return float(sum(number for name, number in counts.items() if name != "studies"))
    return sum(counts.get(name, 0) * worth for name, worth in _WORTH.get(unit, {}).items())
