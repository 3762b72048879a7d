"""What an operator, or a script that waits, wants to know at a glance."""

from __future__ import annotations

from typing import Any

from sync.ports import Services


async def status(s: Services) -> dict[str, Any]:
    """
    Tell whether everything that arrived is in FHIR, and what is left.

    Returns
    -------
    dict
        ``idle`` (nothing dirty, nothing queued), ``dirty_studies``, ``queued`` (messages of all our queues, invisible
        ones included), ``queues`` (by name), ``synced_studies`` (in FHIR now), ``dead_letters``, and ``counters`` of
        this process since it started.
    """
    depths = await s.queues.depths()
    dirty = [study async for study in s.dirty.all()]
    synced = [row async for row in s.projections.all() if row.finished and row.instances]
    letters = await s.dead_letters.entries()
    queued = sum(depths.values())
    return {
        "idle": not dirty and not queued,
        "dirty_studies": len(dirty),
        "queued": queued,
        "queues": depths,
        "synced_studies": len(synced),
        "synced_instances": sum(row.instances for row in synced),
        "dead_letters": len(letters),
        "counters": dict(s.telemetry.counts()),
    }
