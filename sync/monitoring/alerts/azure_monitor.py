"""
The alert rules for Azure Monitor: the same table, as Bicep and as a workbook, for when the app itself cannot notify.

Pure text: ``python -m sync alerts export``. The queries read ``customMetrics``, where Application Insights keeps what
OpenTelemetry exports, under the names of `sync.telemetry.instruments`. Sources: Azure
"Microsoft.Insights/scheduledQueryRules" (2023-03-15-preview), "Azure Workbooks" (Notebook/1.0), "Application Insights
telemetry data model" (customMetrics).
"""

from __future__ import annotations

import json
from typing import Any

from sync.config import AlertSettings
from sync.monitoring.alerts.rules import RULES, Aggregation, Rule, Severity
from sync.telemetry.instruments import (
    DEAD_LETTERS,
    DIRTY_AGE,
    FHIR_DURATION,
    FHIR_THROTTLED,
    LATENCY,
    OBJECTS,
    STUDIES,
    Instrument,
    Kind,
)

_HEAD = """\
// Made of the table of alert rules: python -m sync alerts export --format bicep > infra/alerts.bicep
import {{ Tags }} from 'types.bicep'

@export()
@description('Thresholds that differ from those of docs/settings.md, by the name of the setting.')
@sealed()
type Thresholds = {{
{types}}}

@description('Name of the environment, for the names and texts of the rules.')
param environmentName string

param location string
param tags Tags
param insightsId string
param actionGroupId string
param thresholds Thresholds

@description('Time of the deployment. For an hour after it, no alert is raised for a missing app or role.')
param deployedAt string

var fresh = 'now() < datetime(${{deployedAt}}) + 1h'
var calmOnceMissing = ' | extend value = iff(${{fresh}}, 1.0, value)'
var calmOncePresent = ' | extend value = iff(${{fresh}}, 0.0, value)'
var rules = [
"""

_RULE = """\
  {{
    name: '{name}'
    code: '{code}'
    title: '{title}'
    severity: {severity}
    every: 'PT{every}M'
    window: 'PT{minutes}M'
    query: '{query}{grace}'
    operator: '{operator}'
    threshold: {threshold}
  }}
"""

_TAIL = """\
]

resource rule 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for each in rules: {
    name: 'dicom-fhir-sync-${environmentName}-${each.name}'
    location: location
    tags: tags
    properties: {
      displayName: 'DICOM-FHIR Sync (${environmentName}): ${each.code}'
      description: '${environmentName}: ${each.title}. See ${each.code} in the runbook.'
      severity: each.severity
      enabled: true
      autoMitigate: true
      skipQueryValidation: true // the table is made with the first row: a fresh workspace would refuse the rule
      scopes: [insightsId]
      evaluationFrequency: each.every
      windowSize: each.window
      criteria: {
        allOf: [
          {
            query: each.query
            timeAggregation: 'Maximum'
            metricMeasureColumn: 'value'
            operator: each.operator
            threshold: each.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: { actionGroups: [actionGroupId] }
    }
  }
]
"""

UNMEASURED = Rule(
    code="alert.unmeasured",
    title="The state of the sync is not measured, so other alerts stay silent",
    hint="Check the log of evaluate_alerts: tables or queues may refuse access.",
    severity=Severity.CRITICAL,
    instrument=DIRTY_AGE,
    figure=Aggregation.ABSENT,
    setting="stopped_seconds",
    minutes=10,
)
"""Only Azure Monitor can detect missing gauges: the app that would report them is the one that fails to measure."""

AZURE_RULES = (*RULES, UNMEASURED)

_GRACE = frozenset({"alert.stopped", "alert.unmeasured", "alert.access"})
"""Rules that a first deployment would raise: there is no app yet, or a new role takes minutes to take effect."""

WINDOWS = (1, 5, 10, 15, 30)
"""Minutes that Azure Monitor accepts as a window."""

CHARTS: tuple[tuple[str, Instrument], ...] = (
    ("Objects by outcome", OBJECTS),
    ("Studies by outcome", STUDIES),
    ("End-to-end latency, seconds", LATENCY),
    ("Age of the oldest outstanding study, seconds", DIRTY_AGE),
    ("FHIR requests by status", FHIR_DURATION),
    ("FHIR answers 429", FHIR_THROTTLED),
    ("Dead letters by code", DEAD_LETTERS),
)


