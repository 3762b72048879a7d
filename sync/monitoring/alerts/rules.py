"""
The alert rules: one table for our own evaluation, for Azure Monitor and for the runbook.

A rule inspects one instrument of `sync.telemetry.instruments`: the sum of a counter over some minutes, or the highest
of a gauge's attribute sets now. It is broken while this value exceeds its threshold, a setting ``DICOM_SYNC_ALERT_*``,
and is over when the value is at most four fifths of the threshold, so that a value near the threshold does not notify
twice.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from sync.config import AlertSettings
from sync.telemetry.instruments import (
    CODE,
    DEAD_LETTERS,
    DIRTY_AGE,
    FAILURES,
    FEED_LAG,
    FHIR_THROTTLED,
    HELD_REMOVALS,
    MISSING_EVENT_AGE,
    OPEN_DRIFT,
    QUEUE_AGE,
    SWEEPS,
    TIMER_RUNS,
    Instrument,
)

RELEASE = 0.8
"""Share of the threshold at which a broken rule counts as over."""


class Severity(enum.Enum):
    """Severity of an alert, with Azure Monitor's numbers."""

    CRITICAL = 1
    WARNING = 2


class Aggregation(enum.Enum):
    """The aggregate of an instrument that is compared with the threshold."""

    NOW = "now"
    """The current highest value of a gauge."""
    SUM = "sum"
    """The sum of a counter over the window."""
    ABSENT = "absent"
    """
    Time for which nothing was counted. The app itself can report only a gap that is over; while the gap lasts, an
    outside watcher reports it: Azure Monitor, and `python -m sync alerts watch`.
    """

    FAILING = "failing"
    """
    Seconds for which the worst attribute set of a counter has counted ``failed`` and never ``done``, as far back as the
    window goes.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    One line of the table.

    ``where`` limits the instrument to attribute sets: OTel key -> allowed values.
    """

    code: str
    title: str
    hint: str
    """The first remedy; the runbook has the others."""
    severity: Severity
    instrument: Instrument
    figure: Aggregation
    setting: str
    """Field of `sync.config.AlertSettings` with the threshold."""
    minutes: int = 1
    """The window of a sum."""
    unit: str = ""
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def threshold(self, settings: AlertSettings) -> float:
        """Return the value that must not be exceeded."""
        return float(getattr(settings, self.setting))

    def concerns(self, attributes: Mapping[str, str]) -> bool:
        """Return whether this rule inspects a set of attributes."""
        return all(attributes.get(key) in values for key, values in self.where.items())

    def says(self, value: float, settings: AlertSettings) -> str:
        """Return one sentence with value, threshold and period."""
        over = f" in {self.minutes} minutes" if self.figure is Aggregation.SUM else ""
        return f"{self.title}: {round(value, 1):g}{self.unit}{over}, allowed {self.threshold(settings):g}{self.unit}."


def _codes(*codes: str) -> Mapping[str, frozenset[str]]:
    return {CODE.key: frozenset(codes)}


FORBIDDEN = _codes("fhir.forbidden", "fhir.certificate", "source.forbidden", "store.forbidden")

