"""
The one table of metrics: names, units and attributes as OpenTelemetry wants them.

    the sync  ->  Telemetry.measure(instrument, value, attribute=…)  ->  metric history in Table Storage
                                                                     ->  OpenTelemetry, if there is an exporter

Attribute values come from closed sets, or are error codes: none can hold patient data, and there are few of them. A
counter adds up; a gauge holds the value at one time; a histogram holds durations or sizes, and their count.

Source: OpenTelemetry semantic conventions (metrics naming, ``http.client.request.duration``, ``error.type``), UCUM.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sync.model import Delivered, Ingested, Projected
from sync.model.queues import QUEUES

OTHER = "other"
"""Replaces a value that is outside its set."""

_CODE = re.compile(r"[a-z]{2,20}\.[a-z_]{2,40}")
_FEED = re.compile(r"[a-z]{2,20}")
_NAME = re.compile(r"[a-z][a-z_]{1,39}")
_FUNCTION = re.compile(r"[a-z_][a-z0-9_.]{1,99}")


class Kind(enum.Enum):
    """How an instrument's measurements are aggregated."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """
    One attribute: its name in the code, its OpenTelemetry key, and the values that it may hold.

    ``values`` is the closed set; if empty, the values are error codes or other words of ours that match ``form``.
    """

    name: str
    key: str
    values: frozenset[str] = frozenset()
    form: re.Pattern[str] = _CODE

    def value(self, raw: object) -> str:
        """Return the value, or `OTHER` if this attribute may not hold it."""
        text = str(raw)
        fits = text in self.values if self.values else self.form.fullmatch(text)
        return text if fits else OTHER


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One metric."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[Attribute, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""

    def attributes_of(self, values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
        """Return the given attributes that this instrument has, by key; others are left out."""
        named = (
            (attribute.key, attribute.value(values[attribute.name]))
            for attribute in self.attributes
            if attribute.name in values
        )
        return tuple(sorted(named))


def _one_of(name: str, key: str, *values: str) -> Attribute:
    return Attribute(name=name, key=key, values=frozenset(values))


CODE = Attribute(name="code", key="error.type")
FEED = Attribute(name="feed", key="dicom_sync.feed", form=_FEED)
QUEUE = _one_of("queue", "messaging.destination.name", *QUEUES, "events")
OBJECT_OUTCOME = _one_of("outcome", "dicom_sync.outcome", *(outcome.word for outcome in Ingested), "poisoned")
STUDY_OUTCOME = _one_of("outcome", "dicom_sync.outcome", *(outcome.word for outcome in Projected), "poisoned")
DELIVERY_OUTCOME = _one_of("outcome", "dicom_sync.outcome", *(outcome.value for outcome in Delivered))
METHOD = _one_of("method", "http.request.method", "GET", "POST", "PUT", "DELETE")
RESOURCE_TYPE = _one_of(
    "type",
    "fhir.resource_type",
    "Bundle",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Endpoint",
    "ImagingStudy",
    "Observation",
    "Patient",
)
STATUS = _one_of("status", "http.response.status_class", "1xx", "2xx", "3xx", "4xx", "5xx", "none")
HEADER_REASON = _one_of("reason", "dicom_sync.header.reason", "dropped", "unreadable", "always")
ALERT_STEP = _one_of("step", "dicom_sync.alert.step", "raised", "cleared")

TIMER = Attribute(name="timer", key="dicom_sync.timer", form=_NAME)
PHASE = Attribute(name="phase", key="dicom_sync.timer.phase", form=_NAME)
RUN_OUTCOME = _one_of("outcome", "dicom_sync.outcome", "done", "failed")

FUNCTION = Attribute(name="function", key="code.function.name", form=_FUNCTION)

DRIFT_KIND = Attribute(name="kind", key="dicom_sync.drift.kind")

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MINUTES = (1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
BYTES = (4096.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 33554432.0)


def _counter(name: str, unit: str, description: str, *attributes: Attribute) -> Instrument:
    return Instrument(name=name, kind=Kind.COUNTER, unit=unit, description=description, attributes=attributes)


def _gauge(name: str, unit: str, description: str, *attributes: Attribute) -> Instrument:
    return Instrument(name=name, kind=Kind.GAUGE, unit=unit, description=description, attributes=attributes)


def _histogram(name: str, unit: str, description: str, bounds: tuple[float, ...], *attributes: Attribute) -> Instrument:
    return Instrument(
        name=name, kind=Kind.HISTOGRAM, unit=unit, description=description, bounds=bounds, attributes=attributes
    )


OBJECTS = _counter("dicom_sync.objects", "{object}", "Objects inspected, by outcome.", OBJECT_OUTCOME)
STUDIES = _counter("dicom_sync.studies", "{study}", "Studies projected, by outcome.", STUDY_OUTCOME)
POSTPONED = _counter("dicom_sync.studies.postponed", "{study}", "Studies that wait for the FHIR service.", CODE)
SWEPT = _counter("dicom_sync.studies.swept", "{study}", "Studies whose wake-up was lost.")
SWEEPS = _counter("dicom_sync.sweeps", "{sweep}", "Runs of the sweeper: the heartbeat of the timers.")
TIMER_RUNS = _counter("dicom_sync.timer.runs", "{run}", "Runs of each phase of a timer.", TIMER, PHASE, RUN_OUTCOME)
DELIVERIES = _counter(
    "dicom_sync.deliveries", "{delivery}", "Deliveries of queue messages, by how they ended.", QUEUE, DELIVERY_OUTCOME
)
LOOP_BLOCKED = _histogram(
    "dicom_sync.loop.blocked", "s", "Times in which the event loop stood still, by function.", SECONDS, FUNCTION
)
DEAD_LETTERS = _counter(
    "dicom_sync.dead_letters", "{dead_letter}", "New dead letters, by code; not one that is written again.", CODE
)
FAILURES = _counter("dicom_sync.failures", "{failure}", "Deliveries that failed and come again, by code.", CODE)
DRIFT = _counter("dicom_sync.drift", "{resource}", "Disagreements of source, ledger and FHIR, when found.", DRIFT_KIND)
LATENCY = _histogram("dicom_sync.study.latency", "s", "From a study's first mark to its settled FHIR write.", MINUTES)
HEADERS_RETRIEVED = _counter(
    "dicom_sync.headers.retrieved",
    "{instance}",
    "Instances of a DICOM service whose own header was read.",
    HEADER_REASON,
)
HEADER_BYTES = _histogram("dicom_sync.header.size", "By", "Bytes of one ranged read of a header.", BYTES)
FHIR_DURATION = _histogram(
    "dicom_sync.fhir.request.duration", "s", "Requests to the FHIR service.", SECONDS, METHOD, RESOURCE_TYPE, STATUS
)
FHIR_UNANSWERED = _counter(
    "dicom_sync.fhir.unanswered", "{wait}", "Times that a FHIR request had no answer for 20 s more."
)
FHIR_THROTTLED = _counter("dicom_sync.fhir.throttled", "{response}", "Answers 429 of the FHIR service.")
FHIR_RETRIES = _counter("dicom_sync.fhir.retries", "{request}", "Requests repeated after a short wait.")
ALERTS = _counter("dicom_sync.alerts", "{alert}", "Alerts raised and cleared.", CODE, ALERT_STEP)

QUEUE_MESSAGES = _gauge("dicom_sync.queue.messages", "{message}", "Messages of a queue, invisible ones too.", QUEUE)
QUEUE_AGE = _gauge("dicom_sync.queue.age", "s", "Age of the oldest message that waits visibly in a queue.", QUEUE)
DIRTY_STUDIES = _gauge("dicom_sync.dirty.studies", "{study}", "Studies that are outstanding.")
DIRTY_AGE = _gauge("dicom_sync.dirty.age", "s", "How long the oldest outstanding study has been waiting.")
FEED_LAG = _gauge("dicom_sync.feed.lag", "s", "Since a feed last moved, or was found to be at its end.", FEED)
SYNCED_STUDIES = _gauge("dicom_sync.synced.studies", "{study}", "Studies that are in FHIR.")
KEPT_DEAD_LETTERS = _gauge("dicom_sync.dead_letters.kept", "{dead_letter}", "Dead letters that are kept.")
HELD_REMOVALS = _gauge(
    "dicom_sync.removals.held", "{dead_letter}", "Removals past the ceiling, which wait for an operator."
)
OPEN_DRIFT = _gauge("dicom_sync.drift.open", "{resource}", "Disagreements found and not gone yet.", DRIFT_KIND)
MISSING_EVENT_AGE = _gauge(
    "dicom_sync.source.missing_event_age", "s", "Age of an object in the source that no event has told of."
)

INSTRUMENTS = (
    OBJECTS,
    STUDIES,
    POSTPONED,
    SWEPT,
    SWEEPS,
    TIMER_RUNS,
    DELIVERIES,
    LOOP_BLOCKED,
    DEAD_LETTERS,
    FAILURES,
    DRIFT,
    LATENCY,
    HEADERS_RETRIEVED,
    HEADER_BYTES,
    FHIR_DURATION,
    FHIR_UNANSWERED,
    FHIR_THROTTLED,
    FHIR_RETRIES,
    ALERTS,
    QUEUE_MESSAGES,
    QUEUE_AGE,
    DIRTY_STUDIES,
    DIRTY_AGE,
    FEED_LAG,
    SYNCED_STUDIES,
    KEPT_DEAD_LETTERS,
    HELD_REMOVALS,
    OPEN_DRIFT,
    MISSING_EVENT_AGE,
)

BY_NAME: Mapping[str, Instrument] = {instrument.name: instrument for instrument in INSTRUMENTS}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The instrument and attributes that a logged action counts."""

    instrument: Instrument
    attributes: Mapping[str, str]


def _measured(instrument: Instrument, **attributes: str) -> Measured:
    return Measured(instrument=instrument, attributes=attributes)


ACTIONS: Mapping[str, Measured] = {
    **{f"object.{outcome}": _measured(OBJECTS, outcome=outcome) for outcome in OBJECT_OUTCOME.values},
    **{f"study.{outcome}": _measured(STUDIES, outcome=outcome) for outcome in STUDY_OUTCOME.values},
    "study.postponed": _measured(POSTPONED),
    "drift.found": _measured(DRIFT),
    "fhir.throttled": _measured(FHIR_THROTTLED),
    "fhir.retries": _measured(FHIR_RETRIES),
}
"""Actions of `sync.telemetry.telemetry.Telemetry.event` and ``count`` that are measured; others are
only logged."""
