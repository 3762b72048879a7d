"""What Prometheus scrapes: the state, what all workers measured; and the Grafana dashboard asks for nothing else."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sync.errors import StoreUnavailable
from sync.monitoring.counts import measure_counts, read_counts
from sync.monitoring.history import Recorder
from sync.telemetry.instruments import INSTRUMENTS, LATENCY, OBJECTS
from sync.web.prometheus import STATE, metric_names, metrics, metrics_text
from tests.worlds import UNREADABLE, MemoryWorld

GRAFANA = Path(__file__).parents[3] / "deploy" / "grafana" / "dicom-fhir-sync.json"
ALL = frozenset(STATE) | {name for instrument in INSTRUMENTS for name in metric_names(instrument)}


@pytest.fixture
def w():
    return MemoryWorld()


async def scraped(w):
    text = (await metrics_text(w.services)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def recorded(w):
    s = w.services
    measure_counts(await read_counts(s), s)
    await Recorder(s.telemetry, s.metrics, s.clock, worker="w").flush()


async def test_it_tells_the_state_and_what_was_measured(w):
    await w.arrive("a.dcm")
    await w.arrive("none", UNREADABLE)
    w.services.telemetry.measure(OBJECTS, 3, outcome="written")
    w.services.telemetry.measure(LATENCY, 7.0)
    await recorded(w)
    values = await scraped(w)
    assert values["dicom_sync_verdict", ("in sync",)] == 1
    assert values["dicom_sync_verdict", ("failing",)] == 0
    assert values["dicom_sync_nothing_left", ()] == 0
    assert values["dicom_sync_dead_letters_by_code", ("header.not_dicom",)] == 1
    assert values["dicom_sync_synced_studies", ()] == 1
    assert values["dicom_sync_study_latency_seconds_5m_count", ()] >= 1
    assert 0 < values["dicom_sync_study_latency_seconds_5m_quantile", ("0.5",)] <= 100
    assert values["dicom_sync_data_timestamp_seconds", ()] == w.clock.now().timestamp()


async def test_a_gauge_that_was_not_measured_is_left_out_rather_than_nought(w):
    assert ("dicom_sync_dirty_age_seconds", ()) not in await scraped(w)


async def test_every_metric_that_is_told_is_a_known_one(w):
    await w.arrive("a.dcm")
    await recorded(w)
    assert {name for name, _ in await scraped(w)} <= ALL


def test_every_query_of_the_grafana_dashboard_is_of_a_metric_that_there_is():
    panels = json.loads(GRAFANA.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"\bdicom_sync_(?:\w+)", query)}
    labels = {attribute.key.replace(".", "_") for instrument in INSTRUMENTS for attribute in instrument.attributes}
    assert len(asked) > 10
    assert asked - labels <= ALL


def test_the_labels_of_its_legends_are_those_of_its_metrics():
    labels = {attribute.key.replace(".", "_") for instrument in INSTRUMENTS for attribute in instrument.attributes}
    labels |= {"quantile", "code", "kind", "verdict", "service", "severity"}
    panels = json.loads(GRAFANA.read_text("utf-8"))["panels"]
    legends = [target["legendFormat"] for panel in panels for target in panel["targets"]]
    assert {name for legend in legends for name in re.findall(r"{{(\w+)}}", legend)} <= labels


def test_names_end_in_units_as_prometheus_wants_them():
    assert metric_names(LATENCY) == (
        "dicom_sync_study_latency_seconds_5m_count",
        "dicom_sync_study_latency_seconds_5m_quantile",
    )
    assert metric_names(OBJECTS) == ("dicom_sync_objects_5m",)


async def test_when_storage_does_not_answer_a_scrape_fails(w, monkeypatch):
    async def refuse(*_):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(w.services.queues, "depths", refuse)
    page = await metrics(w.services)
    assert (page.status, page.body) == (503, "store.unavailable\n")
