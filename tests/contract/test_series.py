"""Measurements over time: rows come back as they were written, in order, and go when they are old."""

import uuid
from datetime import timedelta

import pytest

from sync.monitoring.history import floor
from sync.telemetry.measurements import HOUR, MINUTE, TENTH, Measurement, MeasurementKey, MetricRow, single
from tests.contract.storage import NOW

SAMPLES = {
    MeasurementKey("a.counter"): single(2),
    MeasurementKey("a.histogram", (("error.type", "fhir.rejected"), ("k", "v"))): Measurement(2, 7.5, 5.0, (0, 1, 1)),
}


@pytest.fixture
def epoch():
    """A stretch of time that no other test uses: Azurite is shared."""
    return floor(NOW, HOUR) - timedelta(hours=48 * (1 + uuid.uuid4().int % 5_000))


def row(start, worker="w1", seconds=MINUTE, samples=SAMPLES):
    return MetricRow(seconds=seconds, start=start, worker=worker, samples=samples)


async def rows(storage, seconds, start, end):
    return [kept_row async for kept_row in storage.metrics.between(seconds, start, end)]


async def test_a_row_comes_back_as_it_was_written(storage, epoch):
    await storage.metrics.write(row(epoch))
    assert await rows(storage, MINUTE, epoch, epoch + timedelta(minutes=1)) == [row(epoch)]


async def test_a_row_that_is_written_again_replaces_itself_and_no_other_workers(storage, epoch):
    for worker in ("w1", "w2", "w1"):
        await storage.metrics.write(row(epoch, worker))
    assert await rows(storage, MINUTE, epoch, epoch + timedelta(minutes=1)) == [row(epoch, "w1"), row(epoch, "w2")]


async def test_a_stretch_has_its_beginning_and_not_its_end_and_is_in_order_across_partitions(storage, epoch):
    timestamps = [epoch + timedelta(minutes=n) for n in (125, 0, 59, 60, 61)]
    for timestamp in timestamps:
        await storage.metrics.write(row(timestamp))
    kept = await rows(storage, MINUTE, epoch, epoch + timedelta(minutes=125))
    assert [kept_row.start for kept_row in kept] == sorted(timestamps)[:-1]


async def test_minutes_tenths_and_hours_are_apart(storage, epoch):
    written = [row(epoch), row(epoch, "", TENTH), row(epoch, "", HOUR)]
    for to_write in written:
        await storage.metrics.write(to_write)
    for to_write in written:
        assert await rows(storage, to_write.seconds, epoch, epoch + timedelta(hours=1)) == [to_write]


async def test_tenths_of_several_days_come_in_order(storage, epoch):
    timestamps = [epoch + timedelta(minutes=10 * n) for n in (144, 0, 143, 1, 289)]
    for timestamp in timestamps:
        await storage.metrics.write(row(timestamp, "", TENTH))
    kept = await rows(storage, TENTH, epoch, epoch + timedelta(days=2))
    assert [kept_row.start for kept_row in kept] == sorted(timestamps)[:-1]


async def test_rows_that_are_dropped_are_gone_and_no_others(storage, epoch):
    one, other, gone = (row(epoch, worker) for worker in ("w1", "w2", "w3"))
    for to_write in (one, other):
        await storage.metrics.write(to_write)
    await storage.metrics.drop([one, gone])
    assert await rows(storage, MINUTE, epoch, epoch + timedelta(hours=1)) == [other]


async def test_the_oldest_are_discarded_first_and_no_more_than_asked_for(storage):
    epoch = floor(NOW, HOUR) - timedelta(days=15_000)  # older than any other test's
    for n in range(5):
        await storage.metrics.write(row(epoch + timedelta(minutes=59 + n)))
    await storage.metrics.write(row(epoch, "", HOUR))
    before = epoch + timedelta(minutes=63)
    assert await storage.metrics.discard(MINUTE, before, 3) == 3
    left = await rows(storage, MINUTE, epoch, epoch + timedelta(hours=2))
    assert [kept_row.start for kept_row in left] == [epoch + timedelta(minutes=59 + n) for n in (3, 4)]
    assert await storage.metrics.discard(MINUTE, before, 3) == 1
    assert await storage.metrics.discard(MINUTE, before, 3) == 0
    assert len(await rows(storage, HOUR, epoch, epoch + timedelta(hours=1))) == 1
