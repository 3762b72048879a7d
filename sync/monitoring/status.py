"""What an operator, or a script that waits, wants to know at a glance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import TypeAdapter

from sync.config import address_of
from sync.model import RECONCILE_CURSOR, Cursor
from sync.model.queues import OBJECTS_QUEUE
from sync.model.timestamps import Timestamp
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.evaluation import Alert
from sync.monitoring.alerts.rules import BY_CODE, Severity
from sync.monitoring.clock import CLOCK_HINT, clock_problem
from sync.monitoring.counts import FEEDS, SystemCounts, read_counts
from sync.monitoring.hints import hint_of
from sync.monitoring.history import Chart, Past, floor, read_past
from sync.operators.pause import PROJECTION, pause_of
from sync.ports import Core, Measure
from sync.protocol.walk_rows import Board
from sync.telemetry.instruments import (
    CODE,
    FAILURES,
    FHIR_DURATION,
    FHIR_THROTTLED,
    LATENCY,
    OBJECTS,
    QUEUE_MESSAGES,
    STUDIES,
)
from sync.telemetry.measurements import MINUTE, Measurement

RECENT = 5
"""Minutes over which throughput and latency are reported."""

HELD_MINUTES = 2
"""Minutes without a processed object after which leased messages are reported."""

SLOW_SECONDS = 5.0
"""Mean of a FHIR request from which on it explains why a study waits."""

OVERDUE = 2.0
"""A study that waits this many times the longest regular wait is behind, not just on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    The verdict, and why: one sentence each, the worst first.

    Failing: a critical alert is active, or the timers do not run. Behind: studies or messages wait longer than quiet
    periods explain, or a service that they wait for fails. Attention: nothing waits, but an alert is active that an
    operator should inspect, or one is about to be cleared; or our clock is wrong.
    """

    verdict: Literal["in sync", "attention", "behind", "failing"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """How far a change feed was read: when it last moved or was at its end, where it stands, and what keeps it."""

    read_at: Timestamp | None
    position: Mapping[str, Any]
    problem: Mapping[str, Any]
    """``error``, ``hint`` and ``not_before``, where there is something; in JSON beside ``position``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDrift:
    """
    What checks found to disagree and no later one found right.

    ``last_round`` tells when the last comparison of everything began and ended, and over how many studies; None when
    there was none yet.
    """

    open: int
    by_kind: Mapping[str, int]
    last_round: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Seconds that the oldest dirty study and the oldest message of each queue wait, and since each feed was read."""

    oldest_study: float
    queues: Mapping[str, float]
    feeds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """Throughput and latency of the last ``minutes``, of all workers; latencies in seconds, None without a sample."""

    minutes: int
    objects: int
    studies_written: int
    latency_median: float | None
    latency_95: float | None
    fhir_requests: int
    fhir_seconds_mean: float | None
    fhir_throttled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveAlert:
    """An alert that is active, and who acknowledged it."""

    code: str
    severity: str
    title: str
    hint: str
    value: float
    raised_at: Timestamp | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProblem:
    """
    A service that fails now: which, how, since when, and what to do.

    ``address`` is as it is set, empty when the settings do not tell which of several it is. ``since`` is the start of
    the minute of its first failure, as far back as `RECENT` minutes and active alerts reach.
    """

    service: str
    address: str
    code: str
    since: Timestamp
    hint: str

    def says(self) -> str:
        """Say it in one sentence."""
        where = f" at {self.address}" if self.address else ""
        return f"{self.service}{where} fails since {self.since:%H:%M} UTC: {self.code}. {self.hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedProjection:
    """Since when an operator has paused projection, who did, and why."""

    since: Timestamp
    who: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkStatus:
    """
    A backfill that runs or is paused, over all its workers.

    ``share`` is between 0 and 1; it and ``seconds_left`` are None while the whole is unknown.
    """

    id: str
    kind: str
    state: str
    share: float | None
    seconds_left: float | None
    workers: int
    counts: Mapping[str, int]

    def says(self) -> str:
        """Say it in one line."""
        share = f"{self.share:.0%}" if self.share is not None else f"{sum(self.counts.values()):,} so far"
        left = f", about {self.seconds_left:,.0f} s left" if self.seconds_left is not None else ""
        return f"{self.state}, {share}{left}, {self.workers} at work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """
    Whether everything that arrived is in FHIR, what is left, and how it goes.

    ``idle``: nothing is dirty and nothing queued but calls for workers. ``queued``: messages of all our queues,
    invisible ones included. ``synced_studies`` and ``synced_instances``: in FHIR now. ``held_removals``: past the
    ceiling, for an operator.
    ``counted_at`` is None when all counts are exact, as they are up to a thousand rows of a table.
    """

    idle: bool
    dirty_studies: int
    queued: int
    queues: Mapping[str, int]
    synced_studies: int
    synced_instances: int
    dead_letters: int
    feeds: Mapping[str, FeedState]
    drift: OpenDrift
    held_removals: int
    at: Timestamp
    health: Health
    lag: Lag
    recent: Recent
    dead_letters_by_code: Mapping[str, int]
    alerts: Sequence[ActiveAlert]
    counted_at: Timestamp | None
    paused: PausedProjection | None
    problems: Sequence[ServiceProblem] = ()
    walks: Sequence[WalkStatus] = ()


_JSON = TypeAdapter(Status)


def as_json(status: Status) -> dict[str, Any]:
    """Return the status as ``GET api/status`` and ``status --json`` tell it."""
    body: dict[str, Any] = _JSON.dump_python(status, mode="json")
    for feed in body["feeds"].values():
        feed.update(feed.pop("problem"))
    return body


async def status(s: Measure) -> dict[str, Any]:
    """Return `read_status` as JSON."""
    return as_json(await read_status(s))


async def read_status(s: Measure) -> Status:
    """
    Read the status; as quickly in a large world. Only reads.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    now = s.clock.now()
    counts, past = await asyncio.gather(read_counts(s), read_past(s.metrics, recently(now), now + timedelta(minutes=1)))
    return status_of(counts, past, s)


