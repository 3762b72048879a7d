"""
OpenTelemetry: the `Sink` and `Tracing` of `sync.telemetry.telemetry` by its SDK, to Azure Monitor, by OTLP, or both.

    Telemetry.measure  ->  instruments of the SDK  ->  every minute, on a thread of its own  ->  exporters
    Telemetry.span     ->  spans of the SDK        ->  in batches, on a thread of its own    ->  exporters

Loaded only if an exporter is configured: see `sync.bootstrap`. The providers are ours and never the global
ones, and no library is instrumented: spans of HTTP and storage clients would carry URLs, and with them names of blobs
and ids of patients. The SDK logs failures of the export; they do not affect the sync.

Source: OpenTelemetry SDK for Python; environment variables ``OTEL_*`` hold as its specification says.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from sync import __version__
from sync.config import Settings
from sync.telemetry.instruments import INSTRUMENTS, Instrument, Kind
from sync.telemetry.spans import ERROR, SpanKind, SpanRole, is_traceparent

SERVICE = "dicom-fhir-sync"
"""Resource attribute ``service.name``, unless the environment has another."""

LAST_EXPORT = 5.0
"""Seconds that a process waits at its end for the export of remaining data."""

FRESH = 90.0
"""Seconds that a gauge is exported after it was set; `sync.monitoring.alerts.watch` sets gauges twice a minute."""

_NOT_FOR_MICROSOFT = (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
)
"""The exporter would report its own statistics to Microsoft and fetch settings; only the environment prevents it."""

_ROLES = {
    SpanRole.INTERNAL: trace.SpanKind.INTERNAL,
    SpanRole.CONSUMER: trace.SpanKind.CONSUMER,
    SpanRole.CLIENT: trace.SpanKind.CLIENT,
}

logger = logging.getLogger(__name__)


class Meters:
    """The SDK's instrument for every row of the table."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._takers = {instrument.name: _taker(instrument, meter) for instrument in INSTRUMENTS}

    def measured(self, instrument: Instrument, value: float, attributes: Sequence[tuple[str, str]]) -> None:
        """Record one measurement: a few dictionary operations, no waiting."""
        self._takers[instrument.name](value, dict(attributes))


def _taker(instrument: Instrument, meter: metrics.Meter) -> Any:
    """Return the function that takes the instrument's values."""
    description = {"unit": instrument.unit, "description": instrument.description}
    if instrument.kind is Kind.COUNTER:
        return meter.create_counter(instrument.name, **description).add
    if instrument.kind is Kind.GAUGE:
        gauge = _Gauge()
        meter.create_observable_gauge(instrument.name, [gauge.observe], **description)
        return gauge.tell
    bounds = instrument.bounds
    return meter.create_histogram(instrument.name, **description, explicit_bucket_boundaries_advisory=bounds).record


