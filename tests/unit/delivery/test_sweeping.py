"""Studies whose message was lost are found again, without flooding the queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sync.delivery.handlers import FEW, sweep
from sync.errors import StoreUnavailable, Throttled
from sync.telemetry.instruments import SWEEPS
from sync.telemetry.measurements import MeasurementKey
from tests.deliveries import objects, raising, studies
from tests.worlds import OTHER


async def test_a_study_whose_message_was_lost_is_swept(w):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    w.clock.advance(100)
    assert await sweep(w.services) == 1
    await w.settle()
    assert w.imaging_study() is not None


async def test_a_study_within_its_quiet_period_is_not_swept(w):
    await objects(w, w.put("a"))
    w.store.study_queue.messages.clear()
    w.clock.advance(w.services.settings.quiet_period + 1)
    assert await sweep(w.services) == 0


async def test_a_postponed_study_is_not_swept_before_its_time(w):
    await objects(w, w.put("a"))
    w.fhir.outage = Throttled("429", retry_after=50)
    await studies(w)
    w.store.study_queue.messages.clear()
    w.clock.advance(40)
    assert await sweep(w.services) == 0
    w.clock.advance(20)
    assert await sweep(w.services) == 1


async def test_nothing_outstanding_means_nothing_to_sweep(w):
    assert await sweep(w.services) == 0


async def test_studies_that_merely_wait_their_turn_are_not_swept(w):
    await objects(w, w.put("a"), w.put("b", study="2.25.2"))
    w.clock.advance(100)
    assert await sweep(w.services) == 0


async def test_a_lost_study_is_swept_in_the_end_though_others_keep_the_queue_full(w):
    await objects(w, w.put("a"), w.put("b", study="2.25.2"))
    w.store.study_queue.messages = [m for m in w.store.study_queue.messages if m.study != OTHER] * 3
    w.clock.advance(100)
    assert await sweep(w.services) == 0
    w.clock.advance(600)
    await sweep(w.services)
    assert OTHER in {message.study for message in w.store.study_queue.messages}


async def test_studies_whose_messages_a_killed_worker_holds_are_swept_within_a_minute(w):
    await objects(w, w.put("a"), w.put("b", study="2.25.2"))
    queue, now = w.store.study_queue, w.clock.now()
    leased = [replace(message, visible_at=now + timedelta(seconds=600)) for message in queue.messages]
    queue.messages = list(leased)
    w.clock.advance(15)
    assert await sweep(w.services) == 0, "they may be on their way"
    w.clock.advance(30)
    assert await sweep(w.services) == 2
    assert await sweep(w.services) == 0, "those just enqueued wait for a worker: nothing is added to them"
    await w.settle()
    assert w.imaging_study() is not None


async def test_a_long_queue_is_not_flooded_by_the_sweeper(w):
    for n in range(3 * FEW):
        await objects(w, w.put(f"a{n}", study=f"2.25.{n + 1}"))
    w.clock.advance(10_000)
    assert await sweep(w.services) == FEW
    w.store.study_queue.messages.clear()
    assert await sweep(w.services) == 3 * FEW


async def test_the_heartbeat_stops_when_tables_or_queues_refuse(w, monkeypatch):
    await sweep(w.services)
    assert w.services.telemetry.take()[MeasurementKey(SWEEPS.name)].total == 1
    await objects(w, w.put("a"))
    w.clock.advance(100)
    monkeypatch.setattr(w.store.study_queue, "length", raising(StoreUnavailable("403", code="store.forbidden")))
    with pytest.raises(StoreUnavailable):
        await sweep(w.services)
    assert MeasurementKey(SWEEPS.name) not in w.services.telemetry.take()


async def test_a_study_whose_holder_lives_and_hangs_gets_messages_at_growing_intervals(w):
    """A FHIR service that takes requests and answers none: each message of the study is taken at once, and hangs."""
    await objects(w, w.put("a"))
    queue, swept = w.store.study_queue, []
    for seconds in range(0, 1800, 30):
        later = w.clock.now() + timedelta(seconds=600)
        queue.messages = [replace(message, visible_at=later) for message in queue.messages]
        if await sweep(w.services):
            swept.append(seconds)
        w.clock.advance(30)
    assert swept == [30, 60, 120, 210, 390, 720, 1320]
