// Everything that DICOM–FHIR Sync needs in Azure, for `azd up` or `az deployment sub create`.
// Identities only: no shared key, no connection string with a secret, no local authentication anywhere.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of this environment; part of every resource name.')
param environmentName string

@minLength(1)
@description('Region of everything that is made here.')
param location string

@description('Object id of a person or group that may look into the state and operate the sync; empty: nobody.')
param operatorPrincipalId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
@description('What operatorPrincipalId is.')
param operatorPrincipalType string = 'User'

// --- Where the DICOM files are -------------------------------------------------------------------------------------

@description('Resource id of the storage account that holds the DICOM files; empty: a new one is made.')
param dicomStorageAccountId string = ''

@description('Containers with DICOM files: the allow-list DICOM_SYNC_CONTAINERS. They are made in a new account.')
param dicomContainers array = ['dicom']

@description('Only names that end like this raise events, such as .dcm; empty: all. Many exports have no suffix.')
param dicomSuffix string = ''

@description('Name of the system topic that an existing account has already (there can be one); empty: one is made.')
param existingStorageTopicName string = ''

@minValue(0)
@maxValue(3650)
@description('Days that the change feed of a new account is kept, for replays; 0: no change feed.')
param changeFeedDays int = 90

// --- Where FHIR is, and the DICOM service if there is one ----------------------------------------------------------

@allowed(['new', 'existing', 'other'])
@description('new: a Health Data Services workspace is made; existing: the one named below; other: any server at fhirUrl.')
param fhirKind string = 'new'

@description('Resource id of an existing Health Data Services workspace, with fhirKind existing.')
param healthWorkspaceId string = ''

@description('Name of the FHIR service in the workspace.')
param fhirServiceName string = 'fhir'

@description('Name of the DICOM service in the workspace to read the change feed of; empty: none.')
param dicomServiceName string = ''

@description('Name of the system topic that an existing workspace has already (there can be one); empty: one is made.')
param existingWorkspaceTopicName string = ''

@description('Base URL of the FHIR server, with fhirKind other.')
param fhirUrl string = ''

// --- How it runs ---------------------------------------------------------------------------------------------------

@allowed(['public', 'private'])
@description('private: a virtual network with private endpoints for the storage accounts; the function app joins it.')
param network string = 'public'

@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('How the storage accounts that are made here keep their copies. ZRS wants a region with availability zones.')
param storageRedundancy string = 'Standard_ZRS'

@allowed([2048, 4096])
@description('Memory of one function instance, MB.')
param instanceMemory int = 2048

@minValue(40)
@maxValue(1000)
@description('Function instances at most. The FHIR service is what limits: raise both together.')
param maximumInstances int = 40

@description('Whether the project\'s own topic for result events (study.synced …) is made.')
param resultEvents bool = true

@description('E-mail addresses that alerts go to; empty: alerts are raised and shown, nobody is written to.')
param alertEmails array = []

@minValue(30)
@maxValue(730)
@description('Days that logs and metrics are kept.')
param logRetention int = 30

@description('Client id of the app registration for sign-in to the HTTP functions, in the tenant of this subscription; empty: none.')
param entraClientId string = ''

@description('Further settings of docs/settings.md, such as { DICOM_SYNC_TIMEZONE: \'Europe/Berlin\' }.')
param settings object = {}

@description('Put on everything that is made here.')
param tags object = {}

var token = toLower(uniqueString(subscription().id, environmentName, location))
var allTags = union(tags, { 'azd-env-name': environmentName })
var isPrivate = network == 'private'
var newSource = empty(dicomStorageAccountId)
var sourceAccountName = newSource ? 'dicom${token}' : last(split(dicomStorageAccountId, '/'))
var sourceGroup = newSource ? group.name : split(dicomStorageAccountId, '/')[4]
var sourceSubscription = newSource ? subscription().subscriptionId : split(dicomStorageAccountId, '/')[2]
var existingWorkspace = fhirKind == 'existing'
var workspaceName = existingWorkspace ? last(split(healthWorkspaceId, '/')) : 'hds${token}'
var workspaceGroup = existingWorkspace ? split(healthWorkspaceId, '/')[4] : group.name
var workspaceSubscription = existingWorkspace ? split(healthWorkspaceId, '/')[2] : subscription().subscriptionId
var signsIn = !empty(entraClientId)
var usesWorkspace = fhirKind != 'other'
var usesDicomService = usesWorkspace && !empty(dicomServiceName)
var readsDicomFeed = usesDicomService || contains(settings, 'DICOM_SYNC_DICOM_URL')
var serviceRoot = 'azurehealthcareapis.com'
var fhirRoot = usesWorkspace ? 'https://${workspaceName}-${fhirServiceName}.fhir.${serviceRoot}' : fhirUrl

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: allTags
}

