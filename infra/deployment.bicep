// Everything in the group of an environment, and what it adds to the accounts and workspaces of others.
// The order is that of use: who needs a role, a zone or an endpoint waits for the part that makes it.
import { Thresholds } from 'alerts.bicep'
import { sourceOf, topicOf, workspaceOf } from 'places.bicep'
import {
  Deployed
  Environment
  FhirChoices
  KeepingChoices
  ReachChoices
  Role
  RunningChoices
  SourceChoices
  WatchingChoices
} from 'types.bicep'

param environment Environment
param source SourceChoices
param fhir FhirChoices
param reach ReachChoices
param keeping KeepingChoices
param running RunningChoices
param watching WatchingChoices
param thresholds Thresholds
param deployedAt string

var suffix = environment.suffix
var names = environment.names
var here = subscription().subscriptionId
var groupName = resourceGroup().name
var usesWorkspace = fhir.kind != 'other'
var usesDicomService = usesWorkspace && !empty(fhir.dicomService)
var signsIn = !empty(reach.entraClientId)
var isPrivate = reach.isPrivate
var privateApi = isPrivate && !reach.publicApi

var stateName = names.?stateAccount ?? 'stsync${suffix}'
var stateId = resourceId(here, groupName, 'Microsoft.Storage/storageAccounts', stateName)
var account = sourceOf(environment, source, here, groupName)
var workspace = workspaceOf(environment, fhir, here, groupName)
var appName = names.?functionApp ?? 'func-dicom-fhir-sync-${suffix}'
var resultsName = names.?resultsTopic ?? 'evgt-dicom-fhir-sync-${suffix}'
var storageTopic = topicOf(account, source.topicName, names.?storageTopic, 'egst-dicom-files-', suffix)
var workspaceTopic = topicOf(workspace, fhir.topicName, names.?workspaceTopic, 'egst-dicom-service-', suffix)

var cloud = loadJsonContent('clouds.json')[environment.cloud]
var serviceRoot = empty(fhir.domain) ? cloud.health : fhir.domain
var fhirRoot = usesWorkspace ? 'https://${workspace.name}-${fhir.fhirService}.fhir.${serviceRoot}' : fhir.url

