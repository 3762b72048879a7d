"""Which alerts of Azure Monitor are raised: the deployed queries over telemetry that the sync emitted in stories."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.dead_letters.held_removals import confirm_removals, refuse_removals
from sync.delivery.handlers import handle_object_message, handle_poison_object, sweep
from sync.delivery.watchdog import within_budget
from sync.errors import FhirUnavailable, SourceUnavailable, StoreUnavailable, SyncError, Throttled
from sync.feeds import read_dicom_feed
from sync.monitoring.alerts.missing_events import find_missing_events
from sync.monitoring.alerts.unread_feeds import note_unread_feeds
from sync.monitoring.counts import measure_counts, read_counts
from sync.monitoring.timers import Phase, run_phases
from sync.verify.checking import Checker
from sync.verify.reconcile import reconcile
from tests.deliveries import objects, raising, studies
from tests.dicom_services import FeedWorld, instance
from tests.infra import kql
from tests.infra.reviewed import digest, of_type
from tests.infra.templates import INFRA
from tests.unit.verify.test_full_scan import Naps
from tests.worlds import SOURCES, STUDY, UNREADABLE, MemoryWorld, events, study_id

DEPLOYED = datetime(2026, 1, 1, tzinfo=UTC)
"""When the reviewed snapshots are deployed."""
LATER = 7200
"""Seconds after it at which a story begins: a fresh deployment is left alone for an hour."""

RULE = "Microsoft.Insights/scheduledQueryRules"
ALERTS = (INFRA / "alerts.bicep").read_text("utf-8")
LONG = {digest(text): text for text in re.findall(r"^    query: '(.*)'$", ALERTS, re.MULTILINE)}
"""The snapshots have a digest in place of a long query."""


class Story:
    """A world whose telemetry goes to Application Insights, where gauges come without ``valueMax``."""

    def __init__(self, world=None):
        self.w = world or MemoryWorld()
        self.rows = []
        self.w.services.telemetry.export_to(self, None)
        self.w.clock.advance(LATER)

    def measured(self, instrument, value, attributes):
        gauge = instrument.kind.name == "GAUGE"
        row = {"name": instrument.name, "valueSum": value, "valueMax": None if gauge else value}
        self.rows.append({**row, "customDimensions": dict(attributes), "timestamp": self.w.clock.now()})

    async def timers(self):
        """Run the timers once, as the host does: a failure of one does not keep the other from running."""
        s, listing = self.w.services, self.w.store.objects

        async def counts():
            measure_counts(await read_counts(s), s)

        for name, work in {
            "sweep": lambda: sweep(s),
            "read_dicom_feed": lambda: read_dicom_feed(s),
            "unread_feeds": lambda: note_unread_feeds(s),
            "missing_events": lambda: find_missing_events(s, listing),
            "reconcile": lambda: reconcile(s, listing, Checker(sleep=Naps())),
            "counts": counts,
        }.items():
            with suppress(SyncError):
                await run_phases(name, [Phase(name=name, work=work)], s)

    async def passes(self, seconds):
        """Let time go by in which nothing but the timers runs, once a minute."""
        for _ in range(0, seconds, 60):
            self.w.clock.advance(60)
            await self.timers()

    def raised(self, now=None):
        return set(raised(self.rows, now or self.w.clock.now()))


def raised(rows, now):
    for rule in of_type(RULE):
        (criterion,) = rule["properties"]["criteria"]["allOf"]
        minutes = int(re.fullmatch(r"PT(\d+)M", rule["properties"]["windowSize"])[1])
        begins = now - timedelta(minutes=minutes)
        query = LONG.get(criterion["query"], criterion["query"])
        value = kql.value(query, [row for row in rows if row["timestamp"] >= begins], now)
        above = criterion["operator"] == "GreaterThan"
        if value > criterion["threshold"] if above else value < criterion["threshold"]:
            yield rule["name"].removeprefix("dicom-fhir-sync-imaging-")


@pytest.fixture
def story():
    return Story()


async def test_a_fresh_workspace_is_calm_for_an_hour_and_then_says_that_nothing_runs(story):
    assert story.raised(DEPLOYED + timedelta(minutes=59)) == set()
    assert story.raised() == {"stopped", "unmeasured"}


async def test_a_healthy_sync_raises_nothing(story):
    await objects(story.w, story.w.put("a"))
    await story.w.settle()
    await story.passes(1200)
    assert story.raised() == set()


async def test_tables_that_refuse_are_not_taken_for_health(story, monkeypatch):
    refusal = raising(StoreUnavailable("403", code="store.forbidden"))
    with monkeypatch.context() as broken:
        broken.setattr(story.w.store.study_queue, "length", refusal)
        broken.setattr(type(story.w.services.queues), "depths", refusal)
        await objects(story.w, story.w.put("a"))
        await story.timers()
        assert {"stopped", "unmeasured", "access"} <= story.raised()
    await story.w.settle()
    await story.passes(960)
    assert story.raised() == set()


async def test_a_role_that_is_missing_is_told_and_not_in_the_first_hour(story):
    read = story.w.store.objects.read
    story.w.store.objects.read = raising(SourceUnavailable("403", code="source.forbidden"))
    await objects(story.w, story.w.put("a"))
    await story.timers()
    assert story.raised() == {"access"}
    early = [{**row, "timestamp": DEPLOYED} for row in story.rows]
    assert set(raised(early, DEPLOYED + timedelta(minutes=5))) == set()
    story.w.store.objects.read = read
    await story.passes(360)
    await objects(story.w, story.w.put("a"))
    await story.w.settle()
    await story.passes(360)
    assert story.raised() == set()


async def test_an_outage_of_fhir_is_told_and_over_when_it_is(story):
    await objects(story.w, story.w.put("a"))
    story.w.fhir.outage = FhirUnavailable("503")
    for _ in range(4):
        await studies(story.w)
    await story.timers()
    assert "fhir-failing" in story.raised()
    story.w.fhir.outage = None
    await story.passes(240)
    await story.w.settle()
    await story.passes(960)
    assert story.raised() == set()


async def test_a_fhir_service_that_throttles_is_told_and_one_busy_minute_is_not(story):
    throttles = httpx.MockTransport(lambda request: httpx.Response(429))

    async def read(times):
        for _ in range(times):
            server = HttpFhirServer(
                "https://fhir.example",
                telemetry=story.w.services.telemetry,
                transport=throttles,
                breaker=CircuitBreaker(lambda: 0.0),
                sleep=Naps(),
            )
            with pytest.raises(Throttled):
                await server.read("ImagingStudy", "is-1")
        await story.timers()

    await read(1)
    assert story.raised() == set()
    await read(20)
    assert story.raised() == {"fhir-throttling"}
    await story.passes(960)
    assert story.raised() == set()


@pytest.mark.parametrize("confirms", [True, False])
async def test_removals_past_the_ceiling_are_told_until_an_operator_decides(confirms):
    story = Story(MemoryWorld(max_removals_per_hour=1))
    for name in ("a", "b"):
        await story.w.ingest(story.w.put(name, study=f"2.25.{ord(name)}", sop=f"2.25.{ord(name)}.1"))
    await story.w.settle()
    await objects(story.w, story.w.delete("a"), story.w.delete("b"))
    await story.w.settle()
    await story.timers()
    assert "removals" in story.raised()
    assert studies_in_fhir(story) == 1
    if confirms:
        await confirm_removals(SOURCES, story.w.services, who="ada", why="the source was checked")
    else:
        await refuse_removals(story.w.services, who="ada", why="the object comes back")
        await objects(story.w, story.w.put("b", study="2.25.98", sop="2.25.98.1"))
    await run_messages(story.w)
    await story.w.settle()
    await story.passes(960)
    assert story.raised() == set()
    assert studies_in_fhir(story) == (0 if confirms else 1)


def studies_in_fhir(story):
    return sum(1 for resource in story.w.server.resources() if resource["resourceType"] == "ImagingStudy")


async def run_messages(world):
    for message in list(world.store.object_queue.messages):
        world.store.object_queue.messages.remove(message)
        await handle_object_message(message.text, SOURCES, world.services)


async def test_a_study_that_waits_too_long_is_told_until_it_is_written(story):
    await objects(story.w, story.w.put("a"))
    story.w.clock.advance(301)
    await story.timers()
    assert story.raised() == {"lag"}
    await story.w.settle()
    await story.passes(360)
    assert story.raised() == set()


async def test_an_object_without_an_event_is_told_until_a_backfill_has_seen_it(story):
    change = story.w.put("a")
    await story.passes(1020)
    assert story.raised() == {"missing-events", "drift"}
    await objects(story.w, change)
    await story.w.settle()
    await story.passes(360)
    assert story.raised() == set()


async def test_a_study_deleted_in_fhir_is_drift_until_it_is_back(story):
    await objects(story.w, story.w.put("a"))
    await story.w.settle()
    story.w.erase("ImagingStudy", study_id(STUDY))
    await story.passes(1200)
    assert story.raised() == {"drift"}
    await story.w.replay()
    await story.passes(1200)
    assert story.w.imaging_study() is not None
    assert story.raised() == set()


async def test_a_poison_message_is_told_for_its_window(story):
    await handle_poison_object(events(story.w.put("a")), SOURCES, story.w.services)
    await story.timers()
    assert story.raised() == {"poison"}
    await story.passes(660)
    assert story.raised() == set()


async def test_a_queue_that_nothing_takes_from_is_told_until_it_is_empty(story, monkeypatch):
    begun = story.w.clock.now()

    async def depths():
        return {"objects": 3}

    async def oldest(names):
        return dict.fromkeys(names, begun)

    with monkeypatch.context() as waiting:
        waiting.setattr(story.w.store.study_queue, "depths", depths)
        waiting.setattr(story.w.store.study_queue, "oldest", oldest)
        await story.passes(360)
        assert story.raised() == {"queue"}
    await story.passes(360)
    assert story.raised() == set()


async def test_a_phase_that_keeps_failing_is_told_and_one_failure_is_not(story, monkeypatch):
    listing = type(story.w.store.objects)
    with monkeypatch.context() as broken:
        broken.setattr(listing, "page", raising(SourceUnavailable("503")))
        await story.passes(120)
        assert "timer" not in story.raised()
        await story.passes(900)
        assert story.raised() == {"timer"}
    await story.passes(60)
    assert story.raised() == set()


async def test_a_feed_that_is_refused_is_told_at_once_and_one_that_stands_still_after_its_limit():
    story = Story(FeedWorld())
    story.w.service.store(instance())
    await story.passes(120)
    assert story.raised() == set()
    story.w.service.outages += [SourceUnavailable("403", code="source.forbidden")] * 18
    await story.passes(60)
    assert story.raised() == {"access"}
    await story.passes(960)
    assert {"access", "feed"} <= story.raised()
    story.w.service.outages.clear()
    await story.w.settle()
    await story.passes(960)
    assert story.raised() == set()


async def test_a_burst_of_unreadable_files_is_told(story):
    for number in range(11):
        await objects(story.w, story.w.put(f"{number}", UNREADABLE))
    await story.timers()
    assert story.raised() == {"dead-letters"}
    await story.passes(660)
    assert story.raised() == set()


async def test_a_defect_of_the_sync_is_told(story):
    read = story.w.store.objects.read
    story.w.store.objects.read = raising(RuntimeError("a defect"))
    with suppress(SyncError):
        await objects(story.w, story.w.put("a"))
    await story.timers()
    assert story.raised() == {"defect"}
    story.w.store.objects.read = read
    await objects(story.w, story.w.put("a"))
    await story.w.settle()
    await story.passes(660)
    assert story.raised() == set()


async def test_a_delivery_without_end_is_told(story):
    short = story.w.services.settings.model_copy(update={"delivery_budget_seconds": 0.01})
    object.__setattr__(story.w.services, "settings", short)
    limit = asyncio.Event()
    with suppress(SyncError):
        await within_budget(limit.wait(), story.w.services)
    await story.timers()
    assert story.raised() == {"delivery"}
    await story.passes(960)
    assert story.raised() == set()


async def test_a_sync_that_stops_is_told(story):
    await story.passes(120)
    story.w.clock.advance(660)
    assert story.raised() == {"stopped", "unmeasured"}
    await story.passes(60)
    assert story.raised() == set()


def test_a_query_that_is_not_spoken_is_not_taken_as_evaluated():
    with pytest.raises(kql.NotSpoken):
        kql.value('customMetrics | where name == "a" | top 5 by value', [], DEPLOYED)