module identity 'app/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-dicom-fhir-sync-${token}'
    location: location
    tags: allTags
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    retention: logRetention
    alertEmails: alertEmails
    principalId: identity.outputs.principalId
  }
}

module vnet 'app/network.bicep' = if (isPrivate) {
  name: 'network'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
  }
}

module state 'app/state.bicep' = {
  name: 'state'
  scope: group
  params: {
    name: 'sync${token}'
    location: location
    tags: allTags
    redundancy: storageRedundancy
    isPrivate: isPrivate
    principalId: identity.outputs.principalId
    logsId: monitoring.outputs.logsId
  }
}

module operatorAccess 'app/operator-access.bicep' = if (!empty(operatorPrincipalId)) {
  name: 'operator-access'
  scope: group
  params: {
    accountName: state.outputs.accountName
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
  }
}

module stateEndpoints 'app/private-endpoints.bicep' = if (isPrivate) {
  name: 'state-endpoints'
  scope: group
  params: {
    accountId: state.outputs.accountId
    accountName: state.outputs.accountName
    services: ['blob', 'queue', 'table']
    subnetId: vnet!.outputs.endpointSubnetId
    zoneIds: vnet!.outputs.zoneIds
    location: location
    tags: allTags
  }
}

module source 'app/source.bicep' = if (newSource) {
  name: 'source'
  scope: group
  params: {
    name: sourceAccountName
    location: location
    tags: allTags
    redundancy: storageRedundancy
    containers: dicomContainers
    changeFeedDays: changeFeedDays
    isPrivate: isPrivate
    logsId: monitoring.outputs.logsId
  }
}

// Of an existing account too: the zones hide from the network every endpoint that it has elsewhere.
module sourceEndpoints 'app/private-endpoints.bicep' = if (isPrivate) {
  name: 'source-endpoints'
  scope: group
  params: {
    accountId: newSource ? source!.outputs.accountId : dicomStorageAccountId
    accountName: sourceAccountName
    services: ['blob']
    subnetId: vnet!.outputs.endpointSubnetId
    zoneIds: vnet!.outputs.zoneIds
    location: location
    tags: allTags
  }
}

module sourceAccess 'app/source-access.bicep' = {
  name: 'source-access'
  scope: resourceGroup(sourceSubscription, sourceGroup)
  params: {
    accountName: sourceAccountName
    principalId: identity.outputs.principalId
  }
  dependsOn: [source]
}

module storageTopic 'app/topic.bicep' = {
  name: 'storage-topic'
  scope: resourceGroup(sourceSubscription, sourceGroup)
  params: {
    name: 'evgt-dicom-files-${token}'
    existingName: existingStorageTopicName
    sourceId: newSource ? source!.outputs.accountId : dicomStorageAccountId
    topicType: 'Microsoft.Storage.StorageAccounts'
    location: sourceAccess.outputs.location
    tags: allTags
  }
}

module storageTopicAccess 'app/delivery-access.bicep' = {
  name: 'storage-topic-access'
  scope: group
  params: {
    accountName: state.outputs.accountName
    principalId: storageTopic.outputs.principalId
  }
}

module fileEvents 'app/file-events.bicep' = {
  name: 'file-events'
  scope: resourceGroup(sourceSubscription, sourceGroup)
  params: {
    topicName: storageTopic.outputs.name
    stateAccountId: state.outputs.accountId
    containers: dicomContainers
    suffix: dicomSuffix
  }
  dependsOn: [storageTopicAccess] // delivery fails until the topic's identity has its roles
}