module identity 'app/identity.bicep' = {
  name: 'identity-${suffix}'
  params: {
    name: names.?identity ?? 'id-dicom-fhir-sync-${suffix}'
    location: environment.location
    tags: environment.tags
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring-${suffix}'
  params: {
    logsName: names.?logAnalytics ?? 'log-dicom-fhir-sync-${suffix}'
    insightsName: names.?insights ?? 'appi-dicom-fhir-sync-${suffix}'
    actionGroupName: names.?actionGroup ?? 'ag-dicom-fhir-sync-${suffix}'
    auditName: names.?auditWorkspace ?? 'log-audit-dicom-fhir-sync-${suffix}'
    location: environment.location
    tags: environment.tags
    retention: watching.retention
    dailyCap: watching.dailyCap
    alertEmails: watching.emails
    existingLogsId: watching.logsId
    existingActionGroupId: watching.actionGroupId
    auditLogs: watching.auditLogs
    existingAuditId: watching.auditWorkspaceId
    auditRetention: watching.auditRetention
    principalId: identity.outputs.principalId
    assignRoles: environment.assignRoles
  }
}

module stores 'stores.bicep' = {
  name: 'stores-${suffix}'
  params: {
    environment: environment
    source: source
    fhir: fhir
    reach: reach
    keeping: keeping
    resultsName: running.resultEvents ? resultsName : ''
    stateName: stateName
    accountName: account.name
    workspaceName: workspace.name
    serviceRoot: serviceRoot
    loginEndpoint: cloud.login
    principalId: identity.outputs.principalId
    logsId: monitoring.outputs.logsId
    auditId: monitoring.outputs.auditId
  }
}

module network 'reach.bicep' = {
  name: 'reach-${suffix}'
  params: {
    environment: environment
    fhir: fhir
    reach: reach
    running: running
    cloud: cloud
    serviceRoot: serviceRoot
    stateId: stateId
    accountId: account.id
    newAccount: empty(source.accountId)
    workspaceId: workspace.id
    resultsId: resourceId(here, groupName, 'Microsoft.EventGrid/topics', resultsName)
  }
  dependsOn: [stores]
}

module sourceAccess 'app/source-access.bicep' = {
  name: 'source-access-${suffix}'
  scope: resourceGroup(account.subscription, account.group)
  params: {
    accountName: account.name
    containers: concat(source.containers, source.changeFeedDays > 0 ? ['$blobchangefeed'] : [])
    principalId: identity.outputs.principalId
    assignRoles: environment.assignRoles
    fromOutside: !isPrivate
  }
  dependsOn: [stores]
}

module healthAccess 'app/health-access.bicep' = if (usesWorkspace) {
  name: 'health-access-${suffix}'
  scope: resourceGroup(workspace.subscription, workspace.group)
  params: {
    workspaceName: workspace.name
    fhirServiceName: fhir.fhirService
    dicomServiceName: fhir.dicomService
    principalId: identity.outputs.principalId
    suffix: suffix
    assignRoles: environment.assignRoles
    narrow: fhir.role == 'narrow'
  }
  dependsOn: [stores]
}

module fileEvents 'events.bicep' = {
  name: 'events-storage-${suffix}'
  params: {
    environment: environment
    kind: 'storage'
    source: account
    location: sourceAccess.outputs.location
    topicName: storageTopic.name
    existingName: source.topicName
    stateName: stateName
    containers: source.containers
    fileSuffix: source.suffix
    actionGroupId: monitoring.outputs.actionGroupId
  }
  dependsOn: [stores]
}

module serviceEvents 'events.bicep' = if (usesDicomService) {
  name: 'events-workspace-${suffix}'
  params: {
    environment: environment
    kind: 'workspace'
    source: workspace
    location: healthAccess!.outputs.location
    topicName: workspaceTopic.name
    existingName: fhir.topicName
    stateName: stateName
    containers: []
    fileSuffix: ''
    actionGroupId: monitoring.outputs.actionGroupId
  }
  dependsOn: [stores]
}

module functions 'app/functions.bicep' = {
  name: 'functions-${suffix}'
  params: {
    name: appName
    planName: names.?plan ?? 'asp-dicom-fhir-sync-${suffix}'
    location: environment.location
    tags: environment.tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    stateAccountName: stateName
    storageSuffix: cloud.storage
    loginEndpoint: cloud.login
    isPublicCloud: environment.cloud == 'AzureCloud'
    insightsConnection: monitoring.outputs.insightsConnection
    instanceMemory: running.instanceMemory
    maximumInstances: running.maximumInstances
    alwaysReady: running.alwaysReady
    zoneRedundant: running.zoneRedundant
    subnetId: network.outputs.functionSubnetId
    isPublic: !privateApi
    allowedIpRanges: reach.apiIpRanges
    signsIn: signsIn
    settings: union(
      {
        DICOM_SYNC_CLOUD: cloud.name
        DICOM_SYNC_FHIR_URL: fhirRoot
        DICOM_SYNC_FHIR_CONCURRENCY: string(running.fhirConcurrency)
        DICOM_SYNC_SOURCE: 'https://${account.name}.blob.${cloud.storage}'
        DICOM_SYNC_CONTAINERS: join(source.containers, ',')
        DICOM_SYNC_DICOM_URL: usesDicomService ? 'https://${workspace.name}-${fhir.dicomService}.dicom.${serviceRoot}' : ''
        DICOM_SYNC_OPERATORS: signsIn ? 'entra' : '' // empty: the default (none), or what settings say
        DICOM_SYNC_EVENTS_TOPIC: stores.outputs.resultsEndpoint
        // The timer of the feeds would keep an instance awake where there is none: docs/scaling-and-cost.md.
        'AzureWebJobs.read_feeds.Disabled': usesDicomService || contains(running.settings, 'DICOM_SYNC_DICOM_URL') || contains(
            running.settings,
            'DICOM_SYNC_ORTHANC_URL'
          )
          ? 'false'
          : 'true'
      },
      running.settings
    )
  }
  dependsOn: [sourceAccess, healthAccess]
}

module apiEndpoints 'app/private-endpoints.bicep' = if (privateApi) {
  name: 'api-endpoints-${suffix}'
  params: {
    resourceId: resourceId(here, groupName, 'Microsoft.Web/sites', appName)
    endpoints: [{ part: 'sites', zones: network.outputs.zoneIds.?sites ?? [] }]
    subnetId: network.outputs.endpointSubnetId
    location: environment.location
    tags: environment.tags
    byApproval: false
  }
  dependsOn: [functions]
}

module signIn 'app/sign-in.bicep' = if (signsIn) {
  name: 'sign-in-${suffix}'
  params: {
    appName: appName
    clientId: reach.entraClientId
    loginEndpoint: cloud.login
  }
  dependsOn: [functions]
}

module watch 'watch.bicep' = {
  name: 'watch-${suffix}'
  params: {
    environment: environment
    watching: watching
    thresholds: thresholds
    deployedAt: deployedAt
    stateAccountId: stateId
    insightsId: monitoring.outputs.insightsId
    actionGroupId: monitoring.outputs.actionGroupId
  }
  dependsOn: [stores]
}

output functionAppName string = appName
output functionAppPrincipalId string = identity.outputs.principalId
output apiUrl string = functions.outputs.apiUrl
output signInRedirect string = functions.outputs.signInRedirect
output fhirRoot string = fhirRoot
output dicomAccount string = account.name
output stateAccount string = stateName

output neededRoles Role[] = concat(
  stores.outputs.needed,
  sourceAccess.outputs.needed,
  monitoring.outputs.needed,
  usesWorkspace ? healthAccess!.outputs.needed : [],
  fileEvents.outputs.needed,
  usesDicomService ? serviceEvents!.outputs.needed : []
)

output deployed Deployed = {
  suffix: suffix
  stateAccountId: stateId
  storageTopicId: storageTopic.id
  workspaceTopicId: usesDicomService ? workspaceTopic.id : ''
  subscriptions: concat(fileEvents.outputs.names, usesDicomService ? serviceEvents!.outputs.names : [])
  workspaceId: usesWorkspace ? workspace.id : ''
  sourceId: account.id
  signsIn: signsIn
  network: network.outputs.networkId
  operator: environment.assignRoles ? environment.operatorId : ''
  services: concat(
    usesWorkspace ? ['${workspace.id}/fhirservices/${fhir.fhirService}'] : [],
    usesDicomService ? ['${workspace.id}/dicomservices/${fhir.dicomService}'] : []
  )
  zones: network.outputs.zones
  logs: concat([monitoring.outputs.logsId], watching.auditLogs ? [monitoring.outputs.auditId] : [])
}
