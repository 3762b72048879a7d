// What tells people that something is wrong, or dear.
import { Thresholds } from 'alerts.bicep'
import { Environment, WatchingChoices } from 'types.bicep'

param environment Environment
param watching WatchingChoices
param thresholds Thresholds
param deployedAt string
param stateAccountId string
param insightsId string
param actionGroupId string

module alerting 'app/alerting.bicep' = {
  name: 'alerting-${environment.suffix}'
  params: {
    environmentName: environment.name
    tags: environment.tags
    actionGroupId: actionGroupId
    stateAccountId: stateAccountId
    serviceHealth: watching.serviceHealth
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts-${environment.suffix}'
  params: {
    environmentName: environment.name
    location: environment.location
    tags: environment.tags
    insightsId: insightsId
    actionGroupId: actionGroupId
    thresholds: thresholds
    deployedAt: deployedAt
  }
}

module budget 'app/budget.bicep' = if (watching.budget > 0) {
  name: 'budget-${environment.suffix}'
  params: {
    name: 'dicom-fhir-sync-${environment.suffix}'
    amount: watching.budget
    start: watching.budgetStart
    actionGroupId: actionGroupId
  }
}