class _Gauge:
    """
    The last value of a gauge, reported until it is out of date.

    Another worker may run the watch tomorrow; a gauge of the SDK would be exported for ever.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[tuple[str, str], ...], tuple[float, float]] = {}

    def tell(self, value: float, attributes: Mapping[str, str]) -> None:
        self._told[tuple(attributes.items())] = (value, time.monotonic())

    def observe(self, _: metrics.CallbackOptions) -> Sequence[metrics.Observation]:
        since = time.monotonic() - FRESH
        values = list(self._told.items())  # an exporter's thread reads while the sync may set a value
        return [metrics.Observation(value, dict(attributes)) for attributes, (value, at) in values if at >= since]


@dataclass(frozen=True, slots=True)
class _Opened:
    span: trace.Span

    def set(self, attributes: Mapping[str, str | int]) -> None:
        self.span.set_attributes(attributes)
        if ERROR in attributes:
            self.span.set_status(trace.StatusCode.ERROR)


class Traces:
    """Spans, each a child of the one that is open in the same task."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, *, links: Sequence[str], attributes: Mapping[str, str | int]
    ) -> Iterator[_Opened]:
        """Open a span as `Tracing` asks. Exceptions are not recorded: their texts may quote a file."""
        with self._tracer.start_as_current_span(
            name,
            kind=_ROLES[kind.role],
            links=[trace.Link(_context(link)) for link in links if is_traceparent(link)],
            attributes={**kind.always, **attributes},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _Opened(span)

    def traceparent(self) -> str:
        """Return the W3C ``traceparent`` of the open span; empty when there is none."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _context(traceparent: str) -> trace.SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    sampled = trace.TraceFlags(int(flags, 16))
    return trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)


class OpenTelemetry:
    """
    Exports measurements and traces of this process, until `close`.

    Parameters
    ----------
    readers
        Take the metrics.
    processors
        Take the spans.
    """

    def __init__(self, readers: Sequence[MetricReader], processors: Sequence[SpanProcessor]) -> None:
        resource = _resource()
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        for processor in processors:
            self._tracers.add_span_processor(processor)
        self.sink = Meters(self._meters.get_meter(SERVICE, __version__))
        self.tracing = Traces(self._tracers.get_tracer(SERVICE, __version__))
        self._ended = False
        atexit.register(self._end)  # for a host that ends its worker without `close`

    async def close(self) -> None:
        """Export the remaining data, for a few seconds at most; then the process may end. Idempotent."""
        last = threading.Thread(target=self._end, name="last export", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, LAST_EXPORT)

    def _end(self) -> None:
        atexit.unregister(self._end)
        if self._ended:
            return
        self._ended = True
        for end in (self._tracers.shutdown, self._meters.shutdown):
            try:
                end()
            except Exception as defect:  # noqa: BLE001 -- the sync must not suffer from its own measuring
                logger.error("the last export failed: %s", type(defect).__name__)  # noqa: TRY400 -- no texts


def _resource() -> Resource:
    """Return the resource that exports; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` win."""
    ours = {"service.name": SERVICE, "service.version": __version__, "service.instance.id": uuid4().hex}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def exporting(settings: Settings) -> OpenTelemetry | None:
    """
    Start the exporters that the settings name; None if they name none.

    An address that no exporter accepts is logged by the name of its setting, and nothing is exported to it: the sync
    does not depend on exporters.
    """
    exporters: list[tuple[MetricExporter, SpanExporter]] = []
    for setting, value, build in (
        ("insights_connection", settings.insights_connection, _azure_monitor),
        ("otlp_endpoint", settings.otlp_endpoint, _otlp),
    ):
        if value:
            try:
                exporters.append(build(value))
            except Exception as problem:  # noqa: BLE001 -- whatever it is, it is no reason to stop syncing
                name = settings.variable(setting)
                logger.error("%s: nothing is exported there (%s)", name, type(problem).__name__)  # noqa: TRY400
    if not exporters:
        return None
    readers = [PeriodicExportingMetricReader(for_metrics) for for_metrics, _ in exporters]
    return OpenTelemetry(readers, [BatchSpanProcessor(for_spans) for _, for_spans in exporters])


def _otlp(endpoint: str) -> tuple[MetricExporter, SpanExporter]:
    """Return the OTLP exporters of metrics and spans, over HTTP. Source: OTLP exporter specification, endpoint URLs."""
    # Imported here, so that an exporter that cannot be loaded does not disable the other.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 -- see above
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 -- see above

    root = endpoint.rstrip("/")
    metrics_at = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or f"{root}/v1/metrics"
    traces_at = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{root}/v1/traces"
    return OTLPMetricExporter(endpoint=metrics_at), OTLPSpanExporter(endpoint=traces_at)


def _azure_monitor(connection: str) -> tuple[MetricExporter, SpanExporter]:
    """
    Return the Azure exporters; ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING`` makes them use the identity.

    Data that cannot be sent are dropped and not kept on disk: our own history is in Table Storage.
    """
    from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415 -- 0.3 s more, that OTLP need not wait
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    for switch in _NOT_FOR_MICROSOFT:
        os.environ.setdefault(switch, "true")
    options: dict[str, Any] = {"connection_string": connection, "disable_offline_storage": True}
    return AzureMonitorMetricExporter(**options), AzureMonitorTraceExporter(**options)
