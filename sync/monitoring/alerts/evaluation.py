"""
Evaluates alerts: each is raised once and cleared once, for any number of evaluators and any crash in between.

    evaluate_alerts (timer, each worker)  ->  one holds the lease  ->  figures and series  ->  state of each rule
        ->  states and unsent notices in one conditional write  ->  send, strike out

The cursor ``alerts`` holds the states and, as the outbox, the unsent notices. If a worker dies between sending and
striking out, the next one sends the same notice again, with the same id. If it dies earlier, or its write loses a race,
every notice is still sent once. Acknowledgements have their own row, so that a person and an evaluation never overwrite
each other.

An outside watcher (`python -m sync alerts watch`) uses the same cursor, so two watchers do not send duplicate notices.
The cursor also holds when the app itself last evaluated. By it, the outside watcher detects a stopped app while it
lasts, and the app detects it when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sync.errors import StoreConflict, SyncError
from sync.model import Cursor, Json, digest
from sync.model.timestamps import Timestamp
from sync.monitoring.alerts.rules import BY_CODE, LONGEST_WINDOW, RELEASE, RULES, Aggregation, Rule
from sync.monitoring.counts import SystemCounts, measure_counts, read_counts
from sync.monitoring.history import Chart, Recorder, floor, read_metrics
from sync.operators.audit import OperatorAction, record_action
from sync.ports import AlertChannel, Control, Core, Jobs, Measure, Notice
from sync.protocol.leases import held
from sync.protocol.optimistic import change_position
from sync.protocol.row_values import RowValue
from sync.telemetry.instruments import (
    ALERTS,
    DIRTY_AGE,
    FEED_LAG,
    HELD_REMOVALS,
    MISSING_EVENT_AGE,
    OPEN_DRIFT,
    QUEUE_AGE,
    RUN_OUTCOME,
)
from sync.telemetry.measurements import MINUTE

CURSOR = "alerts"
ACKNOWLEDGED = "alerts.acknowledged"
RAN = "alerts.ran"
"""Row in which the app records that it runs, because an outside evaluator may always get the lease first."""

STOPPED = "alert.stopped"

MOST_UNSENT = 200
"""Maximum notices that wait for a failing channel; beyond it, the oldest are dropped."""

LONGEST_UNSENT = timedelta(hours=1)
"""How long sending a notice is retried; later, it would report an old event."""

_LEASE = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """
    The state of one rule.

    ``raised_at`` is None while the alert is not raised. ``quiet_since`` is the time since which a raised alert has been
    below its threshold; it is cleared only if that lasts. ``number`` counts how often it was raised: code and number
    identify one alert for ever.
    """

    code: str
    value: float = 0.0
    worst: float = 0.0
    number: int = 0
    raised_at: Timestamp | None = None
    quiet_since: Timestamp | None = None
    cleared_at: Timestamp | None = None

    @property
    def raised(self) -> bool:
        """Whether the alert is raised now."""
        return self.raised_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """
    The content of the row of the last evaluation.

    ``unsent`` are notices that were not sent yet, each with its channel. ``app_at`` is the time when the app itself
    last evaluated, or when an outside watcher first checked for it; None before both.
    """

    alerts: tuple[Alert, ...] = ()
    unsent: tuple[tuple[Notice, str], ...] = ()
    app_at: Timestamp | None = None

    @classmethod
    def of(cls, cursor: Cursor | None) -> Evaluated:
        """Return the content of the row; an empty one without a row. Raises like `RowValue.read`."""
        return EVALUATED.read(cursor.position, row=cursor.name) if cursor is not None else cls()

    @property
    def states(self) -> Mapping[str, Alert]:
        """Return the alerts that have a rule, by code."""
        return {alert.code: alert for alert in self.alerts if alert.code in BY_CODE}


EVALUATED: RowValue[Evaluated] = RowValue(Evaluated)


def step(alert: Alert, rule: Rule, value: float, s: Core) -> tuple[Alert, Notice | None]:
    """
    Advance one alert by one evaluation. Pure except for the clock.

    Returns
    -------
    tuple
        The new state of the alert, and the notice if this step raised or cleared it.
    """
    limits, now = s.settings.alert, s.clock.now()
    threshold = rule.threshold(limits)
    current = replace(alert, value=value, worst=max(alert.worst, value))
    if not alert.raised:
        if value <= threshold:
            return replace(current, worst=0.0), None
        raised = replace(current, number=alert.number + 1, worst=value, raised_at=now, quiet_since=None)
        return raised, _notice("raised", raised, rule, s)
    if value > threshold * RELEASE:
        return replace(current, quiet_since=None), None
    since = alert.quiet_since or now
    if (now - since).total_seconds() < limits.clear_after_seconds:
        return replace(current, quiet_since=since), None
    cleared = replace(current, raised_at=None, quiet_since=None, cleared_at=now)
    return cleared, _notice("cleared", replace(cleared, raised_at=alert.raised_at), rule, s)


def _notice(kind: str, alert: Alert, rule: Rule, s: Core) -> Notice:
    s.telemetry.measure(ALERTS, code=rule.code, step=kind)
    name = digest(s.settings.fhir_url, rule.code, str(alert.number), str(alert.raised_at), length=24)
    return Notice(
        id=f"{name}-{kind}",
        alert=name,
        step=kind,
        code=rule.code,
        severity=rule.severity.name.lower(),
        text=_text(kind, alert, rule, s),
        at=s.clock.now(),
        value=alert.value,
        threshold=rule.threshold(s.settings.alert),
    )


def _text(kind: str, alert: Alert, rule: Rule, s: Core) -> str:
    if kind == "cleared":
        return rule.says(alert.worst, s.settings.alert)
    return f"{rule.says(alert.value, s.settings.alert)} {rule.hint}"


async def evaluate_alerts(
    s: Measure, *, recorder: Recorder, channels: Mapping[str, AlertChannel], outside: bool = False
) -> Sequence[Notice]:
    """
    Evaluate every rule, store the states, and send notices of changes. Idempotent, also after a crash.

    Parameters
    ----------
    outside
        A process other than the app evaluates, which does not prove that the timers run.

    Returns
    -------
    Sequence
        Notices of the alerts that this call raised or cleared; empty when another worker evaluates.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: the state is unknown, so nothing changes.
    """
    async with held(CURSOR, s, seconds=_LEASE) as lease:
        if lease is None:
            if not outside:
                await _sign(s)
            return ()
        values = await measured_values(s, recorder, outside=outside)
        before = EVALUATED.read(lease.position, row=CURSOR)
        ran_at = (before.app_at if outside else None) or s.clock.now()
        alerts, notices = _evaluated(before.states, values, s)
        unsent = [*before.unsent, *[(n, channel) for n in notices for channel in channels]]
        if not unsent:
            await lease.finish(_position(alerts, unsent, ran_at))
            return notices
        # Stored before they are sent: after a crash in between they are sent again, and none is lost.
        await lease.advance(_position(alerts, unsent, ran_at))
        remaining = await _send(unsent[-MOST_UNSENT:], channels, s)
        if remaining != unsent:
            await lease.advance(_position(alerts, remaining, ran_at))
        return notices
    return ()  # another process took over, and sends the stored notices


def sentence(alert: Alert, s: Core) -> str:
    """Describe a raised alert: its value or, if it is clearing, since when and when it will be cleared."""
    rule, limits = BY_CODE[alert.code], s.settings.alert
    if alert.quiet_since is None:
        return f"{rule.code}: {rule.says(alert.value, limits)}"
    quiet = max(round((s.clock.now() - alert.quiet_since).total_seconds()), 0)
    left = max(round(limits.clear_after_seconds) - quiet, 0)
    cleared = f"in {left} s" if left else "at the next evaluation"  # it may never come: the timers may not run
    return f"{rule.code}: over for {quiet} s, cleared {cleared}. At its worst: {rule.says(alert.worst, limits)}"


def _evaluated(
    previous: Mapping[str, Alert], values: Mapping[str, float], s: Core
) -> tuple[Mapping[str, Alert], Sequence[Notice]]:
    alerts, notices = dict[str, Alert](), list[Notice]()
    for rule in RULES:
        before = previous.get(rule.code, Alert(code=rule.code))
        alerts[rule.code], notice = step(before, rule, values.get(rule.code, 0.0), s)
        if notice is not None:
            notices.append(notice)
            level = logging.WARNING if notice.step == "raised" else logging.INFO
            s.telemetry.event(f"alert.{notice.step}", level, code=rule.code, value=round(notice.value, 1))
    return alerts, notices


async def _sign(s: Jobs) -> None:
    """
    Record that the app runs, as of the last successful evaluation. Idempotent; one of several calls is enough.

    The time is not that of the call: if the lease holder, another host of the app, cannot evaluate, it does not sign,
    and a host that finds the lease taken must not sign in its place. Otherwise, no host would report the outage.
    """
    evaluated, stored = await asyncio.gather(s.cursors.read(CURSOR), s.cursors.read(RAN))
    at = evaluated.value.advanced_at if evaluated is not None else None
    if at is None:
        return
    row = Cursor(name=RAN, position=EVALUATED.write(Evaluated(app_at=at)), advanced_at=s.clock.now())
    with suppress(StoreConflict):
        await s.cursors.write(row, stored.etag if stored is not None else None)


async def measured_values(s: Measure, recorder: Recorder, *, outside: bool = False) -> Mapping[str, float]:
    """
    Measure the current state, and return the value of every rule; ``outside`` as for `evaluate_alerts`.

    Sums come from the measurements of all workers: this worker's are written first, others' are at most one interval
    old.
    """
    counts = await read_counts(s)
    measure_counts(counts, s)
    await recorder.flush()
    now = s.clock.now()
    names = {rule.instrument.name for rule in RULES if rule.figure in (Aggregation.SUM, Aggregation.FAILING)}
    start = floor(now, MINUTE) - timedelta(minutes=LONGEST_WINDOW)
    chart = await read_metrics(s.metrics, names, start, now + timedelta(minutes=1))
    stopped = stopped_for(counts, runs=not outside)
    return {rule.code: stopped if rule.figure is Aggregation.ABSENT else _figure(rule, counts, chart) for rule in RULES}


def _figure(rule: Rule, counts: SystemCounts, chart: Chart) -> float:
    if rule.figure is Aggregation.SUM:
        return sum(
            point.total
            for line in chart.of(rule.instrument.name)
            if rule.concerns(dict(line.attributes))
            for point in line.points[-rule.minutes - 1 :]
            if point is not None
        )
    if rule.figure is Aggregation.FAILING:
        return _failing_for(chart, rule, counts.at)
    return {
        DIRTY_AGE.name: counts.dirty_age,
        QUEUE_AGE.name: max(counts.queue_ages.values(), default=0.0),
        FEED_LAG.name: max(counts.feeds.values(), default=0.0),
        MISSING_EVENT_AGE.name: counts.missing_event_age,
        OPEN_DRIFT.name: float(counts.drifts.total),
        HELD_REMOVALS.name: float(counts.held_removals),
    }[rule.instrument.name]


def _failing_for(chart: Chart, rule: Rule, now: datetime) -> float:
    """Return for how many seconds the worst attribute set has failed since its last minute with a success."""
    failed, succeeded = defaultdict[frozenset[str], list[datetime]](list), dict[frozenset[str], datetime]()
    for line in chart.of(rule.instrument.name):
        attributes = dict(line.attributes)
        outcome = attributes.pop(RUN_OUTCOME.key, "")
        minutes = [at for at, point in zip(chart.times(), line.points, strict=True) if point is not None]
        attribute_set = frozenset(attributes.values())
        if outcome == "failed":
            failed[attribute_set] += minutes
        elif minutes:
            succeeded[attribute_set] = max(minutes)
    since = (
        min(
            (at for at in times if at > succeeded[attribute_set]) if attribute_set in succeeded else times, default=None
        )
        for attribute_set, times in failed.items()
    )
    return max(((now - at).total_seconds() for at in since if at is not None), default=0.0)


async def _send(
    unsent: Sequence[tuple[Notice, str]], channels: Mapping[str, AlertChannel], s: Core
) -> list[tuple[Notice, str]]:
    """Send each notice through its channel; return those still to be sent. A channel that fails is left alone."""
    remaining: list[tuple[Notice, str]] = []
    for notice, name in unsent:
        if name in {failing for _, failing in remaining}:
            remaining.append((notice, name))
            continue
        channel = channels.get(name)
        if channel is None or s.clock.now() - notice.at > LONGEST_UNSENT:
            s.telemetry.event("alert.unsent", logging.ERROR, code=notice.code, channel=name)
            continue
        try:
            await channel.send(notice)
        except SyncError as failure:
            s.telemetry.event("alert.not_sent", logging.WARNING, code=failure.code, channel=name)
            remaining.append((notice, name))
    return remaining


def stopped_for(counts: SystemCounts, *, runs: bool = False) -> float:
    """
    Return for how many seconds the timers of the app did not run.

    If they never ran: for how long a study has been waiting for them, and 0 if the app itself asks (``runs``).
    """
    rows = (counts.cursors.get(name) for name in (CURSOR, RAN))
    at = max((at for row in rows if (at := Evaluated.of(row).app_at)), default=None)
    if at is None:
        return 0.0 if runs else counts.dirty_age
    return (counts.at - at).total_seconds()


def _position(alerts: Mapping[str, Alert], unsent: Sequence[tuple[Notice, str]], ran_at: datetime) -> Json:
    waiting = tuple(unsent[-MOST_UNSENT:])
    return EVALUATED.write(Evaluated(alerts=tuple(alerts.values()), unsent=waiting, app_at=ran_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Who acknowledged an active alert and when; ``number`` is the alert's."""

    number: int
    who: str
    at: Timestamp


