"""
The verdict of the status: whether everything that arrived is in FHIR and, if not, the reason in a sentence.

`sync.monitoring.status` passes counts, alerts and the chart of the last minutes; the dashboard, ``status`` and ``GET
api/status`` show the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sync.config import address_of
from sync.model.queues import OBJECTS_QUEUE
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.evaluation import Alert
from sync.monitoring.alerts.rules import BY_CODE, Severity
from sync.monitoring.clock import CLOCK_HINT, clock_problem
from sync.monitoring.counts import SystemCounts
from sync.monitoring.history import Chart
from sync.monitoring.status_model import RECENT, Health, PausedProjection, ServiceProblem
from sync.operators.pause import PROJECTION, pause_of
from sync.ports import Core
from sync.telemetry.instruments import FHIR_DURATION, OBJECTS, QUEUE_MESSAGES

HELD_MINUTES = 2
"""Minutes without a processed object after which leased messages are reported."""

SLOW_SECONDS = 5.0
"""Mean duration of a FHIR request from which on the service counts as the reason why a study waits."""

OVERDUE = 2.0
"""A study that waits this many times the longest regular wait is behind, not just being processed."""

FLOW = frozenset({"alert.lag", "alert.queue", "alert.fhir_throttling", "alert.feed", "alert.missing_events"})
"""Alerts that mean that work waits or events are missing; other alerts do not mean that the flow is behind."""


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
    Return the verdict with its reasons. Pure except for the clock.

    Parameters
    ----------
    held
        Sentences about messages that no worker processes, see `messages_held`.
    slow
        Why a study may wait too long, see `slow_fhir`.
    problems
        Services that fail now; they delay work only while work is outstanding.
    """
    raised = sorted((a for a in alerts.values() if a.raised), key=lambda alert: BY_CODE[alert.code].severity.value)
    codes = {alert.code for alert in raised}
    active = [alert for alert in raised if alert.quiet_since is None]
    critical = [alert for alert in active if BY_CODE[alert.code].severity is Severity.CRITICAL]
    told = [*_clock(s), *(evaluation.sentence(alert, s) for alert in raised)]
    reasons = list[str]()
    stopped = _stopped(counts, s) if evaluation.STOPPED not in codes else ()
    if is_overdue(counts, s):
        late = f"The oldest outstanding study has waited for {counts.dirty_age:.0f} s."
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


def is_overdue(counts: SystemCounts, s: Core) -> bool:
    """Return whether the oldest outstanding study waits for longer than the regular waits explain."""
    return counts.dirty_age > OVERDUE * s.settings.max_wait


def _clock(s: Core) -> list[str]:
    problem = clock_problem(s.caches.clock_offset)
    return [f"{problem} {CLOCK_HINT}"] if problem else []


def _pause_of(counts: SystemCounts) -> list[str]:
    """Report a pause, and how it ends. A pause delays no study while none is outstanding."""
    if (paused := paused_projection(counts)) is None:
        return []
    by = f" by {paused.who}" if paused.who else ""
    said = f"Projection is paused since {paused.since:%Y-%m-%d %H:%M} UTC{by}: {paused.why.rstrip('.')}."
    return [f"{said} To continue: python -m sync resume."]


def paused_projection(counts: SystemCounts) -> PausedProjection | None:
    """Return the pause that is in force; None when projection continues."""
    pause = pause_of(counts.cursors.get(PROJECTION))
    return PausedProjection(since=pause.since, who=pause.who, why=pause.why) if pause is not None else None


def messages_held(counts: SystemCounts, chart: Chart) -> list[str]:
    """
    Report object messages that are leased while no object is processed.

    A killed worker's messages stay leased for ten minutes: they are in the queue, but no peek shows them, and so they
    have no age. Without this report the verdict would be *in sync* although objects are missing.
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
    return [
        f"Object messages leased: {depth}; none was processed for {HELD_MINUTES} minutes. A worker was probably killed."
    ]


def slow_fhir(chart: Chart, s: Core) -> list[str]:
    """Report a FHIR service that answers, but so slowly that studies wait for it."""
    mean = chart.sum_of(FHIR_DURATION.name).mean
    if mean is None or mean < SLOW_SECONDS:
        return []
    where, answers = address_of("fhir.unavailable", s.settings), f"answers in {mean:.0f} s in the mean of {RECENT} min"
    return [f"The FHIR service at {where} {answers}: check its load, its limits and the network."]


def _stopped(counts: SystemCounts, s: Core) -> tuple[str, ...]:
    """Report that the timers do not run, even before or without a watcher that raises the alert."""
    age = evaluation.stopped_for(counts)
    rule = BY_CODE[evaluation.STOPPED]
    return (
        (f"{rule.code}: {rule.says(round(age), s.settings.alert)}",) if age > s.settings.alert.stopped_seconds else ()
    )
