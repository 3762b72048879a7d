// What holds data: the state account, and a new account, a new workspace and the topic of result events where they are asked for.
import { Environment, FhirChoices, KeepingChoices, ReachChoices, Role, SourceChoices } from 'types.bicep'

param environment Environment
param source SourceChoices
param fhir FhirChoices
param reach ReachChoices
param keeping KeepingChoices
param stateName string
param accountName string
param workspaceName string

@description('Name of the topic for result events; empty: no topic is created.')
param resultsName string

@description('Suffix of Health Data Services addresses in this cloud.')
param serviceRoot string

param loginEndpoint string

@description('Principal id of the function app\'s identity.')
param principalId string

param logsId string

@description('Workspace of audit logs; empty: no audit logs are kept.')
param auditId string

var suffix = environment.suffix
var location = environment.location
var tags = environment.tags
var ownKey = empty(keeping.customerKey.vault) ? null : keeping.customerKey

module state 'app/state.bicep' = {
  name: 'state-${suffix}'
  params: {
    name: stateName
    location: location
    tags: tags
    redundancy: keeping.redundancy
    isPrivate: reach.isPrivate
    closed: reach.stateAccess == 'closed'
    allowedIpRanges: reach.allowedIpRanges
    infrastructureEncryption: keeping.infrastructureEncryption
    accountScopedKeys: keeping.accountScopedKeys
    customerKey: ownKey
    deletedDays: keeping.deletedDays
    principalId: principalId
    assignRoles: environment.assignRoles
    lock: keeping.locks
    logsId: logsId
    auditId: auditId
  }
}

module operatorAccess 'app/operator-access.bicep' = if (environment.assignRoles && !empty(environment.operatorId)) {
  name: 'operator-access-${suffix}'
  params: {
    accountName: stateName
    principalId: environment.operatorId
    principalType: environment.operatorType
  }
  dependsOn: [state]
}

module files 'app/source.bicep' = if (empty(source.accountId)) {
  name: 'source-${suffix}'
  params: {
    name: accountName
    location: location
    tags: tags
    redundancy: keeping.redundancy
    containers: source.containers
    changeFeedDays: source.changeFeedDays
    deletedDays: keeping.deletedDays
    isPrivate: reach.isPrivate
    allowedIpRanges: reach.allowedIpRanges
    infrastructureEncryption: keeping.infrastructureEncryption
    customerKey: ownKey
    lock: keeping.locks
    logsId: logsId
    auditId: auditId
  }
}

module health 'app/health-data.bicep' = if (fhir.kind == 'new') {
  name: 'health-data-${suffix}'
  params: {
    workspaceName: workspaceName
    fhirServiceName: fhir.fhirService
    dicomServiceName: fhir.dicomService
    location: fhir.location
    tags: tags
    serviceRoot: serviceRoot
    loginEndpoint: loginEndpoint
    isPrivate: reach.isPrivate && !reach.publicHealth
    customerKey: ownKey
    lock: keeping.locks
    logsId: logsId
    auditId: auditId
  }
}

module results 'app/results.bicep' = if (!empty(resultsName)) {
  name: 'results-${suffix}'
  params: {
    name: resultsName
    location: location
    tags: tags
    principalId: principalId
    assignRoles: environment.assignRoles
    isPrivate: reach.isPrivate
    logsId: logsId
  }
}

output resultsEndpoint string = empty(resultsName) ? '' : results!.outputs.endpoint
output needed Role[] = concat(state.outputs.needed, empty(resultsName) ? [] : results!.outputs.needed)
