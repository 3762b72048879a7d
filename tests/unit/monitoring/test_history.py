"""History: what workers measured adds up, survives them, and is kept for its time."""

from contextlib import suppress
from datetime import timedelta

import pytest

from sync.errors import StoreUnavailable
from sync.monitoring.history import MOST_PENDING, Recorder, compact_metrics, read_metrics, read_past
from sync.telemetry.instruments import LATENCY, QUEUE_AGE, SWEEPS
from sync.telemetry.measurements import HOUR, MINUTE, TENTH
from sync.telemetry.telemetry import Telemetry
from sync.testing.clock import ManualClock
from sync.testing.metric_history import MemoryMetricHistory
from tests.worlds import MemoryWorld


class Worker:
    """A worker process: its own counters, a shared table."""

    def __init__(self, series, clock):
        self.telemetry = Telemetry()
        self.recorder = Recorder(self.telemetry, series, clock)


class Flaky(MemoryMetricHistory):
    broken = False
    writes = 0

    async def write(self, row):
        if self.broken:
            raise StoreUnavailable("503")
        self.writes += 1
        await super().write(row)


@pytest.fixture
def clock():
    return ManualClock()


async def total(series, clock, name=SWEEPS.name, *, hours=1):
    now = clock.now()
    chart = await read_metrics(series, {name}, now - timedelta(hours=hours), now + timedelta(minutes=1))
    return sum(point.total for line in chart.lines for point in line.points if point)


async def test_workers_add_up_and_a_second_flush_counts_nothing_twice(clock):
    series = Flaky()
    workers = [Worker(series, clock) for _ in range(3)]
    for worker in workers:
        worker.telemetry.measure(SWEEPS)
        await worker.recorder.flush()
        worker.telemetry.measure(SWEEPS, 2)
        for _ in range(3):
            await worker.recorder.flush()
    assert await total(series, clock) == 9
    assert len(series.table.values()) == 3
    assert series.writes == 6  # nothing new, nothing written


async def test_what_could_not_be_written_is_written_later_into_its_own_minute(clock):
    series = Flaky()
    worker = Worker(series, clock)
    series.broken = True
    for _ in range(2):
        worker.telemetry.measure(SWEEPS)
        with pytest.raises(StoreUnavailable):
            await worker.recorder.flush()
        clock.advance(60)
    series.broken = False
    await worker.recorder.flush()
    chart = await read_metrics(series, {SWEEPS.name}, clock.now() - timedelta(minutes=2), clock.now())
    assert [point.total for point in chart.lines[0].points] == [1, 1]


async def test_a_long_outage_keeps_no_more_than_so_many_minutes_in_hand(clock):
    series = Flaky()
    worker = Worker(series, clock)
    series.broken = True
    for _ in range(2 * MOST_PENDING):
        worker.telemetry.measure(SWEEPS)
        with pytest.raises(StoreUnavailable):
            await worker.recorder.flush()
        clock.advance(60)
    series.broken = False
    await worker.recorder.flush()
    assert 0 < await total(series, clock, hours=3) <= MOST_PENDING


async def test_a_dead_worker_leaves_what_it_flushed(clock):
    series = Flaky()
    worker = Worker(series, clock)
    worker.telemetry.measure(SWEEPS, 5)
    await worker.recorder.flush()
    worker.telemetry.measure(SWEEPS, 7)
    again = Worker(series, clock)
    again.telemetry.measure(SWEEPS)
    await again.recorder.flush()
    assert await total(series, clock) == 6


