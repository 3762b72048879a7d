"""
``GET api/metrics``: the state in the text format of Prometheus.

Every worker gives the same answer, because all values are read from the state account: waiting work, open failures, and
the measurements of all workers in the last whole minutes. So every value is a gauge; a counter of one worker would jump
with each scrape. Counters and histograms become sums over ``RECENT`` minutes, with the minutes in their names.

Source: Prometheus "Exposition formats" and "Metric and label naming".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from sync.errors import SyncError
from sync.monitoring.counts import read_counts
from sync.monitoring.headline import VERDICTS, headline
from sync.monitoring.history import Chart, end_of, floor, read_past
from sync.monitoring.status import status_of
from sync.monitoring.status_model import RECENT, Status
from sync.ports import Measure
from sync.telemetry.instruments import INSTRUMENTS, Instrument, Kind
from sync.telemetry.measurements import MINUTE, Measurement
from sync.web.rendering import RenderedPage

MIMETYPE = "text/plain; version=0.0.4"
QUANTILES = (0.5, 0.95)

_UNITS = {"s": "_seconds", "By": "_bytes"}

STATE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "dicom_sync_verdict": ("1 for the verdict of now, 0 for the others.", ("verdict",)),
    "dicom_sync_nothing_left": ("1 if the verdict is in sync, and no dead letter and no drift is left.", ()),
    "dicom_sync_alert_active": ("1 for each alert that is active.", ("code", "severity")),
    "dicom_sync_service_failing": ("1 for each service that fails now.", ("service", "code")),
    "dicom_sync_dead_letters_by_code": ("Current dead letters, by code.", ("code",)),
    "dicom_sync_drift_by_kind": ("Open differences, by kind.", ("kind",)),
    "dicom_sync_synced_instances": ("Instances in FHIR.", ()),
    "dicom_sync_paused": ("1 while projection is paused.", ()),
    "dicom_sync_data_timestamp_seconds": ("When this was read, in seconds since 1970.", ()),
}
"""Metrics of the state -> help and labels. The metrics of `sync.telemetry.instruments` are added to them."""


def metric_names(instrument: Instrument) -> tuple[str, ...]:
    """Return the names of the metrics that an instrument becomes."""
    base = instrument.name.replace(".", "_") + _UNITS.get(instrument.unit, "")
    if instrument.kind is Kind.GAUGE:
        return (base,)
    if instrument.kind is Kind.COUNTER:
        return (f"{base}_{RECENT}m",)
    return (f"{base}_{RECENT}m_count", f"{base}_{RECENT}m_quantile")


async def metrics(s: Measure) -> RenderedPage:
    """Answer a scrape; 503 with the code of the failure when storage does not answer."""
    try:
        text = await metrics_text(s)
    except SyncError as failure:
        return RenderedPage(body=f"{failure.code}\n", status=503, mimetype="text/plain")
    return RenderedPage(body=text.decode(), mimetype=MIMETYPE, headers={"Cache-Control": "no-store"})


async def metrics_text(s: Measure) -> bytes:
    """
    Return the metrics. Only reads, as much as `sync.monitoring.status.read_status`.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    now = s.clock.now()
    end = floor(now, MINUTE)
    begin = end - timedelta(minutes=RECENT)
    counts, past = await asyncio.gather(read_counts(s), read_past(s.metrics, begin, now + timedelta(minutes=1)))
    registry = CollectorRegistry()
    _tell_state(status_of(counts, past, s), registry)
    whole = past.chart({instrument.name for instrument in INSTRUMENTS}, begin, end_of(now, MINUTE))
    for instrument in INSTRUMENTS:
        _tell(instrument, whole, registry)
    return generate_latest(registry)


def _tell_state(status: Status, registry: CollectorRegistry) -> None:
    _, tone = headline(status)
    values: dict[str, Iterable[tuple[tuple[str, ...], float]]] = {
        "dicom_sync_verdict": [((verdict,), float(verdict == status.health.verdict)) for verdict in VERDICTS],
        "dicom_sync_nothing_left": [((), float(tone == "good"))],
        "dicom_sync_alert_active": [((alert.code, alert.severity), 1.0) for alert in status.alerts],
        "dicom_sync_service_failing": [((problem.service, problem.code), 1.0) for problem in status.problems],
        "dicom_sync_dead_letters_by_code": [((code,), n) for code, n in status.dead_letters_by_code.items()],
        "dicom_sync_drift_by_kind": [((kind,), n) for kind, n in status.drift.by_kind.items()],
        "dicom_sync_synced_instances": [((), status.synced_instances)],
        "dicom_sync_paused": [((), float(status.paused is not None))],
        "dicom_sync_data_timestamp_seconds": [((), status.at.timestamp())],
    }
    for name, (text, labels) in STATE.items():
        gauge = Gauge(name, text, labels, registry=registry)
        for label_values, value in values[name]:
            _set(gauge, label_values, value)


def _tell(instrument: Instrument, chart: Chart, registry: CollectorRegistry) -> None:
    lines = chart.of(instrument.name)
    if instrument.kind is Kind.GAUGE and not lines:
        return  # an unmeasured gauge without labels would read as 0
    labels = [attribute.key.replace(".", "_") for attribute in instrument.attributes]
    keys = [attribute.key for attribute in instrument.attributes]
    quantile = ["quantile"] if instrument.kind is Kind.HISTOGRAM else []
    gauges = [
        Gauge(
            name,
            instrument.description,
            [*labels, *(quantile if name.endswith("_quantile") else [])],
            registry=registry,
        )
        for name in metric_names(instrument)
    ]
    for line in lines:
        values = [dict(line.attributes).get(key, "") for key in keys]
        points = [point for point in line.points if point is not None]
        if instrument.kind is Kind.GAUGE:
            latest = [point for point in line.points[-2:] if point is not None]
            if latest:
                _set(gauges[0], values, latest[-1].highest)
            continue
        whole = sum(points, Measurement())
        _set(gauges[0], values, whole.total if instrument.kind is Kind.COUNTER else whole.count)
        for share in QUANTILES if quantile else ():
            value = whole.quantile(share, instrument.bounds)
            if value is not None:
                _set(gauges[1], [*values, str(share)], value)


def _set(gauge: Gauge, labels: Sequence[str], value: float) -> None:
    (gauge.labels(*labels) if labels else gauge).set(value)
