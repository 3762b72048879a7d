"""What an operator, or a script that waits, wants to know at a glance."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sync.model import DeadLetter
from sync.ports import Services

_SUBJECTS_SHOWN = 100


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
    letters = [letter async for letter in s.dead_letters.all()]
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


async def dead_letters_by_code(s: Services) -> dict[str, Any]:
    """
    Group the dead letters by code.

    Returns
    -------
    dict
        ``total`` and ``by_code``: code -> ``count``, ``hint`` and the first 100 ``letters``, newest first. Subjects
        are hashed keys: a dead letter holds no name and no value.
    """
    letters = sorted([letter async for letter in s.dead_letters.all()], key=_newest_first)
    counts = Counter(letter.code for letter in letters)
    by_code = {
        code: {
            "count": count,
            "hint": next(letter.hint for letter in letters if letter.code == code),
            "letters": [_shown(letter) for letter in letters if letter.code == code][:_SUBJECTS_SHOWN],
        }
        for code, count in sorted(counts.items())
    }
    return {"total": len(letters), "by_code": by_code}


def _newest_first(letter: DeadLetter) -> tuple[float, str]:
    return -letter.last_at.timestamp(), letter.subject


def _shown(letter: DeadLetter) -> dict[str, Any]:
    return {
        "kind": letter.kind.value,
        "subject": letter.subject,
        "detail": letter.detail,
        "first_at": letter.first_at.isoformat(),
        "last_at": letter.last_at.isoformat(),
        "attempts": letter.attempts,
    }
