"""
History without another service: what was measured, minute by minute and hour by hour, in a table.

    Telemetry  ->  Recorder.flush, every few seconds: this worker's row of the current minute, overwritten
    minutes of all workers  ->  keep_series, once the hour is over: one row for the hour; old rows go
    read_series  ->  lines for charts

Rows of different workers and times add up in any order, and every write may be repeated. A crash loses what one worker
measured since its last flush, and nothing else. Times are those of the flush, so a measurement may count for the minute
after its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sync import leases
from sync.errors import StoreConflict, SyncError
from sync.ports import Clock, Series, Services
from sync.samples import HOUR, MINUTE, Sample, SampleKey, Samples, SeriesRow, added_up
from sync.telemetry import Telemetry

logger = logging.getLogger(__name__)

MOST_PENDING = 30
"""Minutes that a worker keeps in hand while storage is away; of a longer outage the oldest are lost."""

SETTLED = timedelta(minutes=5)
"""After the end of an hour, until every worker's last row of it is there."""

ROLLED_AT_ONCE = 24
DISCARDED_AT_ONCE = 200
"""Bounds of one run of `keep_series`: hours, and rows of each length."""

_CURSOR = "series"


def floor(moment: datetime, seconds: int) -> datetime:
    """Return the last multiple of so many seconds since 1970, UTC."""
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


class Recorder:
    """Takes the measurements of this process to the table."""

    def __init__(self, telemetry: Telemetry, series: Series, clock: Clock, *, worker: str = "") -> None:
        self._telemetry = telemetry
        self._series = series
        self._clock = clock
        self._worker = worker or uuid4().hex[:16]
        self._minutes: dict[datetime, Samples] = {}
        self._unwritten: set[datetime] = set()
        self._turn = asyncio.Lock()

    async def flush(self) -> None:
        """
        Write what was measured since the last flush; nothing when there is nothing. Safe to repeat.

        Raises
        ------
        StoreUnavailable
            Storage did not answer; the next flush writes it.
        """
        async with self._turn:
            self._gather()
            for minute in sorted(self._unwritten):
                samples = self._minutes[minute]
                await self._series.write(SeriesRow(seconds=MINUTE, start=minute, worker=self._worker, samples=samples))
                self._unwritten.discard(minute)

    def _gather(self) -> None:
        """Add what is new to the current minute, and forget the minutes that are over and written."""
        current = floor(self._clock.now(), MINUTE)
        if taken := self._telemetry.take():
            self._minutes[current] = added_up([self._minutes.get(current, {}), taken])
            self._unwritten.add(current)
        for minute in sorted(self._minutes.keys() - {current}):
            if minute not in self._unwritten or len(self._minutes) > MOST_PENDING:
                self._unwritten.discard(minute)
                del self._minutes[minute]

    async def run(self, interval: float) -> None:
        """Flush every so many seconds, for ever; a failure is logged and tried again."""
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
    points: tuple[Sample | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines with common times: point ``n`` is of the ``step`` seconds that begin at ``start + n * step``."""

    start: datetime
    step: int
    lines: tuple[Line, ...]

    def times(self) -> tuple[datetime, ...]:
        """Begin of each point."""
        points = len(self.lines[0].points) if self.lines else 0
        return tuple(self.start + timedelta(seconds=self.step * n) for n in range(points))

    def of(self, name: str) -> tuple[Line, ...]:
        """Lines of one instrument."""
        return tuple(line for line in self.lines if line.name == name)


async def read_series(
    series: Series, names: Collection[str], start: datetime, end: datetime, *, step: int = MINUTE
) -> Chart:
    """
    Read what was measured from ``start`` until before ``end``, added up over all workers.

    Parameters
    ----------
    names
        Instruments, as `sync.instruments` names them.
    step
        Seconds of one point, a multiple of a minute. From an hour on, the rows of whole hours are read and only for
        what is younger those of minutes: a month costs a few hundred rows.

    Returns
    -------
    Chart
        Lines by name and attributes, only those that were measured at all. ``start`` is moved to a multiple of the
        step.
    """
    begin = floor(start, step)
    number = max(-int(-(end - begin).total_seconds() // step), 0)
    lines: dict[SampleKey, list[Sample | None]] = {}
    for row in await _rows(series, begin, end, step):
        place = int((row.start - begin).total_seconds() // step)
        for key, sample in row.samples.items():
            if key.name in names:
                points = lines.setdefault(key, [None] * number)
                points[place] = (points[place] or Sample()) + sample
    found = (Line(name=key.name, attributes=key.attributes, points=tuple(lines[key])) for key in sorted(lines))
    return Chart(start=begin, step=step, lines=tuple(found))


async def _rows(series: Series, start: datetime, end: datetime, step: int) -> Sequence[SeriesRow]:
    hours: list[SeriesRow] = []
    if step % HOUR == 0:
        hours = [row async for row in series.between(HOUR, start, end)]
    since = hours[-1].start + timedelta(seconds=HOUR) if hours else start
    return [*hours, *[row async for row in series.between(MINUTE, since, end)]]


async def keep_series(s: Services) -> None:
    """
    Put the hours that are over into one row each, and delete what is older than it is kept.

    The history of studies too. Bounded; safe to repeat.

    One worker at a time; minutes go only when their hour is there.
    """
    lease = await leases.take(_CURSOR, s.cursors, s.clock, seconds=300)
    if lease is None:
        return
    now = s.clock.now()
    over = floor(now - SETTLED, HOUR)
    until = datetime.fromisoformat(lease.position["until"]) if lease.position else over - timedelta(hours=1)
    try:
        for _ in range(ROLLED_AT_ONCE):
            if until >= over:
                break
            await _roll_up(until, s.series)
            until += timedelta(hours=1)
            await lease.advance({"until": until.isoformat()})
    except StoreConflict:
        return  # somebody else goes on
    minutes = min(until, now - timedelta(hours=s.settings.series_minutes_kept))
    await s.series.discard(MINUTE, minutes, DISCARDED_AT_ONCE)
    await s.series.discard(HOUR, now - timedelta(days=s.settings.series_hours_kept), DISCARDED_AT_ONCE)
    await s.history.discard(now - timedelta(days=s.settings.history_kept), DISCARDED_AT_ONCE)
    await lease.release()


async def _roll_up(hour: datetime, series: Series) -> None:
    rows = [row.samples async for row in series.between(MINUTE, hour, hour + timedelta(hours=1))]
    await series.write(SeriesRow(seconds=HOUR, start=hour, worker="", samples=added_up(rows)))
