"""What an operator sees: whether all is in FHIR, and what is left, without a name or a value."""

import json
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sync.errors import FhirRejected
from sync.model import Cursor
from sync.monitoring.clock import CORRECTED_SECONDS, StorageClock
from sync.monitoring.status import read_status, status
from sync.monitoring.status_model import as_json
from sync.operators.pause import pause_projection
from sync.operators.walks import begin_walk
from sync.ports import ClockOffset
from sync.telemetry.instruments import FAILURES, FHIR_DURATION, FHIR_UNANSWERED, OBJECTS
from sync.walks.backfill import Scope, new_backfill
from tests.unit.monitoring.test_alerts import Watched
from tests.worlds import STUDY, MemoryWorld


async def test_an_empty_world_is_idle():
    told = await status(MemoryWorld().services)
    assert told["idle"]
    assert (told["synced_studies"], told["dirty_studies"], told["dead_letters"]) == (0, 0, 0)


async def test_a_pause_keeps_back_only_what_is_outstanding_and_says_how_it_ends():
    w = MemoryWorld()
    await pause_projection(w.services, who="ada", why="FHIR moves.")
    health = (await status(w.services))["health"]
    assert health["verdict"] == "attention"
    assert health["reasons"][0].endswith(" by ada: FHIR moves. To continue: python -m sync resume.")
    await w.ingest(w.put("a"))
    assert (await status(w.services))["health"]["verdict"] == "behind"


@pytest.mark.parametrize(("ahead", "told"), [(59, ""), (60, "60 s ahead of"), (-3600, "3,600 s behind"), (None, "")])
async def test_a_clock_that_is_wrong_is_told_with_by_how_much(ahead, told):
    w = MemoryWorld()
    w.services.caches.clock_offset.seconds_ahead = ahead
    health = (await read_status(w.services)).health
    assert health.verdict == ("attention" if told else "in sync")
    assert told in " ".join(health.reasons)


def test_a_corrected_clock_stays_corrected_so_that_its_time_does_not_jump_at_the_limit():
    """It would jump with each answer: a lease would run out, or last longer."""
    offset, true = ClockOffset(), MemoryWorld().clock.now()
    clock = StorageClock(SimpleNamespace(now=lambda: true + timedelta(seconds=CORRECTED_SECONDS)), offset)
    offset.seconds_ahead = CORRECTED_SECONDS - 0.1
    assert clock.now() == true + timedelta(seconds=CORRECTED_SECONDS)
    for ahead in (CORRECTED_SECONDS, CORRECTED_SECONDS - 0.1, CORRECTED_SECONDS + 0.1):
        offset.seconds_ahead = ahead
        assert abs(clock.now() - true) < timedelta(seconds=1)


@pytest.mark.parametrize(("seconds", "told"), [(15, True), (1, False)])
async def test_a_fhir_service_that_answers_slowly_is_named_while_a_study_waits_too_long(seconds, told):
    watched = Watched()
    w, slow = watched.w, f"answers in {seconds} s in the mean of 5 min: check its load"
    watched.s.telemetry.measure(FHIR_DURATION, seconds, method="POST", type="Bundle", status="2xx")
    await watched.tick()
    assert (await status(w.services))["health"]["reasons"] == [], "nothing waits for it"
    await w.ingest(w.put("a"))
    w.clock.advance(100)
    reasons = (await status(w.services))["health"]["reasons"]
    assert any(f"at {w.services.settings.fhir_url} {slow}" in reason for reason in reasons) is told


async def test_a_study_on_its_way_is_not_idle():
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    told = await status(w.services)
    assert not told["idle"]
    assert (told["dirty_studies"], told["queued"], told["queues"]) == (1, 1, {"studies": 1})


async def test_a_queued_message_alone_is_not_idle():
    w = MemoryWorld()
    await w.store.study_queue.enqueue(STUDY, 60)
    assert not (await status(w.services))["idle"]


async def test_a_call_for_a_worker_is_counted_and_nothing_is_outstanding_by_it():
    """A killed worker leaves its message leased for ten minutes; its slice is free again after 30 seconds."""
    watched = watched_queues()
    await watched.w.store.slice_queue.call()
    watched.w.clock.advance(20)
    told = await status(watched.s)
    assert (told["idle"], told["queued"], told["queues"]["slices"]) == (True, 1, 1)
    assert told["lag"]["queues"]["slices"] == 20


async def test_synced_studies_and_instances_are_counted_and_removed_ones_are_not():
    w = MemoryWorld()
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101")
    await w.arrive("c", study="2.25.2")
    await w.go("c")
    told = await status(w.services)
    assert told["idle"]
    assert (told["synced_studies"], told["synced_instances"]) == (1, 2)


async def test_a_dead_lettered_study_is_idle_and_not_synced():
    w = MemoryWorld()
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    told = await status(w.services)
    assert told["idle"]
    assert (told["synced_studies"], told["dead_letters"]) == (0, 1)


async def test_the_value_and_its_json_say_the_same():
    w = MemoryWorld()
    w.fhir.failures = [FhirRejected("422")] * 2
    await w.arrive("a")
    feed = Cursor(name="dicom-feed memory", position={"sequence": 7, "error": "source.unavailable", "hint": "Wait."})
    await w.services.cursors.write(feed, None)
    value = await read_status(w.services)
    told = as_json(value)
    assert told == json.loads(json.dumps(told)), "it is JSON as it stands"
    assert told.keys() == {field.name for field in fields(value)}
    assert told["at"] == w.clock.now().isoformat()
    assert told["health"] == {"verdict": value.health.verdict, "reasons": list(value.health.reasons)}
    for name, state in value.feeds.items():
        shown = {"read_at": None, "position": {"sequence": 7}, "error": "source.unavailable", "hint": "Wait."}
        assert (told["feeds"][name], state.problem.error) == (shown, "source.unavailable")
    with pytest.raises(FrozenInstanceError):
        value.idle = True


