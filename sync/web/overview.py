"""
The overview: in five seconds, whether imaging and FHIR agree, and if not, why.

All that is shown is read at once, and each part costs a bounded number of requests, however large the world is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import Any

from sync.dead_letters import queries
from sync.monitoring.counts import read_counts
from sync.monitoring.history import Chart, Line, Past, read_past
from sync.monitoring.status import Status, recently, status_of
from sync.operators.pause import PROJECTION, pause_of
from sync.ports import Measure, Services
from sync.protocol.removals import CURSOR as CEILING
from sync.protocol.removals import ceiling_of
from sync.telemetry.instruments import (
    DEAD_LETTERS,
    DIRTY_STUDIES,
    FHIR_DURATION,
    FHIR_THROTTLED,
    KEPT_DEAD_LETTERS,
    LATENCY,
    OBJECTS,
    STUDIES,
)
from sync.telemetry.measurements import HOUR, MINUTE, TENTH, Measurement
from sync.web.charts import Curve, Graph, number_text
from sync.web.rendering import REFRESH, Page, Visit, render, span

RECENT = 15
"""Studies in the list of recent ones."""

RANGES = {
    "hour": ("last hour", HOUR, MINUTE),
    "day": ("last day", 24 * HOUR, TENTH),
    "week": ("last week", 168 * HOUR, HOUR),
}
TREND = timedelta(days=1)
_NAMES = {
    each.name for each in (OBJECTS, STUDIES, LATENCY, FHIR_DURATION, FHIR_THROTTLED, DIRTY_STUDIES, KEPT_DEAD_LETTERS)
}
_WORDS = {
    "in sync": ("In sync", "good"),
    "attention": ("Needs attention", "warn"),
    "behind": ("Behind", "warn"),
    "failing": ("Failing", "bad"),
}
_CALM = "Every object that could be read is in FHIR, no study waits too long, and no alert is active."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number of the overview."""

    name: str
    value: str
    late: bool = False


async def overview(visit: Visit, s: Services, *, message: str = "") -> Page:
    """Show the overview."""
    chosen = visit.request.query.get("range", "hour")
    chosen = chosen if chosen in RANGES else "hour"
    _, seconds, step = RANGES[chosen]
    now = s.clock.now()
    counts, past, recent = await asyncio.gather(read_counts(s), _past(now, seconds, step, s), s.history.latest(RECENT))
    status = status_of(counts, past, s)
    pause = pause_of(counts.cursors.get(PROJECTION))
    verdict, tone = _WORDS[status.health.verdict]
    return render(
        visit,
        "overview.html",
        title=f"{verdict}: overview",
        here="",
        refresh=REFRESH,
        said=message,
        verdict="Paused" if pause and tone != "bad" else verdict,
        tone=tone,
        reasons=status.health.reasons,
        parts=parts(status),
        at=status.at,
        calm=_CALM,
        pause=pause,
        ceiling=ceiling_of(counts.cursors.get(CEILING)),
        held_removals=counts.held_removals,
        tiles=tiles(status),
        counted_at=status.counted_at,
        alerts=status.alerts,
        range=chosen,
        ranges=[(name, label) for name, (label, _, _) in RANGES.items()],
        graphs=graphs(past.chart(_NAMES, now - timedelta(seconds=seconds), now + timedelta(seconds=step), step=step)),
        groups=await queries.overview(counts.dead_letters, s, newest=0),
        trends=dead_letter_trends(past, now),
        waiting=_waiting(status),
        drift=drift_of(status),
        recent=recent,
    )


async def _past(now: datetime, seconds: int, step: int, s: Measure) -> Past:
    """Read once what all parts of the page need: the chart, the last day by the hour, the last minutes."""
    since = now - timedelta(seconds=seconds)
    length, minutes = (HOUR, since) if step == MINUTE else (step, recently(now))
    return await read_past(
        s.metrics, min(since, now - TREND), now + timedelta(minutes=1), length=length, minutes=minutes
    )


def parts(status: Status) -> list[tuple[str, str, str]]:
    """
    Return what the verdict is made of: name, finding, tone. Each is true by itself.

    The flow may be in sync while files were rejected or FHIR differs: one word for all three would hide two of them.
    """
    # What needs attention does not keep the flow back.
    word, tone = _WORDS["in sync" if status.health.verdict == "attention" else status.health.verdict]
    rejected = f"{number_text(status.dead_letters)} to resolve" if status.dead_letters else "none"
    drift = f"{number_text(status.drift.open)} open" if status.drift.open else "none"
    return [
        ("Flow", word.lower(), tone),
        ("Dead letters", rejected, "warn" if status.dead_letters else "good"),
        ("Drift", drift, "warn" if status.drift.open else "good"),
    ]


