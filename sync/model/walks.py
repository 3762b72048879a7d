"""Batches and cursors of walks: the changes that a walk finds, and the position that it has reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sync.model.changes import Change
from sync.model.timestamps import Timestamp

Json = Mapping[str, object]
"""A JSON object that is passed on unread; code that needs its content converts it to a value first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """
    How far a walk has come: a change feed, a listing, a slow check of everything. One row a walk.

    ``position`` is the job's own value as `sync.protocol.row_values` writes and reads it; it names no patient.
    ``holder`` is the process that holds the lease until ``held_until`` (aware UTC), empty when none does; see
    `sync.protocol.leases`.
    """

    name: str
    position: Json = field(default_factory=dict)
    holder: str = ""
    held_until: datetime | None = None
    advanced_at: datetime | None = None
    """When ``position`` last moved, or was confirmed to be at the end."""


RECONCILE_CURSOR = "reconcile"
"""Name of the cursor of the timer that compares all studies; ``last_round`` of its position is a `LastRound`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRound:
    """When the last complete comparison of all studies began and ended, and how many studies there were."""

    began: Timestamp
    ended: Timestamp
    studies: int


def dicom_cursor(account: str) -> str:
    """Name of the cursor of a DICOM service's feed; with an empty account, the prefix of all such names."""
    return f"dicom-feed {account}"


def orthanc_cursor(account: str) -> str:
    """Name of the cursor of an Orthanc's changes; with an empty account, the prefix of all such names."""
    return f"orthanc-changes {account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    Changes that a walk found, and its position once all of them are processed.

    Entries that gave no change are counted: ``passed`` do not concern the configured sources, ``unusable`` name no
    object, ``unchanged`` are of objects known in their present state. ``counts`` holds all other counts.
    """

    changes: Sequence[Change] = ()
    position: Json = field(default_factory=dict)
    passed: int = 0
    unusable: int = 0
    unchanged: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


CHECKS = "checks"
"""Unit of walks that compare: the cost of one listed object, where one request lists a thousand."""

_WORTH: Mapping[str, Mapping[str, float]] = {
    CHECKS: {"objects": 1.0, "resources": 10.0, "studies": 100.0},
    "studies": {"studies": 1.0},
}


def units_of(counts: Mapping[str, int], unit: str) -> float:
    """Return how much of a walk its counts amount to, in ``unit``; 0 when that unit is not counted one by one."""
    if unit == "objects":
        return float(sum(number for name, number in counts.items() if name != "studies"))
    return sum(counts.get(name, 0) * worth for name, worth in _WORTH.get(unit, {}).items())