async def test_a_chart_has_a_point_for_every_step_and_none_where_nothing_was_measured(clock):
    series = Flaky()
    worker = Worker(series, clock)
    for minute in (0, 1, 7):
        clock.advance(60 * minute - (clock.now() - ManualClock().now()).total_seconds())
        worker.telemetry.measure(LATENCY, 4.0 + minute)
        worker.telemetry.measure(QUEUE_AGE, minute, queue="studies")
        await worker.recorder.flush()
    start = ManualClock().now()
    chart = await read_metrics(series, {LATENCY.name}, start, start + timedelta(minutes=10), step=5 * MINUTE)
    (line,) = chart.lines
    assert [point.count if point else None for point in line.points] == [2, 1]
    assert line.points[0].highest == 5.0
    assert line.points[1].quantile(0.5, LATENCY.bounds) <= 11.0
    assert chart.times() == (start, start + timedelta(minutes=5))
    assert chart.of(QUEUE_AGE.name) == ()


async def measured_hours(hours):
    """A world in which two workers have measured something each minute of ``hours`` hours."""
    w = MemoryWorld()
    workers = [Worker(w.store.metrics, w.clock) for _ in range(2)]
    await compact_metrics(w.services)  # remembers where to begin
    for _ in range(hours * 60):
        for worker in workers:
            worker.telemetry.measure(SWEEPS)
            await worker.recorder.flush()
        w.clock.advance(60)
    return w


async def rows_of(w, length, begin, end):
    return [row async for row in w.store.metrics.between(length, begin, end)]


@pytest.mark.parametrize(("length", "points"), [(HOUR, [120, 120, 120]), (TENTH, [20] * 18)])
async def test_hours_that_are_over_become_one_row_and_charts_do_not_change(length, points):
    begin = ManualClock().now()
    w = await measured_hours(3)
    names, end = {SWEEPS.name}, w.clock.now()
    before = await read_metrics(w.store.metrics, names, begin, end, step=length)
    w.clock.advance(600)
    await compact_metrics(w.services)
    await compact_metrics(w.services)
    rows = await rows_of(w, length, begin, end)
    assert [(row.worker, len(row.samples)) for row in rows] == [("", 1)] * len(points)
    assert await read_metrics(w.store.metrics, names, begin, end, step=length) == before
    assert [point.total for point in before.lines[0].points] == points


@pytest.mark.parametrize("length", [TENTH, HOUR])
async def test_what_is_read_once_serves_charts_of_every_step(length):
    begin = ManualClock().now()
    w = await measured_hours(3)
    w.clock.advance(40 * 60)
    await compact_metrics(w.services)
    names, end = {SWEEPS.name}, w.clock.now()
    since = end - timedelta(minutes=70)
    past = await read_past(w.store.metrics, begin, end, length=length, minutes=since)
    assert len(past.minutes) == 30  # of the last 70 minutes 30 were measured, and all of them are long rows too
    for start, step in ((since, MINUTE), (begin, HOUR), (since, HOUR), *([(begin, TENTH)] if length == TENTH else [])):
        assert past.chart(names, start, end, step=step) == await read_metrics(
            w.store.metrics, names, start, end, step=step
        )


async def test_minutes_of_a_version_that_wrote_no_tenths_are_in_the_chart():
    begin = ManualClock().now()
    w = await measured_hours(3)
    names, end = {SWEEPS.name}, w.clock.now()
    w.clock.advance(600)
    await compact_metrics(w.services)
    await w.store.metrics.discard(TENTH, begin + timedelta(hours=2), 100)
    chart = await read_metrics(w.store.metrics, names, begin, end, step=TENTH)
    assert [point.total for point in chart.lines[0].points] == [20] * 18


async def test_soon_all_workers_share_the_rows_of_their_minutes():
    w = await measured_hours(1)
    begin, end = ManualClock().now(), w.clock.now() + timedelta(minutes=1)
    before = await read_metrics(w.store.metrics, {SWEEPS.name}, begin, end)
    await compact_metrics(w.services)
    rows = await rows_of(w, MINUTE, begin, end)
    assert [row.worker for row in rows[:50]] == [""] * 50
    assert len(rows) == 50 + 2 * 10  # the last ten minutes are not settled
    assert await read_metrics(w.store.metrics, {SWEEPS.name}, begin, end) == before