def watched_queues():
    """A world that sees the depth of both queues, and rests longer than the alert of stopped timers allows."""
    world = Watched(alert={"stopped_seconds": 10_000})
    world.s = replace(world.s, queues=world.w.store.queues)
    return world


async def test_messages_that_a_killed_worker_holds_are_not_in_sync():
    world = watched_queues()
    await world.w.store.object_queue.send("{}", delay=600)
    await world.tick()
    await world.tick()
    assert (await status(world.s))["health"]["verdict"] == "in sync", "they may be under way"
    await world.tick(30, times=6)
    health = (await status(world.s))["health"]
    assert health["verdict"] == "behind"
    assert "Object messages leased: 1;" in health["reasons"][0]


async def test_messages_under_way_while_objects_are_processed_are_in_sync():
    world = watched_queues()
    await world.w.store.object_queue.send("{}", delay=7200)
    for n in range(8):
        await world.w.arrive(f"a{n}", sop=f"2.25.{500 + n}")
        world.s.telemetry.measure(OBJECTS, outcome="synced")
        await world.tick()
    assert (await status(world.s))["health"]["verdict"] == "in sync"


async def test_an_alert_that_is_clearing_says_so_and_nothing_is_called_failing():
    world = Watched()
    await world.w.store.dirty.mark(STUDY, world.w.clock.now() - timedelta(seconds=1000))
    await world.tick(times=2)
    assert (await status(world.s))["health"]["verdict"] == "failing"
    row = await world.w.store.dirty.read(STUDY)
    await world.w.store.dirty.delete(STUDY, row.etag)
    await world.tick(times=2)
    health = (await status(world.s))["health"]
    assert health["verdict"] == "attention"
    assert health["reasons"][0].startswith("alert.lag: over for 30 s, cleared in ")
    world.w.clock.advance(3600)
    assert any(
        "over for 3630 s, cleared at the next evaluation." in reason
        for reason in (await status(world.s))["health"]["reasons"]
    )


async def test_a_service_that_fails_is_named_with_address_code_and_since_when_until_it_answers():
    world = Watched()
    await world.w.ingest(world.w.put("a"))
    world.s.telemetry.measure(FAILURES, code="fhir.unavailable")
    began = world.w.clock.now()
    await world.tick()
    told = await status(world.s)
    (problem,) = told["problems"]
    assert (problem["address"], problem["code"]) == (world.s.settings.fhir_url, "fhir.unavailable")
    assert problem["since"] <= began.isoformat()
    assert told["health"]["verdict"] == "behind"
    assert world.s.settings.fhir_url in told["health"]["reasons"][-1]
    world.w.clock.advance(60)
    world.s.telemetry.measure(FHIR_DURATION, 0.1, method="POST", type="Bundle", status="2xx")
    await world.tick()
    assert not (await status(world.s))["problems"]


async def test_a_fhir_service_that_takes_requests_and_answers_none_is_named_as_soon_as_a_study_is_overdue():
    world = Watched()
    world.s.telemetry.measure(FHIR_DURATION, 0.1, method="POST", type="Bundle", status="2xx")
    await world.w.ingest(world.w.put("a"))
    began = world.w.clock.now()
    await world.tick()
    world.s.telemetry.measure(FHIR_UNANSWERED)
    await world.tick()
    told = await status(world.s)
    assert (told["health"]["verdict"], told["problems"]) == ("in sync", []), "one request may take its time"
    while (world.w.clock.now() - began).total_seconds() <= 2 * world.s.settings.max_wait:
        world.w.clock.advance(10)
        world.s.telemetry.measure(FHIR_UNANSWERED)
        await world.tick()
    told = await status(world.s)
    (problem,) = told["problems"]
    assert (problem["address"], problem["code"]) == (world.s.settings.fhir_url, "fhir.unavailable")
    assert (told["health"]["verdict"], told["health"]["reasons"][-1].endswith("the services that it needs.")) == (
        "behind",
        True,
    )
    world.s.telemetry.measure(FAILURES, code="fhir.unavailable")  # a request has timed out
    await world.tick()
    assert [dict(problem) for problem in (await status(world.s))["problems"]] == [problem], (
        "one problem, since the same time"
    )
    world.w.clock.advance(60)
    world.s.telemetry.measure(FHIR_DURATION, 70.0, method="POST", type="Bundle", status="2xx")
    await world.tick()
    assert not (await status(world.s))["problems"], "a late answer is one"


async def test_a_service_that_failed_while_nothing_waits_keeps_nothing_back():
    world = Watched()
    world.s.telemetry.measure(FAILURES, code="fhir.unavailable")
    await world.tick()
    told = await status(world.s)
    assert (told["health"]["verdict"], len(told["problems"])) == ("in sync", 1)


async def test_a_backfill_that_runs_is_told_with_its_workers():
    w = MemoryWorld()
    await begin_walk(new_backfill(Scope(container="dicom")), w.services, who="ada")
    (walk,) = (await status(w.services))["walks"]
    assert (walk["kind"], walk["state"], walk["workers"], walk["counts"]) == ("backfill", "running", 0, {})