def recently(now: datetime) -> datetime:
    """Start of the minutes over which throughput and latency are reported."""
    return floor(now, MINUTE) - timedelta(minutes=RECENT)


def status_of(counts: SystemCounts, past: Past, s: Core) -> Status:
    """Put the status together from what was read; of the past at least the minutes that are recent."""
    now = s.clock.now()
    names = {
        instrument.name
        for instrument in (OBJECTS, STUDIES, LATENCY, FAILURES, FHIR_DURATION, FHIR_THROTTLED, QUEUE_MESSAGES)
    }
    chart = past.chart(names, recently(now), now + timedelta(minutes=1))
    alerts = _alerts(counts)
    problems = service_problems(chart, alerts, s)
    return Status(
        idle=counts.idle,
        dirty_studies=counts.dirty.total,
        queued=counts.queued,
        queues=dict(counts.queues),
        synced_studies=counts.projections.counts.get("studies", 0),
        synced_instances=counts.projections.counts.get("instances", 0),
        dead_letters=counts.dead_letters.total,
        feeds={row.name: _feed(row) for row in counts.cursors.values() if row.name.startswith(tuple(FEEDS))},
        drift=open_drift(counts),
        held_removals=counts.held_removals,
        at=now,
        health=judge(counts, alerts, s, held=_held(counts, chart), slow=_slow(chart, s), problems=problems),
        lag=Lag(
            oldest_study=round(counts.dirty_age, 1),
            queues={name: round(age, 1) for name, age in counts.queue_ages.items()},
            feeds={name: round(age, 1) for name, age in counts.feeds.items()},
        ),
        recent=_recent(chart),
        dead_letters_by_code=dict(sorted(counts.dead_letters.counts.items())),
        alerts=[_active(alert, counts) for alert in alerts.values() if alert.raised],
        counted_at=_counted_at(counts),
        paused=_paused(counts),
        problems=problems,
        walks=_walks(counts, now),
    )


def _walks(counts: SystemCounts, now: datetime) -> list[WalkStatus]:
    board = Board.of(list(counts.cursors.values()))
    shown = [board.progress(row, now) for row in board.walks.values() if row.state.is_open]
    return [
        WalkStatus(
            id=walk.row.id,
            kind=walk.row.kind,
            state=walk.row.state.value,
            share=walk.share,
            seconds_left=walk.seconds_left,
            workers=walk.workers,
            counts=walk.counts,
        )
        for walk in sorted(shown, key=lambda walk: walk.row.began)
    ]


_SERVICES: Mapping[str, str] = {"fhir": "The FHIR service", "source": "The source", "events": "The event topic"}
"""First part of a failure's code -> the service that fails."""


