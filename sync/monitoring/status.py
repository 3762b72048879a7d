"""
The status for operators and waiting scripts: whether everything is in FHIR, the outstanding work, and its rate.

Reads counts and the measurements of the last minutes; values, verdict and failing services each have their own module
in this package. Called by the dashboard, ``GET api/status``, Prometheus, and the commands ``status`` and ``alerts``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sync.model import RECONCILE_CURSOR, Cursor, LastRound
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.evaluation import Alert, Evaluated, acknowledgement_of
from sync.monitoring.alerts.rules import BY_CODE
from sync.monitoring.counts import FEEDS, SystemCounts, read_counts
from sync.monitoring.failing_services import service_problems
from sync.monitoring.feed_states import FeedState
from sync.monitoring.history import Chart, Past, end_of, floor, read_past
from sync.monitoring.status_model import (
    RECENT,
    ActiveAlert,
    Lag,
    OpenDrift,
    Recent,
    Status,
    WalkStatus,
    as_json,
)
from sync.monitoring.verdict import is_overdue, judge, messages_held, paused_projection, slow_fhir
from sync.ports import Core, Measure
from sync.protocol.row_values import RowValue
from sync.protocol.walk_rows import Board
from sync.telemetry.instruments import (
    FAILURES,
    FHIR_DURATION,
    FHIR_THROTTLED,
    FHIR_UNANSWERED,
    LATENCY,
    OBJECTS,
    QUEUE_MESSAGES,
    STUDIES,
)
from sync.telemetry.measurements import MINUTE


async def status(s: Measure) -> dict[str, Any]:
    """Return `read_status` as JSON."""
    return as_json(await read_status(s))


async def read_status(s: Measure) -> Status:
    """
    Read the status, in bounded time whatever the number of studies. Only reads.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    now = s.clock.now()
    counts, past = await asyncio.gather(read_counts(s), read_past(s.metrics, recently(now), now + timedelta(minutes=1)))
    return status_of(counts, past, s)


def recently(now: datetime) -> datetime:
    """Return the start of the minutes over which throughput and latency are reported."""
    return floor(now, MINUTE) - timedelta(minutes=RECENT)


def status_of(counts: SystemCounts, past: Past, s: Core) -> Status:
    """Build the status from counts and measurements; ``past`` holds at least the last `RECENT` minutes."""
    now = s.clock.now()
    names = {
        instrument.name
        for instrument in (
            OBJECTS,
            STUDIES,
            LATENCY,
            FAILURES,
            FHIR_DURATION,
            FHIR_UNANSWERED,
            FHIR_THROTTLED,
            QUEUE_MESSAGES,
        )
    }
    chart = past.chart(names, recently(now), end_of(now, MINUTE))
    alerts = _alerts(counts)
    problems = service_problems(chart, alerts, s, overdue=is_overdue(counts, s))
    return Status(
        idle=counts.idle,
        dirty_studies=counts.dirty.total,
        queued=counts.queued,
        queues=dict(counts.queues),
        synced_studies=counts.projections.counts.get("studies", 0),
        synced_instances=counts.projections.counts.get("instances", 0),
        dead_letters=counts.dead_letters.total,
        feeds={row.name: FeedState.of(row) for row in counts.cursors.values() if row.name.startswith(tuple(FEEDS))},
        drift=open_drift(counts),
        held_removals=counts.held_removals,
        at=now,
        health=judge(counts, alerts, s, held=messages_held(counts, chart), slow=slow_fhir(chart, s), problems=problems),
        lag=Lag(
            oldest_study=round(counts.dirty_age, 1),
            queues={name: round(age, 1) for name, age in counts.queue_ages.items()},
            feeds={name: round(age, 1) for name, age in counts.feeds.items()},
        ),
        recent=_recent(chart),
        dead_letters_by_code=dict(sorted(counts.dead_letters.counts.items())),
        alerts=[_active(alert, counts) for alert in alerts.values() if alert.raised],
        counted_at=_counted_at(counts),
        paused=paused_projection(counts),
        problems=problems,
        walks=_walks(counts, now),
    )


def _walks(counts: SystemCounts, now: datetime) -> list[WalkStatus]:
    board = Board.of(list(counts.cursors.values()))
    shown = [board.progress(row, now) for row in board.walks.values() if row.state.is_open]
    return [
        WalkStatus(
            id=walk.row.id,
            kind=walk.row.what,
            state=walk.row.state.value,
            share=walk.share,
            seconds_left=walk.seconds_left,
            workers=walk.workers,
            counts=walk.counts,
        )
        for walk in sorted(shown, key=lambda walk: walk.row.began)
    ]


def _alerts(counts: SystemCounts) -> Mapping[str, Alert]:
    return Evaluated.of(counts.cursors.get(evaluation.CURSOR)).states


def _active(alert: Alert, counts: SystemCounts) -> ActiveAlert:
    by = acknowledgement_of(alert, counts.cursors.get(evaluation.ACKNOWLEDGED))
    rule = BY_CODE[alert.code]
    return ActiveAlert(
        code=alert.code,
        severity=rule.severity.name.lower(),
        title=rule.title,
        hint=rule.hint,
        value=alert.value,
        raised_at=alert.raised_at,
        acknowledged_by=by.who if by is not None else None,
    )


def _recent(chart: Chart) -> Recent:
    latency = chart.sum_of(LATENCY.name)
    return Recent(
        minutes=RECENT,
        objects=round(chart.sum_of(OBJECTS.name).total),
        studies_written=round(chart.sum_of(STUDIES.name, "written").total),
        latency_median=_rounded(latency.quantile(0.5, LATENCY.bounds)),
        latency_95=_rounded(latency.quantile(0.95, LATENCY.bounds)),
        fhir_requests=chart.sum_of(FHIR_DURATION.name).count,
        fhir_seconds_mean=_rounded(chart.sum_of(FHIR_DURATION.name).mean, 3),
        fhir_throttled=round(chart.sum_of(FHIR_THROTTLED.name).total),
    )


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return round(value, digits) if value is not None else None


def _counted_at(counts: SystemCounts) -> datetime | None:
    tables = (counts.dirty, counts.projections, counts.dead_letters, counts.drifts)
    return min((count.at for count in tables if count.at is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rounds:
    """The part of the reconcile timer's row that is read here: the last whole round."""

    last_round: LastRound | None = None


_ROUNDS: RowValue[_Rounds] = RowValue(_Rounds)


def open_drift(counts: SystemCounts) -> OpenDrift:
    """Count the drift that is open, by kind."""
    by_kind = dict(sorted(counts.drifts.counts.items()))
    last_round = last_round_of(counts.cursors.get(RECONCILE_CURSOR))
    return OpenDrift(open=counts.drifts.total, by_kind=by_kind, last_round=last_round)


def last_round_of(row: Cursor | None) -> LastRound | None:
    """Return the last whole round in the row `RECONCILE_CURSOR`; None if there is none."""
    if row is None:
        return None
    # A row of another form holds no valid round: the timer begins a new one.
    return _ROUNDS.read_or(_Rounds(), row.position, row=row.name).last_round
