"""
The overview page: shows in five seconds whether imaging and FHIR agree and, if not, why.

All data of the page are read concurrently, and each part needs a bounded number of requests, whatever the number of
studies.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, reduce
from operator import add
from typing import Any

from sync.config import AlertSettings
from sync.dead_letters import queries
from sync.model.queues import OBJECTS_QUEUE, SLICES_QUEUE, STUDIES_QUEUE
from sync.monitoring.counts import read_counts
from sync.monitoring.headline import headline, verdict_words
from sync.monitoring.history import Chart, Line, Past, end_of, read_past
from sync.monitoring.status import recently, status_of
from sync.monitoring.status_model import ActiveAlert, Status
from sync.operators.pause import PROJECTION, pause_of
from sync.ports import Core, Measure, Services
from sync.protocol.removals import CURSOR as CEILING
from sync.protocol.removals import ceiling_of
from sync.telemetry.instruments import (
    ALERT_STEP,
    ALERTS,
    CODE,
    DEAD_LETTERS,
    DIRTY_AGE,
    DIRTY_STUDIES,
    FHIR_DURATION,
    FHIR_THROTTLED,
    KEPT_DEAD_LETTERS,
    LATENCY,
    OBJECTS,
    QUEUE_AGE,
    STUDIES,
    Instrument,
)
from sync.telemetry.measurements import HOUR, MINUTE, TENTH, Measurement
from sync.web import next_steps
from sync.web.charts import Curve, Graph, number_text
from sync.web.rendering import REFRESH, RenderedPage, Visit, render, span
from sync.words import noun_of

RECENT = 15
"""Studies in the list of recent ones."""

RANGES = {
    "hour": ("last hour", HOUR, MINUTE),
    "day": ("last day", 24 * HOUR, TENTH),
    "week": ("last week", 168 * HOUR, HOUR),
}
_PER = {MINUTE: "a minute", TENTH: "in 10 minutes", HOUR: "an hour"}
TREND = timedelta(days=1)
_SHOWN = (
    ALERTS,
    OBJECTS,
    STUDIES,
    LATENCY,
    FHIR_DURATION,
    FHIR_THROTTLED,
    DIRTY_AGE,
    DIRTY_STUDIES,
    KEPT_DEAD_LETTERS,
    QUEUE_AGE,
)
_NAMES = {instrument.name for instrument in _SHOWN}
_CALM = "Every object that could be read is in FHIR, no study waits too long, and no alert is active."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """
    One stage of the way from the source to FHIR: its amount of work, the age of the oldest item, and its rate.

    A text is empty if a stage has no such value.
    """

    name: str
    count: str
    noun: str
    oldest: str = ""
    rate: str = ""
    late: bool = False


async def overview(visit: Visit, s: Services, *, message: str = "") -> RenderedPage:
    """Show the overview."""
    chosen = visit.request.query.get("range", "hour")
    chosen = chosen if chosen in RANGES else "hour"
    _, seconds, step = RANGES[chosen]
    now = s.clock.now()
    counts, past, recent = await asyncio.gather(read_counts(s), _past(now, seconds, step, s), s.history.latest(RECENT))
    status = status_of(counts, past, s)
    pause = pause_of(counts.cursors.get(PROJECTION))
    verdict, tone = headline(status)
    return render(
        visit,
        "overview.html",
        title=f"{verdict}: overview",
        here="",
        refresh=REFRESH,
        said=message,
        verdict=verdict,
        tone=tone,
        reasons=status.health.reasons,
        parts=parts(status),
        steps=next_steps.next_steps(status, may_operate=visit.caller.may_operate),
        at=status.at,
        calm=_CALM,
        pause=pause,
        ceiling=ceiling_of(counts.cursors.get(CEILING)),
        held_removals=counts.held_removals,
        stages=stages(status, s),
        counted_at=status.counted_at,
        alerts=status.alerts,
        range=chosen,
        ranges=[(name, label) for name, (label, _, _) in RANGES.items()],
        graphs=graphs(
            past.chart(_NAMES, now - timedelta(seconds=seconds), end_of(now, step), step=step),
            s.settings.alert,
            status.alerts,
        ),
        groups=await queries.overview(counts.dead_letters, s, newest=0),
        trends=dead_letter_trends(past, now),
        problem_codes=[problem.code for problem in status.problems],
        drift=drift_of(status),
        recent=recent,
    )


async def _past(now: datetime, seconds: int, step: int, s: Measure) -> Past:
    """Read the metrics of all parts of the page once: the chart, the last day by the hour, the last minutes."""
    since = now - timedelta(seconds=seconds)
    length, minutes = (HOUR, since) if step == MINUTE else (step, recently(now))
    return await read_past(
        s.metrics, min(since, now - TREND), now + timedelta(minutes=1), length=length, minutes=minutes
    )


def parts(status: Status) -> list[tuple[str, str, str]]:
    """
    Return the parts of the verdict: name, finding, tone. Each is true by itself.

    The flow may be in sync although files were rejected or FHIR differs: one word for all three would hide two of them.
    """
    # An alert that needs attention does not hold up the flow.
    word, tone = verdict_words("in sync" if status.health.verdict == "attention" else status.health.verdict)
    if status.paused is not None and tone != "bad":
        word, tone = "Paused", "warn"
    rejected = f"{number_text(status.dead_letters)} to resolve" if status.dead_letters else "none"
    drift = f"{number_text(status.drift.open)} open" if status.drift.open else "none"
    return [
        ("Flow", word.lower(), tone),
        ("Dead letters", rejected, "warn" if status.dead_letters else "good"),
        ("Drift", drift, "warn" if status.drift.open else "good"),
    ]


def stages(status: Status, s: Core) -> list[Stage]:
    """Return the stages in the order in which an object passes them; slices only while a backfill calls workers."""
    recent, lag, alert = status.recent, status.lag, s.settings.alert
    feeds = [f"{name} read {span(age)} ago" for name, age in lag.feeds.items()]
    median, slow = recent.latency_median, recent.latency_95
    latency = "" if median is None or slow is None else f"{span(median)} median, {span(slow)} for 95 %"
    throttled = f", {number_text(recent.fhir_throttled)} answered 429" if recent.fhir_throttled else ""
    return [
        Stage(
            name="Source",
            count=number_text(recent.objects),
            noun=f"objects in {recent.minutes} min",
            oldest="; ".join(feeds) or "reports by events",
            late=any(age > alert.feed_lag_seconds for age in lag.feeds.values()),
        ),
        *([_queue("Slices", SLICES_QUEUE, status, alert.queue_age_seconds)] if status.queues.get(SLICES_QUEUE) else []),
        _queue("Objects", OBJECTS_QUEUE, status, alert.queue_age_seconds),
        Stage(
            name="Ledger",
            count=number_text(status.dirty_studies),
            noun=noun_of(status.dirty_studies, "dirty study", "dirty studies"),
            oldest=f"oldest {span(lag.oldest_study)}" if status.dirty_studies else "none waits",
            late=lag.oldest_study > alert.lag_seconds,
        ),
        _queue("Studies", STUDIES_QUEUE, status, alert.queue_age_seconds),
        Stage(
            name="FHIR",
            count=number_text(status.synced_studies),
            noun=f"{noun_of(status.synced_studies, 'study', 'studies')}, "
            f"{number_text(status.synced_instances)} {noun_of(status.synced_instances, 'instance')}",
            oldest=latency,
            rate=f"{number_text(recent.studies_written)} written in {recent.minutes} min{throttled}",
            late=recent.fhir_throttled > 0,
        ),
    ]


def _queue(name: str, queue: str, status: Status, limit: float) -> Stage:
    depth, age = status.queues.get(queue, 0), status.lag.queues.get(queue)
    oldest = f"oldest {span(age)}" if age else "leased" if depth else "none waits"
    return Stage(
        name=name,
        count=number_text(depth),
        noun=noun_of(depth, "message"),
        oldest=oldest,
        late=(age or 0) > limit,
    )


def drift_of(status: Status) -> dict[str, Any]:
    """Return the drift that checks found, as the page shows it."""
    last = status.drift.last_round
    ended = last.ended.isoformat() if last is not None else None
    return {"open": status.drift.open, "counts": status.drift.by_kind, "at": ended}


def dead_letter_trends(past: Past, now: datetime) -> dict[str, float]:
    """Count the dead letters written in the last day, by code."""
    chart = past.chart({DEAD_LETTERS.name}, now - TREND, end_of(now, HOUR), step=HOUR)
    return {
        dict(line.attributes).get("error.type", ""): sum(point.total for point in line.points if point)
        for line in chart.of(DEAD_LETTERS.name)
    }


def incidents(chart: Chart, alerts: Sequence[ActiveAlert] = ()) -> tuple[tuple[int, int], ...]:
    """
    Return from which to which point an alert was active.

    Parameters
    ----------
    alerts
        The alerts that are active now: if one was raised before the chart begins, the chart has no measurement of it.
    """
    places = set[int]()
    length = len(chart.times())
    for alert in alerts:
        raised_at = alert.raised_at or chart.start
        places |= set(range(max(int((raised_at - chart.start).total_seconds() // chart.step), 0), length))
    by_code = defaultdict[str, dict[str, Sequence[Measurement | None]]](dict)
    for line in chart.of(ALERTS.name):
        attributes = dict(line.attributes)
        by_code[attributes.get(CODE.key, "")][attributes.get(ALERT_STEP.key, "")] = line.points
    for steps in by_code.values():
        raised, cleared = steps.get("raised", ()), steps.get("cleared", ())
        active = _first(cleared) < _first(raised)
        for place in range(length):
            begins, ends = _counted_at(raised, place), _counted_at(cleared, place)
            if active or begins:
                places.add(place)
            active = (active or begins) and not ends
    return _stretches(places)


def _first(points: Sequence[Measurement | None]) -> float:
    return next((place for place, point in enumerate(points) if point), math.inf)


def _counted_at(points: Sequence[Measurement | None], place: int) -> bool:
    return place < len(points) and points[place] is not None


def _stretches(places: set[int]) -> tuple[tuple[int, int], ...]:
    stretches: list[tuple[int, int]] = []
    for place in sorted(places):
        if stretches and place == stretches[-1][1] + 1:
            stretches[-1] = (stretches[-1][0], place)
        else:
            stretches.append((place, place))
    return tuple(stretches)


def graphs(chart: Chart, alert: AlertSettings, alerts: Sequence[ActiveAlert] = ()) -> list[Graph]:
    """Return the charts of the page, with the thresholds of the alerts and the times at which one was active."""
    graph = partial(Graph, start=chart.start, step=chart.step, unit="", incidents=incidents(chart, alerts))
    return [*_work_done(chart, graph), *_work_left(chart, alert, graph)]


def _work_done(chart: Chart, graph: Callable[..., Graph]) -> list[Graph]:
    """Return the charts of objects, studies and requests over time, and of their durations."""
    per = _PER.get(chart.step, "")
    return [
        graph(
            key="objects",
            title=f"Objects inspected {per}",
            curves=(Curve(name="objects", points=_totals(chart, OBJECTS.name)),),
        ),
        graph(
            key="studies",
            title=f"Studies written {per}",
            curves=(Curve(name="studies", points=_totals(chart, STUDIES.name, _written)),),
        ),
        graph(
            key="latency",
            title="From arrival to FHIR",
            unit=" s",
            curves=(
                Curve(name="95 %", points=_quantiles(chart, 0.95)),
                Curve(name="median", points=_quantiles(chart, 0.5)),
            ),
            gaps_are_zero=False,
        ),
        graph(
            key="fhir",
            title=f"FHIR requests {per}",
            curves=(
                Curve(
                    name="requests",
                    points=_points(chart, FHIR_DURATION.name, lambda sample: float(sample.count)),
                ),
                Curve(name="answered 429", points=_totals(chart, FHIR_THROTTLED.name)),
            ),
        ),
    ]


def _work_left(chart: Chart, alert: AlertSettings, graph: Callable[..., Graph]) -> list[Graph]:
    """Return the charts of waiting work and its age, with the thresholds of the alerts."""

    def gauge(key: str, title: str, name: str, instrument: Instrument, **more: Any) -> Graph:
        curve = Curve(name=name, points=_highest(chart, instrument.name))
        return graph(key=key, title=title, curves=(curve,), gaps_are_zero=False, **more)

    return [
        gauge("dirty", "Dirty studies", "studies", DIRTY_STUDIES),
        gauge("age", "Oldest dirty study", "oldest", DIRTY_AGE, unit=" s", threshold=alert.lag_seconds),
        gauge("queue", "Oldest message", "oldest", QUEUE_AGE, unit=" s", threshold=alert.queue_age_seconds),
        gauge("letters", "Dead letters kept", "dead letters", KEPT_DEAD_LETTERS),
    ]


def _written(line: Line) -> bool:
    return "written" in dict(line.attributes).values()


def _totals(chart: Chart, name: str, accepts: Callable[[Line], bool] = lambda _: True) -> list[float | None]:
    return _points(chart, name, lambda sample: sample.total, accepts)


def _highest(chart: Chart, name: str) -> list[float | None]:
    return _points(chart, name, lambda sample: sample.highest)


def _quantiles(chart: Chart, share: float) -> list[float | None]:
    return _points(chart, LATENCY.name, lambda sample: sample.quantile(share, LATENCY.bounds))


def _points(
    chart: Chart,
    name: str,
    of: Callable[[Measurement], float | None],
    accepts: Callable[[Line], bool] = lambda _: True,
) -> list[float | None]:
    """Add up an instrument's lines for each time, and take one number of each sum."""
    lines = [line.points for line in chart.of(name) if accepts(line)]
    measured = ([point for point in column if point is not None] for column in zip(*lines, strict=True))
    return [of(reduce(add, points)) if points else None for points in measured]
