"""
Metric history without another service: measurements by minute and by hour, in a table.

    Telemetry  ->  Recorder.flush, every few seconds: this worker's row of the current minute, overwritten
    rows of all workers  ->  compact_metrics, soon after: one for each minute, each tenth, each hour; old rows go
    read_past  ->  rows, as long as the steps of a chart allow  ->  Past.chart: lines

A day is 144 tenths and a week 168 hours, instead of thousands of minutes for each worker. Rows of different workers and
times add up in any order, and every write may be repeated. A crash loses only one worker's measurements since its last
flush. Times are those of the flush, so a measurement may count for the minute after its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sync.errors import SyncError
from sync.model.timestamps import Timestamp
from sync.ports import Clock, MetricHistory, Watch
from sync.protocol.leases import Lease, held
from sync.protocol.row_values import RowValue
from sync.telemetry.measurements import (
    HOUR,
    MINUTE,
    TENTH,
    Measurement,
    MeasurementKey,
    Measurements,
    MetricRow,
    added_up,
)
from sync.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

MOST_PENDING = 30
"""Minutes that a worker keeps in memory while storage is unavailable; in a longer outage the oldest are lost."""

SETTLED = timedelta(minutes=5)
"""Time after the end of a tenth until every worker has written its last row of it."""

ROLLED_AT_ONCE = 144
DISCARDED_AT_ONCE = 200
"""Limits of one run of `compact_metrics`: tenths added up, and rows of each length deleted."""

CURSOR = "metrics"


def floor(timestamp: datetime, seconds: int) -> datetime:
    """Return the last multiple of ``seconds`` since 1970, UTC."""
    return datetime.fromtimestamp(timestamp.timestamp() // seconds * seconds, UTC)


def end_of(timestamp: datetime, seconds: int) -> datetime:
    """Return the end of the step that contains a time: a chart up to it ends with the current step."""
    return floor(timestamp, seconds) + timedelta(seconds=seconds)


class Recorder:
    """Writes the measurements of this process to the table."""

    def __init__(self, telemetry: Telemetry, metrics: MetricHistory, clock: Clock, *, worker: str = "") -> None:
        self._telemetry = telemetry
        self._metrics = metrics
        self._clock = clock
        self._worker = worker or uuid4().hex[:16]
        self._minutes: dict[datetime, Measurements] = {}
        self._unwritten: set[datetime] = set()
        self._turn = asyncio.Lock()

    async def flush(self) -> None:
        """
        Write the measurements since the last flush, if there are any. Idempotent.

        Raises
        ------
        StoreUnavailable
            Storage did not answer; the next flush writes the measurements.
        """
        async with self._turn:
            self._gather()
            for minute in sorted(self._unwritten):
                samples = self._minutes[minute]
                await self._metrics.write(MetricRow(seconds=MINUTE, start=minute, worker=self._worker, samples=samples))
                self._unwritten.discard(minute)

    def _gather(self) -> None:
        """Add new measurements to the current minute, and forget the minutes that are over and written."""
        current = floor(self._clock.now(), MINUTE)
        if measured := self._telemetry.take():
            self._minutes[current] = added_up([self._minutes.get(current, {}), measured])
            self._unwritten.add(current)
        for minute in sorted(self._minutes.keys() - {current}):
            if minute not in self._unwritten or len(self._minutes) > MOST_PENDING:
                self._unwritten.discard(minute)
                del self._minutes[minute]

    async def run(self, interval: float) -> None:
        """Flush every ``interval`` seconds, for ever; a failure is logged and retried."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.flush()
            except SyncError as failure:
                logger.warning("measurements are not written: %s", failure.code)
            except Exception as defect:  # noqa: BLE001 -- the sync must not suffer from its own measuring
                logger.error("measurements are not written: %s", type(defect).__name__)  # noqa: TRY400 -- no texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One instrument with one set of attributes, over time; None where nothing was measured."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    points: tuple[Measurement | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines with common times: point ``n`` covers the ``step`` seconds that begin at ``start + n * step``."""

    start: datetime
    step: int
    lines: tuple[Line, ...]

    def times(self) -> tuple[datetime, ...]:
        """Start of each point."""
        points = len(self.lines[0].points) if self.lines else 0
        return tuple(self.start + timedelta(seconds=self.step * n) for n in range(points))

    def of(self, name: str) -> tuple[Line, ...]:
        """Return the lines of one instrument."""
        return tuple(line for line in self.lines if line.name == name)

    def sum_of(self, name: str, attribute: str = "") -> Measurement:
        """Add up one instrument over all times; only lines with the value ``attribute``, if given."""
        lines = (line for line in self.of(name) if not attribute or attribute in dict(line.attributes).values())
        return sum((point for line in lines for point in line.points if point is not None), Measurement())


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """
    Rows of a period up to now: long rows, if any, from ``since`` until before ``until``, and minutes.

    Minutes within the long rows repeat their content, and are for charts by the minute.
    """

    length: int
    long: Sequence[MetricRow]
    minutes: Sequence[MetricRow]
    since: datetime
    until: datetime

    def chart(self, names: Collection[str], start: datetime, end: datetime, *, step: int = MINUTE) -> Chart:
        """
        Add up the measurements from ``start`` until before ``end``, over all workers. Pure.

        Parameters
        ----------
        names
            Instruments, as `sync.telemetry.instruments` names them.
        step
            Seconds of one point, a multiple of a minute.

        Returns
        -------
        Chart
            Lines by name and attributes, only those with a measurement. ``start`` is moved to a multiple of the step.
        """
        begin = floor(start, step)
        number = max(-int(-(end - begin).total_seconds() // step), 0)
        lines: dict[MeasurementKey, list[Measurement | None]] = {}
        for row in self._rows(step):
            place = int((row.start - begin).total_seconds() // step)
            if not 0 <= place < number:
                continue
            for key, sample in row.samples.items():
                if key.name in names:
                    points = lines.setdefault(key, [None] * number)
                    before = points[place]
                    points[place] = sample if before is None else before + sample
        lines_in_order = (
            Line(name=key.name, attributes=key.attributes, points=tuple(lines[key])) for key in sorted(lines)
        )
        return Chart(start=begin, step=step, lines=tuple(lines_in_order))

    def _rows(self, step: int) -> Iterable[MetricRow]:
        """Return rows that cover each time once: long rows if they fit into the steps, and the minutes around them."""
        if step % self.length:
            return self.minutes
        return (*self.long, *(row for row in self.minutes if not self.since <= row.start < self.until))


async def read_past(
    metrics: MetricHistory, start: datetime, end: datetime, *, length: int = MINUTE, minutes: datetime | None = None
) -> Past:
    """
    Read the measurements from ``start`` until before ``end``, which is about now.

    Parameters
    ----------
    length
        Length of the longest rows that may be used: `MINUTE`, `TENTH` or `HOUR`.
    minutes
        Time from which on minutes are read even where long rows exist.
    """
    start = floor(start, length)
    long = [] if length == MINUTE else [row async for row in metrics.between(length, start, end)]
    since = long[0].start if long else start
    until = long[-1].start + timedelta(seconds=length) if long else start
    late = min(until, minutes or until)
    # Before the first long row there may be minutes from a version that wrote no long rows.
    gaps = ((start, min(since, late)), (late, end))
    rows_of_gaps = await asyncio.gather(*(_minutes(metrics, *gap) for gap in gaps))
    return Past(
        length=length, long=long, minutes=[row for rows in rows_of_gaps for row in rows], since=since, until=until
    )


async def _minutes(metrics: MetricHistory, start: datetime, end: datetime) -> list[MetricRow]:
    begin = floor(start, MINUTE)
    return _once([row async for row in metrics.between(MINUTE, begin, end)]) if begin < end else []


def _once(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """Leave out workers' rows of a minute that also has a row of all workers: they may not be deleted yet."""
    added = {row.start for row in rows if not row.worker}
    return [row for row in rows if not row.worker or row.start not in added]


async def read_metrics(
    metrics: MetricHistory, names: Collection[str], start: datetime, end: datetime, *, step: int = MINUTE
) -> Chart:
    """Read a chart of the measurements, from rows as long as its steps allow; see `Past.chart`."""
    length = max(span for span in (MINUTE, TENTH, HOUR) if step % span == 0)
    past = await read_past(metrics, floor(start, step), end, length=length)
    return past.chart(names, start, end, step=step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AddedUp:
    """The time up to which tenths were added up."""

    until: Timestamp | None = None


_ADDED_UP: RowValue[_AddedUp] = RowValue(_AddedUp)


async def compact_metrics(s: Watch) -> None:
    """
    Add up tenths that are over, and delete expired rows, also of the history of studies.

    Takes bounded time; idempotent. One worker at a time; rows are deleted only after their sum is stored.
    """
    async with held(CURSOR, s, seconds=300) as lease:
        if lease is not None:
            await _compact(lease, s)


async def _compact(lease: Lease, s: Watch) -> None:
    now = s.clock.now()
    over = floor(now - SETTLED, TENTH)
    until = floor(over, HOUR) - timedelta(hours=1)
    until = _ADDED_UP.read(lease.position, row=CURSOR).until or until
    for _ in range(ROLLED_AT_ONCE):
        if until >= over:
            break
        await _add_up(until, s.metrics)
        until += timedelta(seconds=TENTH)
        await lease.advance(_ADDED_UP.write(_AddedUp(until=until)))
    # Discarded last, and only before ``until``: rows are deleted only after their sum is stored.
    minutes = min(floor(until, HOUR), now - timedelta(hours=s.settings.metrics_by_minute_kept_hours))
    for length in (MINUTE, TENTH):
        await s.metrics.discard(length, minutes, DISCARDED_AT_ONCE)
    await s.metrics.discard(HOUR, now - timedelta(days=s.settings.metrics_by_hour_kept_days), DISCARDED_AT_ONCE)
    await s.history.discard(now - timedelta(days=s.settings.study_history_kept_days), DISCARDED_AT_ONCE)


async def _add_up(begin: datetime, metrics: MetricHistory) -> None:
    """
    Add a tenth up: a row for each of its minutes, one for itself, and for the hour if it is the hour's last.

    The rows of single workers are deleted last. A repeat finds the rows of all workers, or theirs, and writes the same.
    """
    end = begin + timedelta(seconds=TENTH)
    stored = [row async for row in metrics.between(MINUTE, begin, end)]
    rows = _once(stored)
    by_minute: defaultdict[datetime, list[Measurements]] = defaultdict(list)
    for row in rows:
        by_minute[row.start].append(row.samples)
    await asyncio.gather(*(_write(metrics, MINUTE, start, some) for start, some in by_minute.items()))
    await _write(metrics, TENTH, begin, [row.samples for row in rows])
    if floor(end, HOUR) == end:
        hour = end - timedelta(hours=1)
        await _write(metrics, HOUR, hour, [row.samples async for row in metrics.between(TENTH, hour, end)])
    await metrics.drop([row for row in stored if row.worker])


async def _write(metrics: MetricHistory, seconds: int, start: datetime, many: Iterable[Measurements]) -> None:
    await metrics.write(MetricRow(seconds=seconds, start=start, worker="", samples=added_up(many)))
