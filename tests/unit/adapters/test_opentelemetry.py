"""What is exported: every instrument and span as the tables say, nothing else, and nothing where no exporter is set."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from azure.core.settings import settings as azure_settings
from azure.monitor.opentelemetry.exporter._configuration._state import get_configuration_manager
from azure.monitor.opentelemetry.exporter.export import _base as azure_base
from azure.monitor.opentelemetry.exporter.statsbeat._state import is_statsbeat_enabled
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sync import __version__
from sync.adapters import opentelemetry
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.adapters.opentelemetry import OpenTelemetry, exporting
from sync.config import Settings
from sync.errors import FhirRejected, Throttled
from sync.telemetry import spans
from sync.telemetry.instruments import BY_NAME, INSTRUMENTS, LATENCY, QUEUE_AGE, STUDIES, Kind
from sync.telemetry.telemetry import Telemetry
from tests.collector import collecting

ROOT = Path(__file__).parents[3]
STUDY = "a" * 40
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Exported:
    def __init__(self):
        self.reader, self.spans = InMemoryMetricReader(), InMemorySpanExporter()
        self.exports = OpenTelemetry([self.reader], [SimpleSpanProcessor(self.spans)])
        self.telemetry = Telemetry(sinks=[self.exports.sink], tracing=self.exports.tracing)

    def metrics(self):
        data = self.reader.get_metrics_data()
        scopes = [scope for metric in data.resource_metrics for scope in metric.scope_metrics] if data else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def one(self):
        (span,) = self.spans.get_finished_spans()
        return span


@pytest.fixture
def exported():
    return Exported()


def settings(**given):
    return Settings(fhir_url="http://localhost/fhir", AzureWebJobsStorage="UseDevelopmentStorage=true", **given)


def test_every_instrument_is_exported_with_its_unit_and_bounds(exported):
    for instrument in INSTRUMENTS:
        exported.telemetry.measure(instrument, 3.0)
    by_name = exported.metrics()
    assert set(by_name) == set(BY_NAME)
    for name, metric in by_name.items():
        instrument = BY_NAME[name]
        assert (metric.unit, metric.description) == (instrument.unit, instrument.description)
        (point,) = metric.data.data_points
        if instrument.kind is Kind.HISTOGRAM:
            assert tuple(point.explicit_bounds) == instrument.bounds
            assert (point.count, point.sum) == (1, 3.0)
        else:
            assert point.value == 3.0
        if instrument.kind is Kind.COUNTER:
            assert metric.data.is_monotonic


def test_attributes_go_along_by_their_keys_and_values_of_files_do_not(exported):
    exported.telemetry.measure(STUDIES, outcome="written", patient="Doe")
    exported.telemetry.measure(STUDIES, outcome="Doe^Jane")
    points = exported.metrics()[STUDIES.name].data.data_points
    assert sorted(point.attributes["dicom_sync.outcome"] for point in points) == ["other", "written"]
    assert all(set(point.attributes) == {"dicom_sync.outcome"} for point in points)


def test_a_gauge_is_not_exported_for_ever_by_a_worker_that_looks_no_more(exported, monkeypatch):
    exported.telemetry.measure(QUEUE_AGE, 800.0, queue="studies")
    exported.telemetry.measure(QUEUE_AGE, 900.0, queue="studies")
    assert [point.value for point in exported.metrics()[QUEUE_AGE.name].data.data_points] == [900.0]
    assert QUEUE_AGE.name in exported.metrics()
    monkeypatch.setattr(opentelemetry, "FRESH", -1.0)
    assert QUEUE_AGE.name not in exported.metrics()


@pytest.mark.parametrize("kind", spans.SPANS, ids=lambda kind: kind.name or "fhir request")
def test_no_span_takes_a_value_of_a_file(kind):
    texts = [
        attribute for attribute in kind.attributes if attribute is not spans.SERVER
    ]  # that one comes of the settings
    for hostile in ("Doe^Jane", "1.2.840.113619.2.1", "Doe", "quillon/head.dcm", "Doe\n" + STUDY):
        given = {attribute.name: hostile for attribute in (*texts, *kind.numbers)}
        assert set(kind.attributes_of(given).values()) == {"other"}
        assert "Doe" not in kind.name_of(given)


@pytest.mark.parametrize("kind", spans.SPANS, ids=lambda kind: kind.name or "fhir request")
def test_attributes_of_spans_are_named_as_opentelemetry_wants(kind):
    keys = [attribute.key for attribute in (*kind.attributes, *kind.numbers)] + list(kind.always)
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", key) for key in keys)


def test_a_span_of_a_message_is_linked_to_what_sent_it(exported):
    links = (TRACEPARENT, "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01")
    with exported.telemetry.span(spans.STUDY_MESSAGE, links=links, study=STUDY, attempt=2) as span:
        span.note(outcome="written", nonsense="Doe")
    span = exported.one()
    assert (span.name, span.kind, span.parent) == ("process studies", trace.SpanKind.CONSUMER, None)
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACEPARENT.split("-")[1]]
    assert dict(span.attributes) == {
        "messaging.system": "azure_queue_storage",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "studies",
        "dicom_sync.study": STUDY,
        "dicom_sync.attempt": 2,
        "dicom_sync.outcome": "written",
    }


def test_a_traceparent_is_that_of_the_open_span(exported):
    assert exported.telemetry.traceparent() == ""
    with exported.telemetry.span(spans.INGEST_OBJECT):
        said = exported.telemetry.traceparent()
    context = exported.one().get_span_context()
    assert said == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert spans.is_traceparent(said)


@pytest.mark.parametrize(
    ("failure", "said"),
    [(FhirRejected("Doe^Jane"), "fhir.rejected"), (ValueError("Doe^Jane"), "ValueError")],
)
def test_what_fails_is_told_by_code_or_type_and_never_by_text(exported, failure, said):
    with pytest.raises(type(failure)), exported.telemetry.span(spans.PROJECT_STUDY, study=STUDY):
        raise failure
    span = exported.one()
    assert span.attributes["error.type"] == said
    assert (span.status.status_code, span.status.description, span.events) == (trace.StatusCode.ERROR, None, ())
    assert "Doe" not in span.to_json()


async def test_a_request_to_fhir_is_a_child_without_its_address(exported):
    answers = {"GET": httpx.Response(404, json={"resourceType": "OperationOutcome"}), "POST": httpx.Response(429)}
    transport = httpx.MockTransport(lambda request: answers[request.method])
    fhir = HttpFhirServer("https://fhir.example/r4", telemetry=exported.telemetry, transport=transport, sleep=_at_once)
    with exported.telemetry.span(spans.STUDY_MESSAGE, study=STUDY):
        assert await fhir.read("Patient", "quillon-1937") is None
        with pytest.raises(Throttled):
            await fhir.search("Patient", None, "quillon-1937")
    read, search, *_, whole = exported.spans.get_finished_spans()
    assert (read.name, read.kind) == ("GET Patient", trace.SpanKind.CLIENT)
    assert read.parent.span_id == whole.get_span_context().span_id
    assert dict(read.attributes) == {
        "http.request.method": "GET",
        "fhir.resource_type": "Patient",
        "server.address": "fhir.example",
        "server.port": 443,
        "http.response.status_code": 404,
    }
    assert search.attributes["error.type"] == "429"
    assert "quillon" not in "".join(span.to_json() for span in exported.spans.get_finished_spans())


async def _at_once(_):
    return None


async def test_both_ways_get_what_was_measured_when_the_process_ends(caplog):
    with collecting() as collector:
        exports = exporting(settings(insights_connection=collector.connection_string, otlp_endpoint=collector.url))
        telemetry = Telemetry()
        telemetry.export_to(exports.sink, exports.tracing)
        telemetry.measure(LATENCY, 4.0)
        with telemetry.span(spans.INGEST_OBJECT, outcome="synced"):
            pass
        await exports.close()
        await exports.close()
    (latency,) = collector.metrics()[LATENCY.name]
    assert latency.unit == "s"
    assert [span.name for span in collector.spans()] == ["ingest object"]
    (resource,) = collector.resources()
    assert (resource["service.name"], resource["service.version"]) == ("dicom-fhir-sync", __version__)
    assert re.fullmatch("[0-9a-f]{32}", resource["service.instance.id"])
    data = [envelope["data"]["baseData"] for envelope in collector.envelopes()]
    assert LATENCY.name in {envelope["metrics"][0]["name"] for envelope in data if "metrics" in envelope}
    assert "ingest object" in {entry.get("name") for entry in data}
    assert {envelope["tags"]["ai.cloud.role"] for envelope in collector.envelopes()} == {"dicom-fhir-sync"}


def test_application_insights_is_signed_in_to_by_identity_and_nothing_else_is_told_to_microsoft(monkeypatch):
    asked = []
    monkeypatch.setattr(azure_base, "ManagedIdentityCredential", lambda **given: asked.append(given) or Credential())
    monkeypatch.setenv("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "ClientId=c-1;Authorization=AAD")
    key = "InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=http://127.0.0.1:9/"
    assert exporting(settings(insights_connection=key)) is not None
    assert asked == [{"client_id": "c-1"}] * 2
    assert not is_statsbeat_enabled()
    assert get_configuration_manager() is None


class Credential:
    def get_token(self, *_, **__):
        raise AssertionError("nothing is sent here")


@pytest.mark.parametrize("status", [400, 503])
async def test_a_collector_that_refuses_holds_nothing_up(status, monkeypatch):
    monkeypatch.setattr(opentelemetry, "LAST_EXPORT", 1.0)
    with collecting() as collector:
        collector.status = status
        exports = exporting(settings(otlp_endpoint=collector.url, insights_connection=collector.connection_string))
        began = time.perf_counter()
        for _ in range(1000):
            exports.sink.measured(STUDIES, 1, ())
        assert time.perf_counter() - began < 1
        await exports.close()
    assert time.perf_counter() - began < 5


def test_an_address_that_is_none_is_logged_by_name_and_disturbs_nothing(caplog):
    assert exporting(settings(insights_connection="InstrumentationKey=secret-nonsense")) is None
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in caplog.text
    assert "secret-nonsense" not in caplog.text


@pytest.mark.parametrize(
    ("module", "named"),
    [
        ("azure.monitor.opentelemetry.exporter", "APPLICATIONINSIGHTS_CONNECTION_STRING"),
        ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
async def test_an_exporter_that_cannot_be_loaded_does_not_take_the_other_along(module, named, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, module, None)
    with collecting() as collector:
        exports = exporting(settings(otlp_endpoint=collector.url, insights_connection=collector.connection_string))
        assert exports is not None
        assert f"{named}: nothing is exported there (ModuleNotFoundError)" in caplog.text
        assert caplog.text.count("nothing is exported there") == 1
        await exports.close()


def test_names_from_the_environment_win(monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "imaging")
    reader = InMemoryMetricReader()
    OpenTelemetry([reader], []).sink.measured(STUDIES, 1, ())
    resource = reader.get_metrics_data().resource_metrics[0].resource.attributes
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("imaging", "test")
    assert resource["service.version"] == __version__


def test_nothing_is_loaded_where_no_exporter_is_set():
    code = (
        "import sys, function_app, sync.bootstrap; "
        "print([m for m in sys.modules if 'opentelemetry' in m or 'psutil' in m])"
    )
    environment = {"PATH": "", "PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-c", code]
    said = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    loaded = eval(said.stdout)
    assert [name for name in loaded if not name.startswith("azure_functions")] == []


def test_no_library_is_instrumented():
    """Spans of HTTP and storage clients would carry URLs, and with them names of blobs."""
    exporting(settings(otlp_endpoint="http://127.0.0.1:9"))
    assert not hasattr(trace.get_tracer_provider(), "add_span_processor")
    assert type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")
    assert azure_settings.tracing_enabled() is False
    pinned = re.findall(r"^([a-z][a-z0-9.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert "opentelemetry-sdk" in pinned
    forbidden = ("opentelemetry-instrumentation", "opentelemetry-distro", "azure-core-tracing")
    assert not [name for name in pinned if name.startswith(forbidden) or name == "azure-monitor-opentelemetry"]
