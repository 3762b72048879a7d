// Alerts that only the platform can raise: they hold when the function app itself is down.
param tags object
param actionGroupId string
param storageTopicId string
param stateAccountId string

resource undelivered 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'dicom-fhir-sync-events-undelivered'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid gave up events of DICOM files. They are in the container event-dead-letters: see the runbook.'
    severity: 1
    enabled: true
    scopes: [storageTopicId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'dead-lettered'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'DeadLetteredCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}

resource stateUnavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'dicom-fhir-sync-state-unavailable'
  location: 'global'
  tags: tags
  properties: {
    description: 'The state account answers less than 99 % of its requests: nothing is lost, but nothing goes on either.'
    severity: 1
    enabled: true
    scopes: [stateAccountId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'availability'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'Availability'
          timeAggregation: 'Average'
          operator: 'LessThan'
          threshold: 99
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}