class Dying(MemoryMetricHistory):
    """Ends at a call, as the process that makes it does."""

    left = 10**9

    async def write(self, row):
        self._spend()
        await super().write(row)

    async def drop(self, rows):
        for row in rows:
            self._spend()
            await super().drop([row])

    def _spend(self):
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("gone")


@pytest.mark.parametrize("step", [MINUTE, TENTH, HOUR])
async def test_a_worker_that_dies_while_adding_up_changes_no_chart(step):
    for calls in range(0, 45, 2):
        w = MemoryWorld()
        series = Dying()
        object.__setattr__(w.services, "metrics", series)
        workers = [Worker(series, w.clock) for _ in range(2)]
        begin = w.clock.now()
        await compact_metrics(w.services)
        for minute in range(60):
            for worker in workers:
                worker.telemetry.measure(SWEEPS, minute)
                await worker.recorder.flush()
            w.clock.advance(60)
        w.clock.advance(600)
        end = begin + timedelta(hours=1)
        before = await read_metrics(series, {SWEEPS.name}, begin, end, step=step)
        series.left = calls
        with suppress(StoreUnavailable):
            await compact_metrics(w.services)
        assert await read_metrics(series, {SWEEPS.name}, begin, end, step=step) == before
        series.left = 10**9
        w.clock.advance(600)  # until the lease of the dead is over
        await compact_metrics(w.services)
        assert await read_metrics(series, {SWEEPS.name}, begin, end, step=step) == before
        assert all(not row.worker for row in series.table.values() if row.start < end - timedelta(minutes=10))


async def test_a_chart_of_tenths_costs_no_more_rows_for_more_workers():
    begin = ManualClock().now()
    w = await measured_hours(6)
    w.clock.advance(600)
    await compact_metrics(w.services)
    past = await read_past(w.store.metrics, begin, w.clock.now(), length=TENTH)
    assert (len(past.long), len(past.minutes)) == (6 * 6, 0)


async def test_old_minutes_go_and_their_hours_stay_until_they_are_old_too():
    w = MemoryWorld(metrics_by_minute_kept_hours=2, metrics_by_hour_kept_days=1)
    worker = Worker(w.store.metrics, w.clock)
    begin = w.clock.now()
    await compact_metrics(w.services)
    worker.telemetry.measure(SWEEPS)
    await worker.recorder.flush()
    w.clock.advance(4 * HOUR)
    await compact_metrics(w.services)
    assert [row.seconds for row in w.store.metrics.table.values() if row.samples] == [HOUR]
    assert await rows_of(w, TENTH, begin, w.clock.now() - timedelta(hours=2, seconds=TENTH)) == []
    w.clock.advance(30 * HOUR)
    for _ in range(3):
        await compact_metrics(w.services)
    assert [row async for row in w.store.metrics.between(HOUR, begin, begin + timedelta(hours=1))] == []


async def test_minutes_of_hours_that_are_not_added_up_yet_are_kept_however_old():
    w = MemoryWorld(metrics_by_minute_kept_hours=2)
    worker = Worker(w.store.metrics, w.clock)
    await compact_metrics(w.services)
    for _ in range(40):  # the timer did not run for longer than one run adds up
        worker.telemetry.measure(SWEEPS)
        await worker.recorder.flush()
        w.clock.advance(HOUR)
    begin = w.clock.now() - timedelta(hours=40)
    for _ in range(3):
        await compact_metrics(w.services)
        chart = await read_metrics(w.store.metrics, {SWEEPS.name}, begin, w.clock.now(), step=HOUR)
        assert sum(point.total for point in chart.lines[0].points if point) == 40


async def test_the_background_task_outlives_any_failure(clock, monkeypatch):
    import asyncio

    series = Flaky()
    worker = Worker(series, clock)
    failures = iter([StoreUnavailable("503"), ValueError("Doe^Jane")])

    async def flush():
        if (failure := next(failures, None)) is not None:
            raise failure
        raise asyncio.CancelledError

    monkeypatch.setattr(worker.recorder, "flush", flush)
    with pytest.raises(asyncio.CancelledError):
        await worker.recorder.run(0)
