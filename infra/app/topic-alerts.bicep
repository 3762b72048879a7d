// What Event Grid could not deliver, or gave up. In the subscription of the topic: Azure Monitor wants metric alerts there.
import { Tags } from '../types.bicep'

@description('Name of the environment, for the names and texts of the rules.')
param environmentName string

param suffix string
param tags Tags
param actionGroupId string
param topicId string

@description('Subject of the events, for the texts of the rules, such as: events of DICOM files.')
param what string

resource undelivered 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'dicom-fhir-sync-${environmentName}-undelivered-${uniqueString(topicId, suffix)}'
  location: 'global'
  tags: tags
  properties: {
    description: '${environmentName}: Event Grid could not deliver events of ${what}. They are kept in the container event-dead-letters, from which the sync takes them in.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [topicId]
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

resource dropped 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'dicom-fhir-sync-${environmentName}-dropped-${uniqueString(topicId, suffix)}'
  location: 'global'
  tags: tags
  properties: {
    description: '${environmentName}: Event Grid dropped events of ${what}: nothing has kept them. Take in what was missed with python -m sync backfill.'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [topicId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'dropped'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'DroppedEventCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}
