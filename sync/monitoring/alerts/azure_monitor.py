"""
The alert rules for Azure Monitor: the same table, as Bicep and as a workbook, for when the app itself cannot speak.

Pure text: ``python -m sync alerts export``. The queries read ``customMetrics``, where Application Insights keeps what
OpenTelemetry exports, under the names of `sync.telemetry.instruments`. Sources: Azure
"Microsoft.Insights/scheduledQueryRules" (2023-03-15-preview), "Azure Workbooks" (Notebook/1.0), "Application Insights
telemetry data model" (customMetrics).
"""

from __future__ import annotations

import json
from typing import Any

from sync.config import AlertSettings
from sync.monitoring.alerts.rules import RULES, Aggregation, Rule
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
// Made of sync/monitoring/alerts/rules.py: python -m sync alerts export --format bicep > infra/alerts.bicep
param location string
param tags object
param insightsId string
param actionGroupId string
"""

_RULE = """
resource {symbol} 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {{
  name: 'dicom-fhir-sync-{name}'
  location: location
  tags: tags
  properties: {{
    displayName: 'DICOM-FHIR Sync: {code}'
    description: '{title}. See {code} in the runbook.'
    severity: {severity}
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT{minutes}M'
    criteria: {{
      allOf: [
        {{
          query: '{query}'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: '{operator}'
          threshold: {threshold}
          failingPeriods: {{
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }}
        }}
      ]
    }}
    actions: {{ actionGroups: [actionGroupId] }}
  }}
}}
"""

WINDOWS = (1, 5, 10, 15, 30)
"""Minutes that Azure Monitor takes as a window."""

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
    """Return the KQL that gives the rule's figure as column ``value``."""
    limits = "".join(
        f' | where tostring(customDimensions["{key}"]) in ({", ".join(json.dumps(each) for each in sorted(values))})'
        for key, values in rule.where.items()
    )
    if rule.figure is Aggregation.FAILING:
        return _failing_query(rule)
    column = "max(valueMax)" if rule.figure is Aggregation.NOW else "sum(valueSum)"
    found = f'customMetrics | where name == "{rule.instrument.name}"{limits} | summarize value = {column}'
    return f"{found} | extend value = coalesce(value, 0.0)"


def _failing_query(rule: Rule) -> str:
    """Return the KQL of a rule for what has failed and never succeeded within the window, in seconds."""
    *sets, outcome = (f'tostring(customDimensions["{each.key}"])' for each in rule.instrument.attributes)
    return (
        f'customMetrics | where name == "{rule.instrument.name}" | summarize done = countif({outcome} == "done"), '
        f'failed = countif({outcome} == "failed"), since = min(timestamp) by {", ".join(sets)}'
        " | where done == 0 and failed > 0 | summarize value = max((now() - since) / 1s)"
        " | extend value = coalesce(toreal(value), 0.0)"
    )


def bicep() -> str:
    """Return the text of ``infra/alerts.bicep``, with the thresholds that the settings have by default."""
    return _HEAD + "".join(_bicep_rule(rule) for rule in RULES)


def _bicep_rule(rule: Rule) -> str:
    name = rule.code.partition(".")[2]
    absent = rule.figure is Aggregation.ABSENT
    threshold = 1.0 if absent else rule.threshold(AlertSettings.model_construct())
    return _RULE.format(
        symbol="".join(part.title() if place else part for place, part in enumerate(name.split("_"))),
        name=name.replace("_", "-"),
        code=rule.code,
        title=rule.title,
        severity=rule.severity.value,
        minutes=next(each for each in WINDOWS if each >= max(rule.minutes, 5)),
        query=query(rule),
        operator="LessThan" if absent else "GreaterThan",
        threshold=round(threshold),
    )


def workbook() -> str:
    """Return the text of ``infra/workbook.json``: one chart for each figure that an operator follows."""
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
