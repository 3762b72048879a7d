"""Objects whose message a killed host holds are inspected within a minute, and delayed messages do not multiply."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sync.delivery import lost_messages
from sync.delivery.lost_messages import MOST, ROUNDS, enqueue_lost_objects
from sync.errors import SourceGone, SourceUnavailable
from sync.events import object_message
from sync.model import Cursor
from tests.deliveries import later, objects, raising
from tests.worlds import UNREADABLE

SWEEP = 30
"""Seconds between two sweeps."""


async def lose(w, *names):
    """Upload objects whose messages a host holds that was killed."""
    for name in names:
        change = w.put(name, sop=f"2.25.9.{len(w.store.object_queue.messages)}")
        await w.store.object_queue.send(object_message(change.object), 600)


async def sweep(w, after=SWEEP):
    w.clock.advance(after)
    queues = w.store.queues
    return await enqueue_lost_objects(w.services, queues, w.store.objects)


def waiting(w):
    return [message for message in w.store.object_queue.messages if message.visible_at <= w.clock.now()]


async def test_objects_of_a_killed_host_are_in_fhir_within_a_minute(w):
    await lose(w, "a", "b")
    began = w.clock.now()
    assert await sweep(w, 10) == 0, "they may be on their way"
    assert await sweep(w) == 2
    await later(w, 0)
    assert (w.clock.now() - began).total_seconds() < 60
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_an_overwritten_object_is_found_by_its_etag(w):
    await objects(w, w.put("a"))
    await lose(w, "a")
    assert await sweep(w) == 1


async def test_while_messages_wait_for_a_worker_nothing_is_added(w):
    await lose(w, "a")
    await w.store.object_queue.send("{}", 0)
    assert await sweep(w) == 0


async def test_an_empty_queue_costs_no_listing(w):
    w.put("a")
    w.store.objects.page = raising(SourceUnavailable("503"))
    assert await sweep(w) == 0


async def test_what_was_seen_is_dead_lettered_or_is_older_than_a_lease_is_left_alone(w):
    await objects(w, w.put("seen"), w.put("bad", UNREADABLE))
    w.put("old")
    w.clock.advance(700)
    await w.store.object_queue.send("{}", 900)
    assert await sweep(w) == 0


async def test_delayed_messages_do_not_multiply(w):
    """An outage of the source delays messages, and to a queue they look like those of a killed host."""
    await lose(w, "a")
    for _ in range(20):
        await sweep(w)
        w.store.object_queue.messages = [
            replace(message, visible_at=w.clock.now() + timedelta(seconds=300))
            for message in w.store.object_queue.messages
        ]
    assert len(w.store.object_queue.messages) == 1 + ROUNDS


async def test_a_call_enqueues_so_many_and_the_next_goes_on(w, monkeypatch):
    monkeypatch.setattr(lost_messages, "MOST", 2)
    await lose(w, "a", "b", "c")
    assert await sweep(w) == 2
    await later(w, 0)
    assert await sweep(w) == 1
    assert MOST > 2


@pytest.mark.parametrize("failure", [SourceUnavailable("503"), SourceGone("404")])
async def test_a_source_that_does_not_answer_loses_nothing(w, failure):
    await lose(w, "a")
    page = w.store.objects.page
    w.store.objects.page = raising(failure)
    try:
        await sweep(w)
    except SourceUnavailable:
        assert isinstance(failure, SourceUnavailable)
    w.store.objects.page = page
    assert await sweep(w, 60) == 1


async def test_two_workers_enqueue_once(w):
    await lose(w, "a")
    assert await sweep(w) == 1
    assert await sweep(w, 0) == 0
    assert len(waiting(w)) == 1


async def test_a_stand_that_cannot_be_read_is_begun_again(w):
    await lose(w, "a")
    w.store.cursors.table.insert(lost_messages.CURSOR, Cursor(name=lost_messages.CURSOR, position={"container": "x"}))
    assert await sweep(w, 120) == 1