module health 'app/health-data.bicep' = if (fhirKind == 'new') {
  name: 'health-data'
  scope: group
  params: {
    workspaceName: workspaceName
    fhirServiceName: fhirServiceName
    dicomServiceName: dicomServiceName
    location: location
    tags: allTags
    logsId: monitoring.outputs.logsId
  }
}

module healthAccess 'app/health-access.bicep' = if (usesWorkspace) {
  name: 'health-access'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
    fhirServiceName: fhirServiceName
    dicomServiceName: dicomServiceName
    principalId: identity.outputs.principalId
  }
  dependsOn: [health]
}

module workspaceTopic 'app/topic.bicep' = if (usesDicomService) {
  name: 'workspace-topic'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    name: 'evgt-dicom-service-${token}'
    existingName: existingWorkspaceTopicName
    sourceId: healthAccess!.outputs.workspaceId
    topicType: 'Microsoft.HealthcareApis.Workspaces'
    location: healthAccess!.outputs.location
    tags: allTags
  }
}

module workspaceTopicAccess 'app/delivery-access.bicep' = if (usesDicomService) {
  name: 'workspace-topic-access'
  scope: group
  params: {
    accountName: state.outputs.accountName
    principalId: workspaceTopic!.outputs.principalId
  }
}

module serviceEvents 'app/service-events.bicep' = if (usesDicomService) {
  name: 'service-events'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    topicName: workspaceTopic!.outputs.name
    stateAccountId: state.outputs.accountId
  }
  dependsOn: [workspaceTopicAccess]
}

module results 'app/results.bicep' = if (resultEvents) {
  name: 'results'
  scope: group
  params: {
    name: 'evgt-results-${token}'
    location: location
    tags: allTags
    principalId: identity.outputs.principalId
    logsId: monitoring.outputs.logsId
  }
}

module functions 'app/functions.bicep' = {
  name: 'functions'
  scope: group
  params: {
    token: token
    location: location
    tags: allTags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    stateAccountName: state.outputs.accountName
    insightsConnection: monitoring.outputs.insightsConnection
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    subnetId: isPrivate ? vnet!.outputs.functionSubnetId : ''
    signsIn: signsIn
    settings: union(
      {
        DICOM_SYNC_FHIR_URL: fhirRoot
        DICOM_SYNC_SOURCE: 'https://${sourceAccountName}.blob.${environment().suffixes.storage}'
        DICOM_SYNC_CONTAINERS: join(dicomContainers, ',')
        DICOM_SYNC_DICOM_URL: usesDicomService ? 'https://${workspaceName}-${dicomServiceName}.dicom.${serviceRoot}' : ''
        DICOM_SYNC_OPERATORS: signsIn ? 'entra' : '' // empty: the default, nobody; or what settings say
        DICOM_SYNC_EVENTS_TOPIC: resultEvents ? results!.outputs.endpoint : ''
        // The timer of a feed that is not read would keep an instance awake: docs/scaling-and-cost.md.
        'AzureWebJobs.read_dicom_feed.Disabled': readsDicomFeed ? 'false' : 'true'
        'AzureWebJobs.read_orthanc_feed.Disabled': contains(settings, 'DICOM_SYNC_ORTHANC_URL') ? 'false' : 'true'
      },
      settings
    )
  }
  dependsOn: [stateEndpoints, sourceEndpoints, sourceAccess, healthAccess]
}

module signIn 'app/sign-in.bicep' = if (signsIn) {
  name: 'sign-in'
  scope: group
  params: {
    appName: functions.outputs.name
    clientId: entraClientId
  }
}

module alerting 'app/alerting.bicep' = {
  name: 'alerting'
  scope: group
  params: {
    tags: allTags
    actionGroupId: monitoring.outputs.actionGroupId
    storageTopicId: storageTopic.outputs.id
    stateAccountId: state.outputs.accountId
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: allTags
    insightsId: monitoring.outputs.insightsId
    actionGroupId: monitoring.outputs.actionGroupId
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = functions.outputs.name
output FUNCTION_APP_PRINCIPAL_ID string = identity.outputs.principalId
output API_URL string = functions.outputs.apiUrl
output SIGN_IN_REDIRECT string = functions.outputs.signInRedirect
output FHIR_ROOT string = fhirRoot
output DICOM_ACCOUNT string = sourceAccountName
output STATE_ACCOUNT string = state.outputs.accountName