def query(rule: Rule) -> str:
    """Return the KQL that yields the rule's value as column ``value``; 0 if there is no row."""
    limits = "".join(
        f' | where tostring(customDimensions["{key}"]) in ({", ".join(json.dumps(value) for value in sorted(values))})'
        for key, values in rule.where.items()
    )
    if rule.figure is Aggregation.FAILING:
        return _failing_query(rule)
    kusto = f'customMetrics | where name == "{rule.instrument.name}"{limits} | summarize value = {_column(rule)}'
    return f"{kusto} | extend value = coalesce(value, 0.0)"


def _failing_query(rule: Rule) -> str:
    """Return the KQL of a rule for attribute sets that failed and never succeeded within the window, in seconds."""
    *sets, outcome = (f'tostring(customDimensions["{attribute.key}"])' for attribute in rule.instrument.attributes)
    return (
        f'customMetrics | where name == "{rule.instrument.name}" | summarize done = countif({outcome} == "done"), '
        f'failed = countif({outcome} == "failed"), since = min(timestamp) by {", ".join(sets)}'
        " | where done == 0 and failed > 0 | summarize value = max((now() - since) / 1s)"
        " | extend value = coalesce(toreal(value), 0.0)"
    )


def _column(rule: Rule) -> str:
    """Return the aggregate; a gauge's row may hold its value only as the sum, because it is a single measurement."""
    if rule.figure is Aggregation.NOW:
        return "max(coalesce(valueMax, valueSum))"
    return "sum(valueSum)" if rule.instrument.kind is Kind.COUNTER else "todouble(count())"


def bicep() -> str:
    """Return the text of ``infra/alerts.bicep``; thresholds are parameters, by default those of the settings."""
    types = "".join(f"  {name}: int?\n" for name in sorted({rule.setting for rule in RULES if not _is_absent(rule)}))
    return _HEAD.format(types=types) + "".join(_bicep_rule(rule) for rule in AZURE_RULES) + _TAIL


def _is_absent(rule: Rule) -> bool:
    return rule.figure is Aggregation.ABSENT


def _bicep_rule(rule: Rule) -> str:
    name = rule.code.partition(".")[2]
    default = round(rule.threshold(AlertSettings.model_construct()))
    grace = "${calmOnceMissing}" if _is_absent(rule) else "${calmOncePresent}"
    return _RULE.format(
        name=name.replace("_", "-"),
        code=rule.code,
        title=rule.title,
        severity=rule.severity.value,
        every=1 if rule.severity is Severity.CRITICAL else 5,
        minutes=next(window for window in WINDOWS if window >= max(rule.minutes, 5)),
        query=query(rule),
        grace=grace if rule.code in _GRACE else "",
        operator="LessThan" if _is_absent(rule) else "GreaterThan",
        threshold="1" if _is_absent(rule) else f"thresholds.?{rule.setting} ?? {default}",
    )


def workbook() -> str:
    """Return the text of ``infra/workbook.json``: one chart for each value that an operator monitors."""
    intro = {"type": 1, "content": {"json": "## DICOM-FHIR Sync"}, "name": "title"}
    items: list[dict[str, Any]] = [intro, *(_chart(title, instrument) for title, instrument in CHARTS)]
    return json.dumps({"version": "Notebook/1.0", "items": items, "isLocked": False}, indent=2) + "\n"


def _chart(title: str, instrument: Instrument) -> dict[str, Any]:
    value = {
        Kind.COUNTER: "sum(valueSum)",
        Kind.GAUGE: "max(valueMax)",
        Kind.HISTOGRAM: "sum(valueCount)" if instrument is FHIR_DURATION else "sum(valueSum) / sum(valueCount)",
    }[instrument.kind]
    split = f', tostring(customDimensions["{instrument.attributes[-1].key}"])' if instrument.attributes else ""
    kql = f'customMetrics | where name == "{instrument.name}" | summarize {value} by bin(timestamp, 5m){split}'
    content = {
        "version": "KqlItem/1.0",
        "query": kql,
        "size": 0,
        "title": title,
        "timeContext": {"durationMs": 86400000},
        "queryType": 0,
        "resourceType": "microsoft.insights/components",
        "visualization": "timechart",
    }
    return {"type": 3, "content": content, "name": instrument.name}
