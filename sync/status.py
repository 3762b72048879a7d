"""What an operator, or a script that waits, wants to know at a glance."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sync.model import RECONCILE_CURSOR, Cursor
from sync.ports import Services

FEEDS = ("dicom-feed ", "orthanc-changes ")
"""How the names of the feeds' cursors begin; see `sync.feeds`."""


async def status(s: Services) -> dict[str, Any]:
    """
    Tell whether everything that arrived is in FHIR, and what is left.

    Returns
    -------
    dict
        ``idle`` (nothing dirty, nothing queued), ``dirty_studies``, ``queued`` (messages of all our queues, invisible
        ones included), ``queues`` (by name), ``synced_studies`` (in FHIR now), ``dead_letters``, ``feeds`` (how far
        each was read, when it last moved or was at its end, and what keeps it), ``drift`` (see `drift_by_kind`), and
        ``counters`` of this process since it started.
    """
    depths = await s.queues.depths()
    dirty = [study async for study in s.dirty.all()]
    synced = [row async for row in s.projections.all() if row.finished and row.instances]
    letters = await s.dead_letters.entries()
    cursors = [cursor async for cursor in s.cursors.all()]
    queued = sum(depths.values())
    return {
        "idle": not dirty and not queued,
        "dirty_studies": len(dirty),
        "queued": queued,
        "queues": depths,
        "synced_studies": len(synced),
        "synced_instances": sum(row.instances for row in synced),
        "dead_letters": len(letters),
        "feeds": {row.name: _feed(row) for row in cursors if row.name.startswith(FEEDS)},
        "drift": await drift_by_kind(s),
        "counters": dict(s.telemetry.counts()),
    }


def _feed(row: Cursor) -> dict[str, Any]:
    shown = {key: row.position[key] for key in ("until", "sequence", "since", "checked") if key in row.position}
    failing = {key: row.position[key] for key in ("error", "hint", "not_before") if row.position.get(key)}
    read = row.advanced_at.isoformat() if row.advanced_at else None
    return {"read_at": read, "position": shown, **failing}


async def drift_by_kind(s: Services) -> dict[str, Any]:
    """
    Count what checks found to disagree and no later one found right.

    Returns
    -------
    dict
        ``open``, ``by_kind`` (kind -> count), and ``last_round``: when the last comparison of everything began and
        ended, and over how many studies; None when there was none yet.
    """
    kinds = Counter([drift.kind.value async for drift in s.drifts.all() if not drift.kept])
    cursor = await s.cursors.read(RECONCILE_CURSOR)
    last_round = cursor.value.position.get("last_round") if cursor is not None else None
    return {"open": kinds.total(), "by_kind": dict(sorted(kinds.items())), "last_round": last_round or None}
