"""What an operator, or a script that waits, wants to know at a glance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sync.model import RECONCILE_CURSOR, Cursor
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.evaluation import Alert
from sync.monitoring.alerts.rules import BY_CODE, Severity
from sync.monitoring.counts import FEEDS, SystemCounts, read_counts
from sync.monitoring.history import Chart, Past, floor, read_past
from sync.ports import Core, Measure
from sync.telemetry.instruments import FHIR_DURATION, FHIR_THROTTLED, LATENCY, OBJECTS, STUDIES
from sync.telemetry.measurements import MINUTE, Measurement

RECENT = 5
"""Minutes that throughput and latency are told for."""

OVERDUE = 2.0
"""Waits so many times the longest one that the settings allow are behind, not just on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    ``in sync``, ``behind`` or ``failing``, and why: one sentence each, the worst first.

    Failing: a critical alert is raised, or the timers do not run. Behind: any other alert is raised, or studies wait
    longer than quiet periods explain.
    """

    verdict: str
    reasons: tuple[str, ...] = ()


async def status(s: Measure) -> dict[str, Any]:
    """
    Tell whether everything that arrived is in FHIR, what is left, and how it goes; as quickly in a large world.

    Returns
    -------
    dict
        ``idle`` (nothing dirty, nothing queued), ``dirty_studies``, ``queued`` (messages of all our queues, invisible
        ones included), ``queues`` (by name), ``synced_studies`` (in FHIR now), ``synced_instances``, ``dead_letters``,
        ``feeds`` (how far each was read, when it last moved or was at its end, and what keeps it), ``drift`` (see
        `drift_by_kind`), and ``counters`` of this process since it started. Then ``health`` (verdict and reasons),
        ``lag`` (seconds), ``recent`` (the last minutes, of all workers), ``dead_letters_by_code``, ``alerts``; and
        ``counted_at``, which is null when all counts are exact, as they are up to a thousand rows of a table.
    """
    now = s.clock.now()
    counts, past = await asyncio.gather(read_counts(s), read_past(s.metrics, recently(now), now + timedelta(minutes=1)))
    return verdict_in_words(counts, past, s)


def recently(now: datetime) -> datetime:
    """Since when throughput and latency are told."""
    return floor(now, MINUTE) - timedelta(minutes=RECENT)


def verdict_in_words(counts: SystemCounts, past: Past, s: Core) -> dict[str, Any]:
    """Put `status` together from what was read; of the past at least the minutes that are recent."""
    now = s.clock.now()
    names = {each.name for each in (OBJECTS, STUDIES, LATENCY, FHIR_DURATION, FHIR_THROTTLED)}
    chart = past.chart(names, recently(now), now + timedelta(minutes=1))
    known = _alerts(counts)
    health = judge(counts, known, s)
    return {
        "idle": counts.idle,
        "dirty_studies": counts.dirty.total,
        "queued": counts.queued,
        "queues": dict(counts.queues),
        "synced_studies": counts.projections.counts.get("studies", 0),
        "synced_instances": counts.projections.counts.get("instances", 0),
        "dead_letters": counts.dead_letters.total,
        "feeds": {row.name: _feed(row) for row in counts.cursors.values() if row.name.startswith(tuple(FEEDS))},
        "drift": drift_by_kind(counts),
        "counters": dict(s.telemetry.counts()),
        "at": now.isoformat(),
        "health": {"verdict": health.verdict, "reasons": list(health.reasons)},
        "lag": {
            "oldest_study": round(counts.dirty_age, 1),
            "queues": {name: round(age, 1) for name, age in counts.queue_ages.items()},
            "feeds": {name: round(age, 1) for name, age in counts.feeds.items()},
        },
        "recent": _recent(chart),
        "dead_letters_by_code": dict(sorted(counts.dead_letters.counts.items())),
        "alerts": [_raised(alert, counts) for alert in known.values() if alert.raised],
        "counted_at": _counted_at(counts),
    }


def judge(counts: SystemCounts, known: Mapping[str, Alert], s: Core) -> Health:
    """Say in a word how it stands, and why. Pure but for the clock."""
    raised = sorted((a for a in known.values() if a.raised), key=lambda alert: BY_CODE[alert.code].severity.value)
    codes = {alert.code for alert in raised}
    critical = [alert for alert in raised if BY_CODE[alert.code].severity is Severity.CRITICAL]
    reasons = [f"{alert.code}: {BY_CODE[alert.code].says(alert.value, s.settings.alert)}" for alert in raised]
    stopped = _stopped(counts, s) if evaluation.STOPPED not in codes else ()
    overdue = OVERDUE * s.settings.max_wait
    if counts.dirty_age > overdue and "alert.lag" not in codes:
        reasons.append(f"The oldest outstanding study waits for {counts.dirty_age:.0f} s.")
    verdict = "failing" if critical or stopped else "behind" if reasons else "in sync"
    return Health(verdict=verdict, reasons=(*stopped, *reasons))


def _stopped(counts: SystemCounts, s: Core) -> tuple[str, ...]:
    """Tell that the timers do not run, before anybody who watches has raised it, and when nobody does."""
    age = evaluation.stopped_for(counts)
    rule = BY_CODE[evaluation.STOPPED]
    return (
        (f"{rule.code}: {rule.says(round(age), s.settings.alert)}",) if age > s.settings.alert.stopped_seconds else ()
    )


def _alerts(counts: SystemCounts) -> Mapping[str, Alert]:
    kept = counts.cursors.get(evaluation.CURSOR)
    return evaluation.states(kept.position) if kept is not None else {}


def _raised(alert: Alert, counts: SystemCounts) -> dict[str, Any]:
    kept = counts.cursors.get(evaluation.ACKNOWLEDGED)
    noted = evaluation.acknowledgements(kept.position, {alert.code: alert}) if kept is not None else {}
    taken = noted.get(alert.code)
    return {
        "code": alert.code,
        "severity": BY_CODE[alert.code].severity.name.lower(),
        "title": BY_CODE[alert.code].title,
        "hint": BY_CODE[alert.code].hint,
        "value": alert.value,
        "raised_at": alert.raised_at.isoformat() if alert.raised_at else None,
        "acknowledged_by": taken.who if taken is not None else None,
    }


def _recent(chart: Chart) -> dict[str, Any]:
    latency = _sum(chart, LATENCY.name)
    return {
        "minutes": RECENT,
        "objects": round(_sum(chart, OBJECTS.name).total),
        "studies_written": round(_sum(chart, STUDIES.name, written=True).total),
        "latency_median": _rounded(latency.quantile(0.5, LATENCY.bounds)),
        "latency_95": _rounded(latency.quantile(0.95, LATENCY.bounds)),
        "fhir_requests": _sum(chart, FHIR_DURATION.name).count,
        "fhir_seconds_mean": _rounded(_sum(chart, FHIR_DURATION.name).mean, 3),
        "fhir_throttled": round(_sum(chart, FHIR_THROTTLED.name).total),
    }


def _sum(chart: Chart, name: str, *, written: bool = False) -> Measurement:
    lines = (line for line in chart.of(name) if not written or "written" in dict(line.attributes).values())
    return sum((point for line in lines for point in line.points if point is not None), Measurement())


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return round(value, digits) if value is not None else None


def _counted_at(counts: SystemCounts) -> str | None:
    tables = (counts.dirty, counts.projections, counts.dead_letters, counts.drifts)
    times = [count.at for count in tables if count.at is not None]
    return min(times).isoformat() if times else None


def _feed(row: Cursor) -> dict[str, Any]:
    shown = {key: row.position[key] for key in ("until", "sequence", "since", "checked") if key in row.position}
    failing = {key: row.position[key] for key in ("error", "hint", "not_before") if row.position.get(key)}
    read = row.advanced_at.isoformat() if row.advanced_at else None
    return {"read_at": read, "position": shown, **failing}


def drift_by_kind(counts: SystemCounts) -> dict[str, Any]:
    """
    Count what checks found to disagree and no later one found right.

    Returns
    -------
    dict
        ``open``, ``by_kind`` (kind -> count), and ``last_round``: when the last comparison of everything began and
        ended, and over how many studies; None when there was none yet.
    """
    kept = counts.cursors.get(RECONCILE_CURSOR)
    last_round = kept.position.get("last_round") if kept is not None else None
    by_kind = dict(sorted(counts.drifts.counts.items()))
    return {"open": counts.drifts.total, "by_kind": by_kind, "last_round": last_round or None}