_ACKNOWLEDGED: RowValue[Mapping[str, Acknowledgement]] = RowValue(Mapping[str, Acknowledgement])


async def acknowledge(code: str, who: str, s: Control) -> Alert | None:
    """
    Acknowledge an active alert until it fires again. Idempotent; the latest counts.

    Returns
    -------
    Alert or None
        None when the alert is not raised: then nothing is recorded.

    Raises
    ------
    Contention
        Too many people at once.
    """
    cursor = await s.cursors.read(CURSOR)
    alert = Evaluated.of(cursor.value if cursor is not None else None).states.get(code)
    if alert is None or not alert.raised:
        return None
    await record_action(OperatorAction.ACKNOWLEDGE, s, who=who, subject=code)
    entry = Acknowledgement(number=alert.number, who=who, at=s.clock.now())

    def with_entry(row: Cursor) -> Json:
        return _ACKNOWLEDGED.write({**_acknowledged(row), code: entry})

    await change_position(ACKNOWLEDGED, with_entry, s, subject="an acknowledgement")
    s.telemetry.event("alert.acknowledged", code=code)
    return alert


def acknowledgement_of(alert: Alert, row: Cursor | None) -> Acknowledgement | None:
    """Return the acknowledgement of a raised alert; None if the alert was raised again since."""
    entry = _acknowledged(row).get(alert.code) if row is not None else None
    return entry if entry is not None and alert.raised and alert.number == entry.number else None


def _acknowledged(row: Cursor) -> Mapping[str, Acknowledgement]:
    """Return the row's acknowledgements by code; content of an unknown form counts as none."""
    return _ACKNOWLEDGED.read_or({}, row.position, row=ACKNOWLEDGED)