RULES = (
    Rule(
        code="alert.lag",
        title="The oldest outstanding study has waited",
        hint="Find out why studies wait: FHIR fails or throttles, projection is paused, or instances are too few.",
        severity=Severity.CRITICAL,
        instrument=DIRTY_AGE,
        figure=Aggregation.NOW,
        setting="lag_seconds",
        unit=" s",
    ),
    Rule(
        code="alert.queue",
        title="The oldest message of a queue has waited",
        hint="Check whether the function app runs, and what api/health reports.",
        severity=Severity.CRITICAL,
        instrument=QUEUE_AGE,
        figure=Aggregation.NOW,
        setting="queue_age_seconds",
        unit=" s",
    ),
    Rule(
        code="alert.fhir_failing",
        title="Studies could not be written to FHIR",
        hint="Check the FHIR service; nothing is lost, and the sync continues when it is back.",
        severity=Severity.CRITICAL,
        instrument=FAILURES,
        figure=Aggregation.SUM,
        setting="fhir_failing",
        minutes=3,
        where=_codes("fhir.unavailable", "fhir.gateway", "fhir.garbled"),
    ),
    Rule(
        code="alert.fhir_throttling",
        title="The FHIR service answered 429",
        hint="Raise the capacity of the FHIR service, or lower the number of function instances.",
        severity=Severity.WARNING,
        instrument=FHIR_THROTTLED,
        figure=Aggregation.SUM,
        setting="fhir_throttling",
        minutes=5,
    ),
    Rule(
        code="alert.access",
        title="Credentials or a certificate were refused",
        hint="Find out which role is missing: python -m sync config check --connect",
        severity=Severity.CRITICAL,
        instrument=FAILURES,
        figure=Aggregation.SUM,
        setting="access",
        minutes=3,
        where=FORBIDDEN,
    ),
    Rule(
        code="alert.dead_letters",
        title="Dead letters were written",
        hint="List the dead letters by code, fix the cause, then retry them.",
        severity=Severity.WARNING,
        instrument=DEAD_LETTERS,
        figure=Aggregation.SUM,
        setting="dead_letters",
        minutes=10,
    ),
    Rule(
        code="alert.poison",
        title="Messages failed too often and were dead-lettered",
        hint="Read the log at the time of the messages, fix the cause, then retry the dead letters.",
        severity=Severity.CRITICAL,
        instrument=DEAD_LETTERS,
        figure=Aggregation.SUM,
        setting="poison",
        minutes=10,
        where=_codes("poison.object", "poison.study", "poison.crash"),
    ),
    Rule(
        code="alert.defect",
        title="The sync failed because of a defect",
        hint="Report the type and place that the log gives under sync.unexpected.",
        severity=Severity.WARNING,
        instrument=FAILURES,
        figure=Aggregation.SUM,
        setting="defect",
        minutes=10,
        where=_codes("sync.unexpected"),
    ),
    Rule(
        code="alert.delivery",
        title="Deliveries exceeded their time limit",
        hint="Find the slow service: see delivery.too_long in the log, and FHIR's response times in the charts.",
        severity=Severity.CRITICAL,
        instrument=FAILURES,
        figure=Aggregation.SUM,
        setting="stuck_deliveries",
        minutes=15,
        where=_codes("delivery.too_long"),
    ),
    Rule(
        code="alert.feed",
        title="A change feed has stopped",
        hint="Check whether the function app runs, the service refuses it, or its timer is switched off.",
        severity=Severity.CRITICAL,
        instrument=FEED_LAG,
        figure=Aggregation.NOW,
        setting="feed_lag_seconds",
        unit=" s",
    ),
    Rule(
        code="alert.missing_events",
        title="An object is in the source, but no event reported it",
        hint="Correct the event subscription, then ingest the missed objects: python -m sync backfill",
        severity=Severity.CRITICAL,
        instrument=MISSING_EVENT_AGE,
        figure=Aggregation.NOW,
        setting="missing_events_seconds",
        unit=" s",
    ),
    Rule(
        code="alert.removals",
        title="Removals above the ceiling wait for an operator",
        hint="Check that the source is complete; then confirm or refuse the removals: python -m sync removals show",
        severity=Severity.CRITICAL,
        instrument=HELD_REMOVALS,
        figure=Aggregation.NOW,
        setting="held_removals",
    ),
    Rule(
        code="alert.drift",
        title="Source, ledger and FHIR differ",
        hint="If the difference was not intended, repair it: python -m sync verify --repair",
        severity=Severity.WARNING,
        instrument=OPEN_DRIFT,
        figure=Aggregation.NOW,
        setting="drift",
    ),
    Rule(
        code="alert.timer",
        title="A phase of a timer keeps failing",
        hint="See timer.failed in the log for the phase and the reason; its work is not done meanwhile.",
        severity=Severity.WARNING,
        instrument=TIMER_RUNS,
        figure=Aggregation.FAILING,
        setting="timer_failing_seconds",
        minutes=15,
        unit=" s",
    ),
    Rule(
        code="alert.stopped",
        title="The timers of the function app do not run",
        hint="Start the function app; messages wait in the queues meanwhile.",
        severity=Severity.CRITICAL,
        instrument=SWEEPS,
        figure=Aggregation.ABSENT,
        setting="stopped_seconds",
        minutes=10,
        unit=" s",
    ),
)

COUNTED = frozenset(rule.instrument.name for rule in RULES if rule.figure is not Aggregation.NOW)
"""Instruments whose counts raise alerts: counts of a command would raise them for the app."""

BY_CODE: Mapping[str, Rule] = {rule.code: rule for rule in RULES}

LONGEST_WINDOW = max(rule.minutes for rule in RULES)
