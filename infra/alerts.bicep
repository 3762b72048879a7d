// Made of the table of alert rules: python -m sync alerts export --format bicep > infra/alerts.bicep
import { Tags } from 'types.bicep'

@export()
@description('Thresholds that differ from those of docs/settings.md, by the name of the setting.')
@sealed()
type Thresholds = {
  access: int?
  dead_letters: int?
  defect: int?
  drift: int?
  feed_lag_seconds: int?
  fhir_failing: int?
  fhir_throttling: int?
  held_removals: int?
  lag_seconds: int?
  missing_events_seconds: int?
  poison: int?
  queue_age_seconds: int?
  stuck_deliveries: int?
  timer_failing_seconds: int?
}

@description('Name of the environment, for the names and texts of the rules.')
param environmentName string

param location string
param tags Tags
param insightsId string
param actionGroupId string
param thresholds Thresholds

@description('Time of the deployment. For an hour after it, no alert is raised for a missing app or role.')
param deployedAt string

var fresh = 'now() < datetime(${deployedAt}) + 1h'
var calmOnceMissing = ' | extend value = iff(${fresh}, 1.0, value)'
var calmOncePresent = ' | extend value = iff(${fresh}, 0.0, value)'
var rules = [
  {
    name: 'lag'
    code: 'alert.lag'
    title: 'The oldest outstanding study has waited'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.dirty.age" | summarize value = max(coalesce(valueMax, valueSum)) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?lag_seconds ?? 300
  }
  {
    name: 'queue'
    code: 'alert.queue'
    title: 'The oldest message of a queue has waited'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.queue.age" | summarize value = max(coalesce(valueMax, valueSum)) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?queue_age_seconds ?? 300
  }
  {
    name: 'fhir-failing'
    code: 'alert.fhir_failing'
    title: 'Studies could not be written to FHIR'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("fhir.garbled", "fhir.gateway", "fhir.unavailable") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?fhir_failing ?? 2
  }
  {
    name: 'fhir-throttling'
    code: 'alert.fhir_throttling'
    title: 'The FHIR service answered 429'
    severity: 2
    every: 'PT5M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.fhir.throttled" | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?fhir_throttling ?? 50
  }
  {
    name: 'access'
    code: 'alert.access'
    title: 'Credentials or a certificate were refused'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("fhir.certificate", "fhir.forbidden", "source.forbidden", "store.forbidden") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)${calmOncePresent}'
    operator: 'GreaterThan'
    threshold: thresholds.?access ?? 0
  }
  {
    name: 'dead-letters'
    code: 'alert.dead_letters'
    title: 'Dead letters were written'
    severity: 2
    every: 'PT5M'
    window: 'PT10M'
    query: 'customMetrics | where name == "dicom_sync.dead_letters" | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?dead_letters ?? 10
  }
  {
    name: 'poison'
    code: 'alert.poison'
    title: 'Messages failed too often and were dead-lettered'
    severity: 1
    every: 'PT1M'
    window: 'PT10M'
    query: 'customMetrics | where name == "dicom_sync.dead_letters" | where tostring(customDimensions["error.type"]) in ("poison.crash", "poison.object", "poison.study") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?poison ?? 0
  }
  {
    name: 'defect'
    code: 'alert.defect'
    title: 'The sync failed because of a defect'
    severity: 2
    every: 'PT5M'
    window: 'PT10M'
    query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("sync.unexpected") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?defect ?? 0
  }
  {
    name: 'delivery'
    code: 'alert.delivery'
    title: 'Deliveries exceeded their time limit'
    severity: 1
    every: 'PT1M'
    window: 'PT15M'
    query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("delivery.too_long") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?stuck_deliveries ?? 0
  }
  {
    name: 'feed'
    code: 'alert.feed'
    title: 'A change feed has stopped'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.feed.lag" | summarize value = max(coalesce(valueMax, valueSum)) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?feed_lag_seconds ?? 900
  }
  {
    name: 'missing-events'
    code: 'alert.missing_events'
    title: 'An object is in the source, but no event reported it'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.source.missing_event_age" | summarize value = max(coalesce(valueMax, valueSum)) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?missing_events_seconds ?? 900
  }
  {
    name: 'removals'
    code: 'alert.removals'
    title: 'Removals above the ceiling wait for an operator'
    severity: 1
    every: 'PT1M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.removals.held" | summarize value = max(coalesce(valueMax, valueSum)) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?held_removals ?? 0
  }
  {
    name: 'drift'
    code: 'alert.drift'
    title: 'Source, ledger and FHIR differ'
    severity: 2
    every: 'PT5M'
    window: 'PT5M'
    query: 'customMetrics | where name == "dicom_sync.drift.open" | summarize value = max(coalesce(valueMax, valueSum)) | extend value = coalesce(value, 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?drift ?? 0
  }
  {
    name: 'timer'
    code: 'alert.timer'
    title: 'A phase of a timer keeps failing'
    severity: 2
    every: 'PT5M'
    window: 'PT15M'
    query: 'customMetrics | where name == "dicom_sync.timer.runs" | summarize done = countif(tostring(customDimensions["dicom_sync.outcome"]) == "done"), failed = countif(tostring(customDimensions["dicom_sync.outcome"]) == "failed"), since = min(timestamp) by tostring(customDimensions["dicom_sync.timer"]), tostring(customDimensions["dicom_sync.timer.phase"]) | where done == 0 and failed > 0 | summarize value = max((now() - since) / 1s) | extend value = coalesce(toreal(value), 0.0)'
    operator: 'GreaterThan'
    threshold: thresholds.?timer_failing_seconds ?? 600
  }
  {
    name: 'stopped'
    code: 'alert.stopped'
    title: 'The timers of the function app do not run'
    severity: 1
    every: 'PT1M'
    window: 'PT10M'
    query: 'customMetrics | where name == "dicom_sync.sweeps" | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)${calmOnceMissing}'
    operator: 'LessThan'
    threshold: 1
  }
  {
    name: 'unmeasured'
    code: 'alert.unmeasured'
    title: 'The state of the sync is not measured, so other alerts stay silent'
    severity: 1
    every: 'PT1M'
    window: 'PT10M'
    query: 'customMetrics | where name == "dicom_sync.dirty.age" | summarize value = todouble(count()) | extend value = coalesce(value, 0.0)${calmOnceMissing}'
    operator: 'LessThan'
    threshold: 1
  }
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
