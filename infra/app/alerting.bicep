// Alerts that only the platform can raise: they hold when the function app itself is down.
import { Tags } from '../types.bicep'

param environmentName string
param tags Tags
param actionGroupId string
param stateAccountId string

@description('Whether incidents of Azure services in this subscription raise an alert.')
param serviceHealth bool

resource stateUnavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'dicom-fhir-sync-${environmentName}-state-unavailable'
  location: 'global'
  tags: tags
  properties: {
    description: '${environmentName}: the state account answers less than 99 % of its requests. Nothing is lost, and the sync waits.'
    severity: 1
    enabled: true
    autoMitigate: true
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

resource incidents 'Microsoft.Insights/activityLogAlerts@2020-10-01' = if (serviceHealth) {
  name: 'dicom-fhir-sync-${environmentName}-service-health'
  location: 'global'
  tags: tags
  properties: {
    description: '${environmentName}: Azure reports an incident or maintenance in this subscription.'
    enabled: true
    scopes: [subscription().id]
    condition: { allOf: [{ field: 'category', equals: 'ServiceHealth' }] }
    actions: { actionGroups: [{ actionGroupId: actionGroupId }] }
  }
}
