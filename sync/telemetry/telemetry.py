"""
Measurements and structured log lines of the sync, free of patient data by construction.

Log fields are hashed keys, codes, counts and seconds. `sync.telemetry.instruments` defines the metrics and their
attributes. Measuring costs a few dictionary operations: measurements add up in the process until
`sync.monitoring.history.Recorder` writes them to table ``metrics``; sinks such as OpenTelemetry get each one at once.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from sync.errors import SyncError
from sync.telemetry.instruments import ACTIONS, OTHER, Instrument
from sync.telemetry.measurements import Measurement, MeasurementKey, single
from sync.telemetry.spans import ERROR, SpanKind

logger = logging.getLogger("sync")

MOST_ATTRIBUTE_SETS = 200
"""Maximum attribute sets of one instrument; further sets count as `OTHER`, so that a mistake stays bounded."""


class Sink(Protocol):
    """Receives every measurement immediately, such as an exporter of OpenTelemetry."""

    def measured(self, instrument: Instrument, value: float, attributes: Sequence[tuple[str, str]]) -> None:
        """Record one measurement; must neither raise nor wait."""
        ...


class OpenSpan(Protocol):
    """A span that was opened and not yet closed."""

    def set(self, attributes: Mapping[str, str | int]) -> None:
        """Set attributes, by key; ``error.type`` marks the span as failed. Must not raise."""
        ...


class Tracing(Protocol):
    """Makes spans; without an exporter there is no `Tracing`, and no span is made."""

    def span(
        self, name: str, kind: SpanKind, *, links: Sequence[str], attributes: Mapping[str, str | int]
    ) -> AbstractContextManager[OpenSpan]:
        """
        Open a span for the length of a block, as a child of the one that is open.

        Parameters
        ----------
        name
            From a closed set, such as ``process studies``.
        kind
            Its definition in `sync.telemetry.spans`.
        links
            W3C ``traceparent`` of the spans that led here; invalid text is left out.
        attributes
            Attributes that the kind allows, by key.
        """
        ...

    def traceparent(self) -> str:
        """Return the W3C ``traceparent`` of the open span; empty when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Lets a block add attributes to its span while it runs; without tracing it has no effect."""

    kind: SpanKind
    opened: OpenSpan | None = None

    def note(self, **attributes: object) -> None:
        """Add attributes, named as in `sync.telemetry.spans`; unknown ones are left out."""
        if self.opened is not None:
            self.opened.set(self.kind.attributes_of(attributes))


class Telemetry:
    """Measurements of this process, and the one way to write a log line."""

    def __init__(
        self, *, sinks: Sequence[Sink] = (), tracing: Tracing | None = None, ignored: Collection[str] = ()
    ) -> None:
        """Ignore the instruments of ``ignored``: this process measures them neither for the history nor for a sink."""
        self._ignored = frozenset(ignored)
        self._samples: dict[MeasurementKey, Measurement] = {}
        self._sets: dict[str, set[tuple[tuple[str, str], ...]]] = {}
        self._sinks = tuple(sinks)
        self._tracing = tracing

    def export_to(self, sink: Sink, tracing: Tracing) -> None:
        """Send measurements and traces to one more sink from now on."""
        self._sinks += (sink,)
        self._tracing = tracing

    def measure(self, instrument: Instrument, value: float = 1.0, **attributes: object) -> None:
        """
        Record one measurement: add to a counter, set a gauge, or add to a histogram.

        Attributes are named as in `sync.telemetry.instruments`; attributes that the instrument does not have are left
        out, and a value outside its set becomes ``other``.
        """
        self._measure(instrument, value, attributes)

    def _measure(self, instrument: Instrument, value: float, attributes: Mapping[str, object]) -> None:
        if instrument.name in self._ignored:
            return
        carried = self._bounded(instrument, instrument.attributes_of(attributes))
        key = MeasurementKey(instrument.name, carried)
        fresh = single(value, instrument.bounds)
        before = self._samples.get(key)
        self._samples[key] = fresh if before is None else before + fresh
        for sink in self._sinks:
            sink.measured(instrument, value, carried)

    def count(self, name: str) -> None:
        """Measure an action if `sync.telemetry.instruments.ACTIONS` has an instrument for it."""
        self._count(name, {})

    def event(self, action: str, level: int = logging.INFO, **fields: str | float | None) -> None:
        """Measure an action as `count` does and log it: ``action key=value …``; fields must be keys, codes, numbers."""
        self._count(action, fields)
        if logger.isEnabledFor(level):
            logger.log(level, "%s %s", action, " ".join(f"{k}={v}" for k, v in fields.items() if v is not None))

    def take(self) -> Mapping[MeasurementKey, Measurement]:
        """Return the measurements since the last call, and start from zero."""
        samples, self._samples = self._samples, {}
        return samples

    @contextmanager
    def span(self, kind: SpanKind, *, links: Sequence[str] = (), **attributes: object) -> Iterator[Span]:
        """
        Open a span for the length of a block; see `sync.telemetry.spans`. Costs next to nothing without an exporter.

        An exception of the block is recorded by its code or, if it is not one of ours, by its type; never by its text.
        """
        if self._tracing is None:
            yield Span(kind)
            return
        carried = kind.attributes_of(attributes)
        with self._tracing.span(kind.name_of(attributes), kind, links=links, attributes=carried) as opened:
            try:
                yield Span(kind, opened)
            except Exception as failure:
                opened.set({ERROR: failure.code if isinstance(failure, SyncError) else type(failure).__name__})
                raise

    def traceparent(self) -> str:
        """Return the W3C ``traceparent`` of the open span, for messages; empty without an open span."""
        return self._tracing.traceparent() if self._tracing is not None else ""

    def _count(self, name: str, fields: Mapping[str, object]) -> None:
        if (measured := ACTIONS.get(name)) is not None:
            self._measure(measured.instrument, 1, {**fields, **measured.attributes})

    def _bounded(self, instrument: Instrument, carried: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        sets = self._sets.setdefault(instrument.name, set())
        if carried not in sets:
            if len(sets) >= MOST_ATTRIBUTE_SETS:
                return tuple((key, OTHER) for key, _ in carried)
            sets.add(carried)
        return carried