def tiles(status: Status) -> list[Tile]:
    """Choose the numbers that say most."""
    recent, minutes = status.recent, status.recent.minutes
    median, slow = recent.latency_median, recent.latency_95
    latency = "no data" if median is None or slow is None else f"{span(median)} / {span(slow)}"
    return [
        Tile(name="Studies in FHIR", value=number_text(status.synced_studies)),
        Tile(name="Instances in FHIR", value=number_text(status.synced_instances)),
        Tile(name="Dirty studies", value=number_text(status.dirty_studies)),
        Tile(name="Oldest dirty study", value=span(status.lag.oldest_study) if status.dirty_studies else "none"),
        Tile(name="Messages queued", value=number_text(status.queued)),
        Tile(name=f"Objects, {minutes} min", value=number_text(recent.objects)),
        Tile(name=f"Median / 95 % latency, {minutes} min", value=latency),
        Tile(
            name=f"FHIR answered 429, {minutes} min",
            value=number_text(recent.fhir_throttled),
            late=recent.fhir_throttled > 0,
        ),
        Tile(name="Dead letters", value=number_text(status.dead_letters), late=status.dead_letters > 0),
        Tile(name="Drift", value=number_text(status.drift.open), late=status.drift.open > 0),
    ]


def drift_of(status: Status) -> dict[str, Any]:
    """Return what checks found, as the page shows it."""
    ended = (status.drift.last_round or {}).get("ended")
    return {"open": status.drift.open, "counts": status.drift.by_kind, "at": ended}


def _waiting(status: Status) -> list[tuple[str, str, str]]:
    ages = status.lag.queues
    queues = [
        (f"queue {name}", f"{count:,}", span(ages[name]) if ages.get(name) else "")
        for name, count in status.queues.items()
    ]
    return [*queues, *((f"feed {name}", "", span(age)) for name, age in status.lag.feeds.items())]


def dead_letter_trends(past: Past, now: datetime) -> dict[str, float]:
    """Count the dead letters written in the last day, by code."""
    chart = past.chart({DEAD_LETTERS.name}, now - TREND, now + timedelta(hours=1), step=HOUR)
    return {
        dict(line.attributes).get("error.type", ""): sum(point.total for point in line.points if point)
        for line in chart.of(DEAD_LETTERS.name)
    }


def graphs(chart: Chart) -> list[Graph]:
    """Return the charts of the page."""
    written = lambda line: "written" in dict(line.attributes).values()  # noqa: E731 -- it has one use
    return [
        _graph("objects", "Objects inspected", chart, Curve(name="objects", points=_totals(chart, OBJECTS.name))),
        _graph(
            "studies", "Studies written", chart, Curve(name="studies", points=_totals(chart, STUDIES.name, written))
        ),
        _graph(
            "latency",
            "From arrival to FHIR",
            chart,
            Curve(name="95 %", points=_quantiles(chart, 0.95)),
            Curve(name="median", points=_quantiles(chart, 0.5)),
            unit=" s",
            gaps=True,
        ),
        _graph(
            "fhir",
            "FHIR requests",
            chart,
            Curve(name="requests", points=_points(chart, FHIR_DURATION.name, lambda sample: float(sample.count))),
            Curve(name="answered 429", points=_totals(chart, FHIR_THROTTLED.name)),
        ),
        _graph(
            "dirty",
            "Dirty studies",
            chart,
            Curve(name="studies", points=_highest(chart, DIRTY_STUDIES.name)),
            gaps=True,
        ),
        _graph(
            "letters",
            "Dead letters kept",
            chart,
            Curve(name="letters", points=_highest(chart, KEPT_DEAD_LETTERS.name)),
            gaps=True,
        ),
    ]


def _graph(key: str, title: str, chart: Chart, *curves: Curve, unit: str = "", gaps: bool = False) -> Graph:
    return Graph(
        key=key, title=title, unit=unit, start=chart.start, step=chart.step, curves=curves, gaps_are_zero=not gaps
    )


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
    """Add an instrument's lines up, time by time, and take one number of each sum."""
    lines = [line.points for line in chart.of(name) if accepts(line)]
    measured = ([point for point in column if point is not None] for column in zip(*lines, strict=True))
    return [of(reduce(add, points)) if points else None for points in measured]
