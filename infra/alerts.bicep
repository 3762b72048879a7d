// Made of sync/monitoring/alerts/rules.py: python -m sync alerts export --format bicep > infra/alerts.bicep
param location string
param tags object
param insightsId string
param actionGroupId string

resource lag 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-lag'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.lag'
    description: 'The oldest outstanding study waits. See alert.lag in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.dirty.age" | summarize value = max(valueMax) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 300
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

resource queue 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-queue'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.queue'
    description: 'The oldest message of a queue waits. See alert.queue in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.queue.age" | summarize value = max(valueMax) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 300
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

resource fhirFailing 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-fhir-failing'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.fhir_failing'
    description: 'Studies could not be written to FHIR. See alert.fhir_failing in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("fhir.unavailable") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 2
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

resource fhirThrottling 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-fhir-throttling'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.fhir_throttling'
    description: 'The FHIR service answered 429. See alert.fhir_throttling in the runbook.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.fhir.throttled" | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 50
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

resource access 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-access'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.access'
    description: 'Credentials or a certificate were refused. See alert.access in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("dicom.forbidden", "fhir.certificate", "fhir.forbidden", "orthanc.forbidden", "source.forbidden", "store.forbidden") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 0
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

resource deadLetters 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-dead-letters'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.dead_letters'
    description: 'Dead letters were written. See alert.dead_letters in the runbook.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.dead_letters" | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 10
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

resource poison 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-poison'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.poison'
    description: 'Messages failed too often and were set aside. See alert.poison in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.dead_letters" | where tostring(customDimensions["error.type"]) in ("poison.object", "poison.study") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 0
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

resource defect 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-defect'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.defect'
    description: 'The sync met a defect of its own. See alert.defect in the runbook.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.failures" | where tostring(customDimensions["error.type"]) in ("sync.unexpected") | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 0
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

resource feed 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-feed'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.feed'
    description: 'A change feed stands still. See alert.feed in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.feed.lag" | summarize value = max(valueMax) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 900
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

resource missingEvents 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-missing-events'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.missing_events'
    description: 'An object is in the source and no event told of it. See alert.missing_events in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.source.missing_event_age" | summarize value = max(valueMax) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 900
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

resource drift 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-drift'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.drift'
    description: 'Source, ledger and FHIR disagree in so many places. See alert.drift in the runbook.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.drift.open" | summarize value = max(valueMax) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 0
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

resource timer 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-timer'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.timer'
    description: 'A phase of a timer keeps failing. See alert.timer in the runbook.'
    severity: 2
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.timer.runs" | summarize done = countif(tostring(customDimensions["dicom_sync.outcome"]) == "done"), failed = countif(tostring(customDimensions["dicom_sync.outcome"]) == "failed"), since = min(timestamp) by tostring(customDimensions["dicom_sync.timer"]), tostring(customDimensions["dicom_sync.timer.phase"]) | where done == 0 and failed > 0 | summarize value = max((now() - since) / 1s) | extend value = coalesce(toreal(value), 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'GreaterThan'
          threshold: 600
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

resource stopped 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'dicom-fhir-sync-stopped'
  location: location
  tags: tags
  properties: {
    displayName: 'DICOM-FHIR Sync: alert.stopped'
    description: 'The timers of the function app do not run. See alert.stopped in the runbook.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [insightsId]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'customMetrics | where name == "dicom_sync.sweeps" | summarize value = sum(valueSum) | extend value = coalesce(value, 0.0)'
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'value'
          operator: 'LessThan'
          threshold: 1
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