def service_problems(chart: Chart, alerts: Mapping[str, Alert], s: Core) -> list[ServiceProblem]:
    """
    Tell which services fail now: they failed in the last `RECENT` minutes, and FHIR gave no good answer since.

    Parameters
    ----------
    chart
        By the minute, with `FAILURES` and `FHIR_DURATION`.
    """
    times = chart.times()
    answered = [
        at
        for line in chart.of(FHIR_DURATION.name)
        if "2xx" in dict(line.attributes).values()
        for at, point in zip(times, line.points, strict=True)
        if point is not None
    ]
    problems = list[ServiceProblem]()
    for line in chart.of(FAILURES.name):
        code = dict(line.attributes).get(CODE.key, "")
        area = code.partition(".")[0]
        failed = [at for at, point in zip(times, line.points, strict=True) if point is not None]
        if area not in _SERVICES or not failed or (area == "fhir" and max(answered, default=failed[0]) > failed[-1]):
            continue
        since = [failed[0], *(a.raised_at for a in alerts.values() if a.raised_at and _is_about(code, a))]
        problems.append(
            ServiceProblem(
                service=_SERVICES[area],
                address=address_of(code, s.settings),
                code=code,
                since=min(since),
                hint=hint_of(code),
            )
        )
    return sorted(problems, key=lambda problem: (problem.since, problem.code))


def _is_about(code: str, alert: Alert) -> bool:
    rule = BY_CODE[alert.code]
    return rule.instrument is FAILURES and rule.concerns({CODE.key: code})


FLOW = frozenset({"alert.lag", "alert.queue", "alert.fhir_throttling", "alert.feed", "alert.missing_events"})
"""Alerts of something that waits or is missing; while any other is active, nothing need be behind."""


def judge(
    counts: SystemCounts,
    alerts: Mapping[str, Alert],
    s: Core,
    *,
    held: Sequence[str] = (),
    slow: Sequence[str] = (),
    problems: Sequence[ServiceProblem] = (),
) -> Health:
    """
    Return the verdict with its reasons. Pure but for the clock.

    Parameters
    ----------
    held
        Sentences about messages that no worker processes, see `_held`.
    slow
        Why what waits too long may wait, see `_slow`.
    problems
        Services that fail now; they keep something back only while anything is outstanding.
    """
    raised = sorted((a for a in alerts.values() if a.raised), key=lambda alert: BY_CODE[alert.code].severity.value)
    codes = {alert.code for alert in raised}
    active = [alert for alert in raised if alert.quiet_since is None]
    critical = [alert for alert in active if BY_CODE[alert.code].severity is Severity.CRITICAL]
    told = [*_clock(s), *(evaluation.sentence(alert, s) for alert in raised)]
    reasons = list[str]()
    stopped = _stopped(counts, s) if evaluation.STOPPED not in codes else ()
    overdue = OVERDUE * s.settings.max_wait
    if counts.dirty_age > overdue:
        late = f"The oldest outstanding study waits for {counts.dirty_age:.0f} s."
        reasons += [*([late] if "alert.lag" not in codes else []), *slow]
    reasons += held
    if not counts.idle:
        reasons += [problem.says() for problem in problems]
    pause = _pause_of(counts)
    why = (*stopped, *told, *reasons, *pause)
    if critical or stopped:
        return Health(verdict="failing", reasons=why)
    if reasons or any(alert.code in FLOW for alert in active) or (pause and not counts.idle):
        return Health(verdict="behind", reasons=why)
    return Health(verdict="attention" if told or pause else "in sync", reasons=why)


def _clock(s: Core) -> list[str]:
    problem = clock_problem(s.caches.clock_offset)
    return [f"{problem} {CLOCK_HINT}"] if problem else []


def _pause_of(counts: SystemCounts) -> list[str]:
    """Tell of a pause, and how it ends. It keeps nothing back while nothing is outstanding."""
    if (paused := _paused(counts)) is None:
        return []
    by = f" by {paused.who}" if paused.who else ""
    said = f"Projection is paused since {paused.since:%Y-%m-%d %H:%M} UTC{by}: {paused.why.rstrip('.')}."
    return [f"{said} To go on: python -m sync resume."]


def _paused(counts: SystemCounts) -> PausedProjection | None:
    pause = pause_of(counts.cursors.get(PROJECTION))
    return PausedProjection(since=pause.since, who=pause.who, why=pause.why) if pause is not None else None


