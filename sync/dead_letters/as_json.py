"""Dead letters as JSON, the same for HTTP and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sync.dead_letters.actions import Report
from sync.dead_letters.queries import Group, Secrets
from sync.monitoring.counts import Count


def grouped(groups: Sequence[Group], count: Count) -> dict[str, Any]:
    """Return the groups as JSON, by code; ``counted_at`` is null when the counts are those of this moment."""
    by_code = {
        group.code: {
            "count": group.count,
            "hint": group.hint,
            "oldest_at": group.oldest_at.isoformat() if group.oldest_at else None,
            "letters": [letter.shown() for letter in group.newest],
        }
        for group in groups
    }
    return {"total": count.total, "counted_at": count.at.isoformat() if count.at else None, "by_code": by_code}


def revealed(secrets: Secrets) -> dict[str, Any]:
    """Return as JSON the subject of a dead letter."""
    study = secrets.study
    fields = {
        "object": secrets.object,
        "study_instance_uid": study.study_instance_uid if study else "",
        "partition": study.partition if study else "",
        "message": secrets.message,
    }
    return {name: value for name, value in fields.items() if value}


def counted(report: Report) -> dict[str, Any]:
    """Return the outcome for the selected dead letters as JSON."""
    outcomes = {outcome.value: count for outcome, count in report.outcomes.items()}
    return {"dry_run": report.dry_run, "selected": report.selected, "by_code": report.by_code, "outcomes": outcomes}
