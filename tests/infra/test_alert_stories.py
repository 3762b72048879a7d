"""Which alerts of Azure Monitor are raised: the deployed queries over telemetry that the sync emitted in stories."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from sync.delivery.handlers import sweep
from sync.errors import FhirUnavailable, SourceUnavailable, StoreUnavailable, SyncError
from sync.monitoring.counts import measure_counts, read_counts
from tests.deliveries import objects, raising, studies
from tests.infra import kql
from tests.infra.reviewed import of_type
from tests.worlds import MemoryWorld

DEPLOYED = datetime(2026, 1, 1, tzinfo=UTC)
"""When the reviewed snapshots are deployed."""
LATER = DEPLOYED + timedelta(hours=2)
ELSEWHERE = {"timer"}
"""Rules whose query is not spoken here."""


class Story:
    """A world whose telemetry goes to Application Insights, where gauges come without ``valueMax``."""

    def __init__(self):
        self.w = MemoryWorld()
        self.rows = []
        self.w.services.telemetry.export_to(self, None)

    def measured(self, instrument, value, attributes):
        gauge = instrument.kind.name == "GAUGE"
        row = {"name": instrument.name, "valueSum": value, "valueMax": None if gauge else value}
        self.rows.append({**row, "customDimensions": dict(attributes)})

    async def timers(self):
        """Run the timers once, as the host does: a failure of one does not keep the other from running."""
        with suppress(SyncError):
            await sweep(self.w.services)
        with suppress(SyncError):
            measure_counts(await read_counts(self.w.services), self.w.services)

    def raised(self, now=LATER):
        return set(raised(self.rows, now))


def raised(rows, now):
    for rule in of_type("Microsoft.Insights/scheduledQueryRules"):
        name = rule["name"].removeprefix("dicom-fhir-sync-imaging-")
        if name in ELSEWHERE:
            continue
        (criterion,) = rule["properties"]["criteria"]["allOf"]
        found = kql.value(criterion["query"], rows, now)
        above = criterion["operator"] == "GreaterThan"
        if found > criterion["threshold"] if above else found < criterion["threshold"]:
            yield name


@pytest.fixture
def story():
    return Story()


async def test_a_fresh_workspace_is_calm_for_an_hour_and_then_says_that_nothing_runs(story):
    assert story.raised(DEPLOYED + timedelta(minutes=59)) == set()
    assert story.raised() == {"stopped", "unmeasured"}


async def test_a_healthy_sync_raises_nothing(story):
    await objects(story.w, story.w.put("a"))
    await studies(story.w)
    await story.timers()
    assert story.raised() == set()


async def test_tables_that_refuse_are_not_taken_for_health(story, monkeypatch):
    refusal = raising(StoreUnavailable("403", code="store.forbidden"))
    monkeypatch.setattr(story.w.store.study_queue, "length", refusal)
    monkeypatch.setattr(type(story.w.services.queues), "depths", refusal)
    await objects(story.w, story.w.put("a"))
    await story.timers()
    assert {"stopped", "unmeasured"} <= story.raised()


async def test_a_role_that_is_missing_is_told_and_not_in_the_first_hour(story):
    story.w.store.objects.read = raising(SourceUnavailable("403", code="source.forbidden"))
    await objects(story.w, story.w.put("a"))
    await story.timers()
    assert story.raised() == {"access"}
    assert story.raised(DEPLOYED + timedelta(minutes=5)) == set()


async def test_an_outage_of_fhir_is_told_and_over_when_it_is(story):
    await objects(story.w, story.w.put("a"))
    story.w.fhir.outage = FhirUnavailable("503")
    for _ in range(4):
        await studies(story.w)
    await story.timers()
    assert "fhir-failing" in story.raised()
    story.rows.clear()
    story.w.fhir.outage = None
    story.w.clock.advance(100)
    await story.w.settle()
    await story.timers()
    assert story.raised() == set()


async def test_a_study_that_waits_too_long_is_told(story):
    await objects(story.w, story.w.put("a"))
    story.w.clock.advance(301)
    await story.timers()
    assert "lag" in story.raised()


def test_a_query_that_is_not_spoken_is_not_taken_as_evaluated():
    with pytest.raises(kql.NotSpoken):
        kql.value('customMetrics | where name == "a" | top 5 by value', [], LATER)