def _held(counts: SystemCounts, chart: Chart) -> list[str]:
    """
    Tell of object messages that are leased while no object is processed.

    A killed worker's messages stay leased for ten minutes: they are in the queue, no peek shows them, and so they have
    no age. Without this the verdict would be *in sync* though objects are missing.
    """
    depth = counts.queues.get(OBJECTS_QUEUE, 0)
    if not depth or OBJECTS_QUEUE in counts.queue_ages:
        return []
    depths = [line for line in chart.of(QUEUE_MESSAGES.name) if OBJECTS_QUEUE in dict(line.attributes).values()]
    lasting = [line.points[-1 - HELD_MINUTES : -1] for line in depths]
    if not any(
        len(points) == HELD_MINUTES and all(p is not None and p.total > 0 for p in points) for points in lasting
    ):
        return []
    processed = sum(
        p.total for line in chart.of(OBJECTS.name) for p in line.points[-1 - HELD_MINUTES :] if p is not None
    )
    if processed:
        return []
    return [f"Object messages leased: {depth}; none was processed for {HELD_MINUTES} minutes: a worker was killed."]


def _slow(chart: Chart, s: Core) -> list[str]:
    """Tell of a FHIR service that answers, but so slowly that studies wait for it."""
    mean = _sum(chart, FHIR_DURATION.name).mean
    if mean is None or mean < SLOW_SECONDS:
        return []
    where, answers = address_of("fhir.unavailable", s.settings), f"answers in {mean:.0f} s in the mean of {RECENT} min"
    return [f"The FHIR service at {where} {answers}: check its load, its limits and the network."]


def _stopped(counts: SystemCounts, s: Core) -> tuple[str, ...]:
    """Report that the timers do not run, before and without any watcher that raises the alert."""
    age = evaluation.stopped_for(counts)
    rule = BY_CODE[evaluation.STOPPED]
    return (
        (f"{rule.code}: {rule.says(round(age), s.settings.alert)}",) if age > s.settings.alert.stopped_seconds else ()
    )


def _alerts(counts: SystemCounts) -> Mapping[str, Alert]:
    cursor = counts.cursors.get(evaluation.CURSOR)
    return evaluation.states(cursor.position) if cursor is not None else {}


def _active(alert: Alert, counts: SystemCounts) -> ActiveAlert:
    row = counts.cursors.get(evaluation.ACKNOWLEDGED)
    acknowledged = evaluation.acknowledgements(row.position, {alert.code: alert}) if row is not None else {}
    by = acknowledged.get(alert.code)
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
    latency = _sum(chart, LATENCY.name)
    return Recent(
        minutes=RECENT,
        objects=round(_sum(chart, OBJECTS.name).total),
        studies_written=round(_sum(chart, STUDIES.name, written=True).total),
        latency_median=_rounded(latency.quantile(0.5, LATENCY.bounds)),
        latency_95=_rounded(latency.quantile(0.95, LATENCY.bounds)),
        fhir_requests=_sum(chart, FHIR_DURATION.name).count,
        fhir_seconds_mean=_rounded(_sum(chart, FHIR_DURATION.name).mean, 3),
        fhir_throttled=round(_sum(chart, FHIR_THROTTLED.name).total),
    )


def _sum(chart: Chart, name: str, *, written: bool = False) -> Measurement:
    lines = (line for line in chart.of(name) if not written or "written" in dict(line.attributes).values())
    return sum((point for line in lines for point in line.points if point is not None), Measurement())


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return round(value, digits) if value is not None else None


def _counted_at(counts: SystemCounts) -> datetime | None:
    tables = (counts.dirty, counts.projections, counts.dead_letters, counts.drifts)
    return min((count.at for count in tables if count.at is not None), default=None)


def _feed(row: Cursor) -> FeedState:
    return FeedState(
        read_at=row.advanced_at,
        position={key: row.position[key] for key in ("until", "sequence", "since", "checked") if key in row.position},
        problem={key: row.position[key] for key in ("error", "hint", "not_before") if row.position.get(key)},
    )


def open_drift(counts: SystemCounts) -> OpenDrift:
    """Count the drift that is open, by kind."""
    row = counts.cursors.get(RECONCILE_CURSOR)
    last_round = row.position.get("last_round") if row is not None else None
    by_kind = dict(sorted(counts.drifts.counts.items()))
    return OpenDrift(open=counts.drifts.total, by_kind=by_kind, last_round=last_round or None)
