// Everything that DICOM–FHIR Sync needs in Azure, for `azd up` or `az deployment sub create`.
// Identities only: no shared key, no connection string with a secret, no local authentication anywhere.
import { CustomerKey, Deployed, Names, Role, Settings, Tags, ZoneIds } from 'types.bicep'
import { Thresholds } from 'alerts.bicep'

targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of this environment: letters, digits, - and _. Part of names, and named by every alert.')
param environmentName string

@minLength(1)
@description('Region of everything that is made here, but for Health Data Services where healthLocation says otherwise.')
param location string

@description('The cloud that this is deployed in: one of clouds.json, which has its domains.')
param azureCloud string = environment().name

@description('Region of a new Health Data Services workspace; empty: that of the rest.')
param healthLocation string = ''

@description('Names to use instead of those by convention.')
param names Names = {}

@description('Put on everything that is made here.')
param tags Tags = {}

@description('Whether roles are assigned here. If not, the output NEEDED_ROLES lists them for those who may.')
param assignRoles bool = true

@description('Whether storage accounts and a workspace that are made here are locked against deletion.')
param locks bool = false

@description('Object id of a person or group that may look into the state and operate the sync from outside; empty: none.')
param operatorPrincipalId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
@description('What operatorPrincipalId is.')
param operatorPrincipalType string = 'User'

// --- Where the DICOM files are -------------------------------------------------------------------------------------

@description('Resource id of the storage account that holds the DICOM files; empty: a new one is made.')
param dicomStorageAccountId string = ''

@minLength(1)
@description('Containers with DICOM files: the allow-list DICOM_SYNC_CONTAINERS. They are made in a new account.')
param dicomContainers string[] = ['dicom']

@description('Only names that end like this raise events, such as .dcm; empty: all. Many exports have no suffix.')
param dicomSuffix string = ''

@description('Name of the system topic that an existing account has already (there can be one); empty: one is made.')
param existingStorageTopicName string = ''

@minValue(0)
@maxValue(3650)
@description('Days that the change feed of a new account is kept, for replays; 0: none, and that of an existing account is not read.')
param changeFeedDays int = 90

@minValue(1)
@maxValue(365)
@description('Days that deleted blobs and containers of accounts that are made here can be restored.')
param deletedDays int = 7

// --- Where FHIR is, and the DICOM service if there is one ----------------------------------------------------------

@allowed(['new', 'existing', 'other'])
@description('new: a Health Data Services workspace is made; existing: the one named below; other: any server at fhirUrl.')
param fhirKind string = 'new'

@description('Resource id of an existing Health Data Services workspace, with fhirKind existing.')
param healthWorkspaceId string = ''

@minLength(3)
@maxLength(24)
@description('Name of the FHIR service in the workspace.')
param fhirServiceName string = 'fhir'

@maxLength(24)
@description('Name of the DICOM service in the workspace to read the change feed of; empty: none.')
param dicomServiceName string = ''

@description('Name of the system topic that an existing workspace has already (there can be one); empty: one is made.')
param existingWorkspaceTopicName string = ''

@description('Base URL of the FHIR server, with fhirKind other.')
param fhirUrl string = ''

@allowed(['narrow', 'FHIR Data Writer'])
@description('narrow: a role of our own that reads, writes and deletes; the built-in one may also export and import.')
param fhirRole string = 'narrow'

@description('Domain of Health Data Services; empty: that of this cloud.')
param healthDomain string = ''

// --- Who reaches it ------------------------------------------------------------------------------------------------

@allowed(['public', 'private'])
@description('private: private endpoints in a virtual network that the function app joins. No default: a forgotten choice must not open anything.')
param network string

@description('Ranges, such as 203.0.113.0/24, that reach the storage accounts from outside with network private.')
param allowedIpRanges string[] = []

@description('Ranges that reach the address of the function app; 0.0.0.0/0: all. Needed with publicApi; empty with network public: all.')
param apiIpRanges string[] = []

@description('With network private: whether the address of the function app is reached from apiIpRanges outside.')
param publicApi bool = false

@description('With network private: whether Health Data Services are reached at their public addresses, without a private endpoint.')
param publicHealth bool = false

@allowed(['', 'trustedServices', 'closed'])
@description('With network private, and to be said then: whether Event Grid delivers to the state account as a trusted service at a public endpoint that is shut for all others, or the account has no public endpoint, as landing zones demand.')
param stateAccess string = ''

@description('Id of a subnet for the function app, delegated to Microsoft.App/environments; empty: a network is made.')
param functionSubnetId string = ''

@description('Id of a subnet for private endpoints; empty: a network is made.')
param endpointSubnetId string = ''

@description('Address range of the network that is made, /22 or larger.')
param networkAddresses string = '10.80.0.0/22'

@allowed(['new', 'existing', 'policy'])
@description('Private DNS zones: made here, given below, or left to a policy of the landing zone.')
param privateDns string = 'new'

@description('Ids of private DNS zones, with privateDns existing.')
param privateDnsZoneIds ZoneIds = {}

@description('Whether the owner of an existing account or workspace has to approve the private endpoint: in another subscription.')
param endpointsByApproval bool = false

@description('Client id of the app registration for sign-in to the HTTP functions, in the tenant of this subscription; empty: none.')
param entraClientId string = ''

// --- How it is kept and how it runs --------------------------------------------------------------------------------

@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('Copies of storage accounts that are made here; ZRS wants availability zones. Azure refuses most changes later.')
param storageRedundancy string = 'Standard_ZRS'

@description('Whether storage is encrypted twice. Only when an account is made: later it cannot be changed.')
param infrastructureEncryption bool = false

@description('Whether queues and tables are encrypted with a key of the account. Only when it is made: later it cannot be changed.')
param accountScopedKeys bool = true

@description('Key of your own for new storage accounts and a new workspace; empty vault: keys of Microsoft.')
param customerKey CustomerKey = { vault: '', key: '', identityId: '' }

@description('Whether instances of the function app are spread over availability zones.')
param zoneRedundant bool = false

@allowed([512, 2048, 4096])
@description('Memory of one function instance, MB.')
param instanceMemory int = 2048

@minValue(1)
@maxValue(1000)
@description('Function instances at most. The FHIR service is what limits: raise both together.')
param maximumInstances int = 40

@minValue(1)
@maxValue(1000)
@description('Studies that one function instance projects to FHIR at the same time.')
param fhirConcurrency int = 16

@description('Whether the project\'s own topic for result events (study.synced …) is made.')
param resultEvents bool = true

@description('Further settings of docs/settings.md, such as { DICOM_SYNC_TIMEZONE: \'Europe/Berlin\' }.')
param settings Settings = {}

// --- Who watches it, and what it may cost --------------------------------------------------------------------------

@description('E-mail addresses that alerts go to; empty: alerts are raised and shown, no mail is sent.')
param alertEmails string[] = []

@description('Resource id of an action group that alerts go to; empty: one is made.')
param actionGroupId string = ''

@description('Thresholds of alerts that are not those of docs/settings.md, such as { lag_seconds: 600 }.')
param alertThresholds Thresholds = {}

@description('When this is deployed: for an hour after it alerts do not tell of an app that is not there yet.')
param deployedAt string = utcNow('yyyy-MM-ddTHH:mm:ssZ')

@description('Whether incidents of Azure itself in this subscription raise an alert.')
param serviceHealthAlert bool = true

@description('Resource id of a Log Analytics workspace that takes logs and metrics; empty: one is made.')
param logAnalyticsId string = ''

@minValue(30)
@maxValue(730)
@description('Days that logs and metrics are kept.')
param logRetention int = 30

@minValue(-1)
@description('GB a day that the workspace takes at most; -1: no limit. Beyond it alerts are blind until the next day.')
param dailyCap int = -1

@description('Whether audit logs of storage, FHIR and DICOM are kept. They hold names of blobs and identifiers of patients.')
param auditLogs bool = false

@description('Resource id of the Log Analytics workspace that takes audit logs; empty: one of its own is made.')
param auditWorkspaceId string = ''

@minValue(30)
@maxValue(730)
@description('Days that audit logs are kept.')
param auditRetention int = 365

@minValue(0)
@description('What the group may cost a month before a mail is sent, in the currency of the subscription; 0: no budget.')
param monthlyBudget int = 0

@description('First day of a month, such as 2026-12-01, from which the budget counts. It cannot be changed later.')
param budgetStart string = ''

// --- What the choices mean -----------------------------------------------------------------------------------------

var suffix = toLower(uniqueString(subscription().id, toLower(environmentName), location))
var allTags = union(tags, { 'azd-env-name': environmentName })
var isPrivate = network == 'private'
var newSource = empty(dicomStorageAccountId)
var newWorkspace = fhirKind == 'new'
var usesWorkspace = fhirKind != 'other'
var usesDicomService = usesWorkspace && !empty(dicomServiceName)
var signsIn = !empty(entraClientId)
var readsDicomFeed = usesDicomService || contains(settings, 'DICOM_SYNC_DICOM_URL')
var ownKey = empty(customerKey.vault) ? null : customerKey
var makesNetwork = isPrivate && (empty(functionSubnetId) || empty(endpointSubnetId))
var privateHealth = isPrivate && usesWorkspace && !publicHealth
var privateApi = isPrivate && !publicApi

var letters = 'abcdefghijklmnopqrstuvwxyz0123456789-_'
var oddLetters = filter(
  map(range(0, length(environmentName)), at => toLower(substring(environmentName, at, 1))),
  each => !contains(letters, each)
)
var sourceParts = split(dicomStorageAccountId, '/')
var workspaceParts = split(healthWorkspaceId, '/')
var zonesWanted = concat(
  ['blob', 'queue', 'table'],
  resultEvents ? ['topic'] : [],
  privateApi ? ['sites'] : [],
  privateHealth ? ['healthWorkspace', 'fhir'] : [],
  privateHealth && usesDicomService ? ['dicom'] : []
)
var zonesMissing = filter(zonesWanted, each => !contains(privateDnsZoneIds, each))

// What Azure would refuse late or with an unhelpful text, reported first and all together.
var refusals = filter(
  [
    empty(oddLetters) ? '' : 'environmentName may hold letters, digits, - and _ only.'
    !newSource && (length(sourceParts) != 9 || toLower(sourceParts[?7] ?? '') != 'storageaccounts')
      ? 'dicomStorageAccountId is not the resource id of a storage account.'
      : ''
    newSource && !empty(existingStorageTopicName)
      ? 'existingStorageTopicName is of an existing account: give dicomStorageAccountId too.'
      : ''
    fhirKind == 'existing' && (length(workspaceParts) != 9 || toLower(workspaceParts[?6] ?? '') != 'microsoft.healthcareapis')
      ? 'fhirKind existing needs healthWorkspaceId, the resource id of a Health Data Services workspace.'
      : ''
    fhirKind != 'existing' && !empty(healthWorkspaceId) ? 'healthWorkspaceId is only for fhirKind existing.' : ''
    fhirKind == 'other' && !startsWith(toLower(fhirUrl), 'https://') ? 'fhirKind other needs fhirUrl, an https:// address.' : ''
    fhirKind != 'other' && !empty(fhirUrl) ? 'fhirUrl is only for fhirKind other.' : ''
    fhirKind == 'other' && !empty(dicomServiceName)
      ? 'dicomServiceName is in a workspace, which fhirKind other has not: set DICOM_SYNC_DICOM_URL in settings.'
      : ''
    !empty(dicomServiceName) && length(dicomServiceName) < 3 ? 'dicomServiceName has at least 3 letters.' : ''
    !isPrivate && (!empty(allowedIpRanges) || !empty(stateAccess) || !empty(functionSubnetId) || !empty(endpointSubnetId))
      ? 'allowedIpRanges, stateAccess and subnets are for network private: otherwise the app comes from addresses that change.'
      : ''
    isPrivate && empty(stateAccess) ? 'network private needs stateAccess: trustedServices or closed.' : ''
    isPrivate && publicApi && empty(apiIpRanges) ? 'publicApi needs apiIpRanges; 0.0.0.0/0 is everywhere.' : ''
    empty(functionSubnetId) != empty(endpointSubnetId) ? 'Give functionSubnetId and endpointSubnetId, or neither.' : ''
    isPrivate && privateDns == 'existing' && !empty(zonesMissing) ? 'privateDnsZoneIds lacks ${join(zonesMissing, ', ')}.' : ''
    !empty(customerKey.vault) && (empty(customerKey.key) || empty(customerKey.identityId))
      ? 'customerKey needs vault, key and identityId.'
      : ''
    monthlyBudget > 0 && !endsWith(budgetStart, '-01') ? 'monthlyBudget needs budgetStart, the first day of a month.' : ''
    contains(settings, 'DICOM_SYNC_FHIR_URL') ? 'DICOM_SYNC_FHIR_URL follows from fhirKind: leave it out of settings.' : ''
  ],
  each => !empty(each)
)

// --- Names, addresses and ids, all known before anything is made: a preview shows them -----------------------------

var groupName = names.?resourceGroup ?? 'rg-${environmentName}'
var identityName = names.?identity ?? 'id-dicom-fhir-sync-${suffix}'
var stateName = names.?stateAccount ?? 'stsync${suffix}'
var sourceName = newSource ? (names.?sourceAccount ?? 'stdicom${suffix}') : last(sourceParts)
var workspaceName = fhirKind == 'existing' ? last(workspaceParts) : (names.?healthWorkspace ?? 'hds${suffix}')
var networkName = names.?network ?? 'vnet-dicom-fhir-sync-${suffix}'
var appName = names.?functionApp ?? 'func-dicom-fhir-sync-${suffix}'
var resultsName = names.?resultsTopic ?? 'evgt-dicom-fhir-sync-${suffix}'

var here = subscription().subscriptionId
var sourceSubscription = newSource ? here : (sourceParts[?2] ?? here)
var sourceGroup = newSource ? groupName : (sourceParts[?4] ?? groupName)
var workspaceSubscription = fhirKind == 'existing' ? (workspaceParts[?2] ?? here) : here
var workspaceGroup = fhirKind == 'existing' ? (workspaceParts[?4] ?? groupName) : groupName

var stateId = resourceId(here, groupName, 'Microsoft.Storage/storageAccounts', stateName)
var sourceId = resourceId(sourceSubscription, sourceGroup, 'Microsoft.Storage/storageAccounts', sourceName)
var workspaceId = resourceId(workspaceSubscription, workspaceGroup, 'Microsoft.HealthcareApis/workspaces', workspaceName)
var networkId = makesNetwork
  ? resourceId(here, groupName, 'Microsoft.Network/virtualNetworks', networkName)
  : (empty(endpointSubnetId) ? '' : split(endpointSubnetId, '/subnets/')[0])

// Another account, another topic: Azure does not let a topic change its source.
var storageTopicName = empty(existingStorageTopicName)
  ? (names.?storageTopic ?? 'egst-dicom-files-${uniqueString(sourceId, suffix)}')
  : existingStorageTopicName
var workspaceTopicName = empty(existingWorkspaceTopicName)
  ? (names.?workspaceTopic ?? 'egst-dicom-service-${uniqueString(workspaceId, suffix)}')
  : existingWorkspaceTopicName
var storageTopicId = resourceId(sourceSubscription, sourceGroup, 'Microsoft.EventGrid/systemTopics', storageTopicName)
var workspaceTopicId = resourceId(workspaceSubscription, workspaceGroup, 'Microsoft.EventGrid/systemTopics', workspaceTopicName)

var cloud = loadJsonContent('clouds.json')[azureCloud]
var serviceRoot = empty(healthDomain) ? cloud.health : healthDomain
var fhirRoot = usesWorkspace ? 'https://${workspaceName}-${fhirServiceName}.fhir.${serviceRoot}' : fhirUrl
var storageSuffix = cloud.storage
var zoneNames = {
  blob: 'privatelink.blob.${storageSuffix}'
  queue: 'privatelink.queue.${storageSuffix}'
  table: 'privatelink.table.${storageSuffix}'
  topic: 'privatelink.${cloud.eventGrid}'
  sites: 'privatelink.${cloud.sites}'
  healthWorkspace: 'privatelink.workspace.${serviceRoot}'
  fhir: 'privatelink.fhir.${serviceRoot}'
  dicom: 'privatelink.dicom.${serviceRoot}'
}
var zoneIds = toObject(
  zonesWanted,
  each => each,
  each =>
    privateDns == 'policy'
      ? []
      : [
          privateDns == 'new'
            ? resourceId(here, groupName, 'Microsoft.Network/privateDnsZones', zoneNames[each])
            : (privateDnsZoneIds[?each] ?? '')
        ]
)

// --- What is deployed ----------------------------------------------------------------------------------------------

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: empty(refusals) ? groupName : fail(join(refusals, ' '))
  location: location
  tags: allTags
}

module identity 'app/identity.bicep' = {
  name: 'identity-${suffix}'
  scope: group
  params: {
    name: identityName
    location: location
    tags: allTags
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring-${suffix}'
  scope: group
  params: {
    logsName: names.?logAnalytics ?? 'log-dicom-fhir-sync-${suffix}'
    insightsName: names.?insights ?? 'appi-dicom-fhir-sync-${suffix}'
    actionGroupName: names.?actionGroup ?? 'ag-dicom-fhir-sync-${suffix}'
    auditName: names.?auditWorkspace ?? 'log-audit-dicom-fhir-sync-${suffix}'
    location: location
    tags: allTags
    retention: logRetention
    dailyCap: dailyCap
    alertEmails: alertEmails
    existingLogsId: logAnalyticsId
    existingActionGroupId: actionGroupId
    auditLogs: auditLogs
    existingAuditId: auditWorkspaceId
    auditRetention: auditRetention
    principalId: identity.outputs.principalId
    assignRoles: assignRoles
  }
}

module vnet 'app/network.bicep' = if (makesNetwork) {
  name: 'network-${suffix}'
  scope: group
  params: {
    name: networkName
    location: location
    tags: allTags
    addresses: networkAddresses
  }
}

module zones 'app/zones.bicep' = if (isPrivate && privateDns == 'new') {
  name: 'zones-${suffix}'
  scope: group
  params: {
    networkId: networkId
    tags: allTags
    names: map(zonesWanted, each => zoneNames[each])
  }
  dependsOn: [vnet]
}

module state 'app/state.bicep' = {
  name: 'state-${suffix}'
  scope: group
  params: {
    name: stateName
    location: location
    tags: allTags
    redundancy: storageRedundancy
    isPrivate: isPrivate
    closed: stateAccess == 'closed'
    allowedIpRanges: allowedIpRanges
    infrastructureEncryption: infrastructureEncryption
    accountScopedKeys: accountScopedKeys
    customerKey: ownKey
    deletedDays: deletedDays
    principalId: identity.outputs.principalId
    assignRoles: assignRoles
    lock: locks
    logsId: monitoring.outputs.logsId
    auditId: monitoring.outputs.auditId
  }
}

module operatorAccess 'app/operator-access.bicep' = if (assignRoles && !empty(operatorPrincipalId)) {
  name: 'operator-access-${suffix}'
  scope: group
  params: {
    accountName: stateName
    principalId: operatorPrincipalId
    principalType: operatorPrincipalType
  }
  dependsOn: [state]
}

module source 'app/source.bicep' = if (newSource) {
  name: 'source-${suffix}'
  scope: group
  params: {
    name: sourceName
    location: location
    tags: allTags
    redundancy: storageRedundancy
    containers: dicomContainers
    changeFeedDays: changeFeedDays
    deletedDays: deletedDays
    isPrivate: isPrivate
    allowedIpRanges: allowedIpRanges
    infrastructureEncryption: infrastructureEncryption
    customerKey: ownKey
    lock: locks
    logsId: monitoring.outputs.logsId
    auditId: monitoring.outputs.auditId
  }
}

module health 'app/health-data.bicep' = if (newWorkspace) {
  name: 'health-data-${suffix}'
  scope: group
  params: {
    workspaceName: workspaceName
    fhirServiceName: fhirServiceName
    dicomServiceName: dicomServiceName
    location: empty(healthLocation) ? location : healthLocation
    tags: allTags
    serviceRoot: serviceRoot
    loginEndpoint: cloud.login
    isPrivate: privateHealth
    customerKey: ownKey
    lock: locks
    logsId: monitoring.outputs.logsId
    auditId: monitoring.outputs.auditId
  }
}

module results 'app/results.bicep' = if (resultEvents) {
  name: 'results-${suffix}'
  scope: group
  params: {
    name: resultsName
    location: location
    tags: allTags
    principalId: identity.outputs.principalId
    assignRoles: assignRoles
    isPrivate: isPrivate
    logsId: monitoring.outputs.logsId
  }
}

module stateEndpoints 'app/private-endpoints.bicep' = if (isPrivate) {
  name: 'state-endpoints-${suffix}'
  scope: group
  params: {
    resourceId: stateId
    endpoints: map(['blob', 'queue', 'table'], each => { part: each, zones: zoneIds[each] })
    subnetId: makesNetwork ? vnet!.outputs.endpointSubnetId : endpointSubnetId
    location: location
    tags: allTags
    byApproval: false
  }
  dependsOn: [state, zones]
}

// Of an existing account too: the zones hide from the network every endpoint that it has elsewhere.
module sourceEndpoints 'app/private-endpoints.bicep' = if (isPrivate) {
  name: 'source-endpoints-${suffix}'
  scope: group
  params: {
    resourceId: sourceId
    endpoints: [{ part: 'blob', zones: zoneIds.blob }]
    subnetId: makesNetwork ? vnet!.outputs.endpointSubnetId : endpointSubnetId
    location: location
    tags: allTags
    byApproval: endpointsByApproval && !newSource
  }
  dependsOn: [source, zones]
}

module healthEndpoints 'app/private-endpoints.bicep' = if (privateHealth) {
  name: 'health-endpoints-${suffix}'
  scope: group
  params: {
    resourceId: workspaceId
    endpoints: [
      {
        part: 'healthcareworkspace'
        zones: concat(zoneIds.healthWorkspace, zoneIds.fhir, usesDicomService ? zoneIds.dicom : [])
      }
    ]
    subnetId: makesNetwork ? vnet!.outputs.endpointSubnetId : endpointSubnetId
    location: location
    tags: allTags
    byApproval: endpointsByApproval && !newWorkspace
  }
  dependsOn: [health, zones]
}

module resultsEndpoints 'app/private-endpoints.bicep' = if (isPrivate && resultEvents) {
  name: 'results-endpoints-${suffix}'
  scope: group
  params: {
    resourceId: resourceId(here, groupName, 'Microsoft.EventGrid/topics', resultsName)
    endpoints: [{ part: 'topic', zones: zoneIds.topic }]
    subnetId: makesNetwork ? vnet!.outputs.endpointSubnetId : endpointSubnetId
    location: location
    tags: allTags
    byApproval: false
  }
  dependsOn: [results, zones]
}

module sourceAccess 'app/source-access.bicep' = {
  name: 'source-access-${suffix}'
  scope: resourceGroup(sourceSubscription, sourceGroup)
  params: {
    accountName: sourceName
    containers: concat(dicomContainers, changeFeedDays > 0 ? ['$blobchangefeed'] : [])
    principalId: identity.outputs.principalId
    assignRoles: assignRoles
    fromOutside: !isPrivate
  }
  dependsOn: [source]
}

module storageTopic 'app/topic.bicep' = {
  name: 'storage-topic-${suffix}'
  scope: resourceGroup(sourceSubscription, sourceGroup)
  params: {
    name: storageTopicName
    existingName: existingStorageTopicName
    sourceId: sourceId
    topicType: 'Microsoft.Storage.StorageAccounts'
    location: sourceAccess.outputs.location
    tags: allTags
  }
}

module storageTopicAccess 'app/delivery-access.bicep' = if (assignRoles) {
  name: 'storage-topic-access-${suffix}'
  scope: group
  params: {
    accountName: stateName
    principalId: storageTopic.outputs.principalId
  }
  dependsOn: [state]
}

module fileEvents 'app/file-events.bicep' = {
  name: 'file-events-${suffix}'
  scope: resourceGroup(sourceSubscription, sourceGroup)
  params: {
    topicName: storageTopicName
    stateAccountId: stateId
    containers: dicomContainers
    suffix: dicomSuffix
  }
  dependsOn: [state, storageTopic, storageTopicAccess] // delivery fails until the topic's identity has its roles
}

module healthAccess 'app/health-access.bicep' = if (usesWorkspace) {
  name: 'health-access-${suffix}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
    fhirServiceName: fhirServiceName
    dicomServiceName: dicomServiceName
    principalId: identity.outputs.principalId
    suffix: suffix
    assignRoles: assignRoles
    narrow: fhirRole == 'narrow'
  }
  dependsOn: [health]
}

module workspaceTopic 'app/topic.bicep' = if (usesDicomService) {
  name: 'workspace-topic-${suffix}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    name: workspaceTopicName
    existingName: existingWorkspaceTopicName
    sourceId: workspaceId
    topicType: 'Microsoft.HealthcareApis.Workspaces'
    location: healthAccess!.outputs.location
    tags: allTags
  }
}

module workspaceTopicAccess 'app/delivery-access.bicep' = if (assignRoles && usesDicomService) {
  name: 'workspace-topic-access-${suffix}'
  scope: group
  params: {
    accountName: stateName
    principalId: workspaceTopic!.outputs.principalId
  }
  dependsOn: [state]
}

module serviceEvents 'app/service-events.bicep' = if (usesDicomService) {
  name: 'service-events-${suffix}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    topicName: workspaceTopicName
    stateAccountId: stateId
  }
  dependsOn: [state, workspaceTopic, workspaceTopicAccess]
}

module functions 'app/functions.bicep' = {
  name: 'functions-${suffix}'
  scope: group
  params: {
    name: appName
    planName: names.?plan ?? 'asp-dicom-fhir-sync-${suffix}'
    location: location
    tags: allTags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    stateAccountName: stateName
    storageSuffix: storageSuffix
    loginEndpoint: cloud.login
    isPublicCloud: azureCloud == 'AzureCloud'
    insightsConnection: monitoring.outputs.insightsConnection
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    zoneRedundant: zoneRedundant
    subnetId: isPrivate ? (makesNetwork ? vnet!.outputs.functionSubnetId : functionSubnetId) : ''
    isPublic: !privateApi
    allowedIpRanges: apiIpRanges
    signsIn: signsIn
    settings: union(
      {
        DICOM_SYNC_CLOUD: cloud.name
        DICOM_SYNC_FHIR_URL: fhirRoot
        DICOM_SYNC_FHIR_CONCURRENCY: string(fhirConcurrency)
        DICOM_SYNC_SOURCE: 'https://${sourceName}.blob.${storageSuffix}'
        DICOM_SYNC_CONTAINERS: join(dicomContainers, ',')
        DICOM_SYNC_DICOM_URL: usesDicomService ? 'https://${workspaceName}-${dicomServiceName}.dicom.${serviceRoot}' : ''
        DICOM_SYNC_OPERATORS: signsIn ? 'entra' : '' // empty: the default (none), or what settings say
        DICOM_SYNC_EVENTS_TOPIC: resultEvents ? results!.outputs.endpoint : ''
        // The timer of a feed that is not read would keep an instance awake: docs/scaling-and-cost.md.
        'AzureWebJobs.read_dicom_feed.Disabled': readsDicomFeed ? 'false' : 'true'
        'AzureWebJobs.read_orthanc_feed.Disabled': contains(settings, 'DICOM_SYNC_ORTHANC_URL') ? 'false' : 'true'
      },
      settings
    )
  }
  dependsOn: [state, stateEndpoints, sourceEndpoints, healthEndpoints, resultsEndpoints, sourceAccess, healthAccess]
}

module apiEndpoints 'app/private-endpoints.bicep' = if (privateApi) {
  name: 'api-endpoints-${suffix}'
  scope: group
  params: {
    resourceId: resourceId(here, groupName, 'Microsoft.Web/sites', appName)
    endpoints: [{ part: 'sites', zones: zoneIds.sites }]
    subnetId: makesNetwork ? vnet!.outputs.endpointSubnetId : endpointSubnetId
    location: location
    tags: allTags
    byApproval: false
  }
  dependsOn: [functions, zones]
}

module signIn 'app/sign-in.bicep' = if (signsIn) {
  name: 'sign-in-${suffix}'
  scope: group
  params: {
    appName: appName
    clientId: entraClientId
    loginEndpoint: cloud.login
  }
  dependsOn: [functions]
}

module storageTopicAlerts 'app/topic-alerts.bicep' = {
  name: 'storage-topic-alerts-${suffix}'
  scope: resourceGroup(sourceSubscription, sourceSubscription == here ? groupName : sourceGroup)
  params: {
    environmentName: environmentName
    suffix: suffix
    tags: allTags
    actionGroupId: monitoring.outputs.actionGroupId
    topicId: storageTopicId
    what: 'DICOM files'
  }
  dependsOn: [storageTopic]
}

module workspaceTopicAlerts 'app/topic-alerts.bicep' = if (usesDicomService) {
  name: 'workspace-topic-alerts-${suffix}'
  scope: resourceGroup(workspaceSubscription, workspaceSubscription == here ? groupName : workspaceGroup)
  params: {
    environmentName: environmentName
    suffix: suffix
    tags: allTags
    actionGroupId: monitoring.outputs.actionGroupId
    topicId: workspaceTopicId
    what: 'the DICOM service'
  }
  dependsOn: [workspaceTopic]
}

module alerting 'app/alerting.bicep' = {
  name: 'alerting-${suffix}'
  scope: group
  params: {
    environmentName: environmentName
    tags: allTags
    actionGroupId: monitoring.outputs.actionGroupId
    stateAccountId: stateId
    serviceHealth: serviceHealthAlert
  }
  dependsOn: [state]
}

module alerts 'alerts.bicep' = {
  name: 'alerts-${suffix}'
  scope: group
  params: {
    environmentName: environmentName
    location: location
    tags: allTags
    insightsId: monitoring.outputs.insightsId
    actionGroupId: monitoring.outputs.actionGroupId
    thresholds: alertThresholds
    deployedAt: deployedAt
  }
}

module budget 'app/budget.bicep' = if (monthlyBudget > 0) {
  name: 'budget-${suffix}'
  scope: group
  params: {
    name: 'dicom-fhir-sync-${suffix}'
    amount: monthlyBudget
    start: budgetStart
    actionGroupId: monitoring.outputs.actionGroupId
  }
}

var topicRoles = loadJsonContent('roles.json')
var deliveryNeeds = flatten(map(concat([storageTopicName], usesDicomService ? [workspaceTopicName] : []), each => [
  {
    role: 'Storage Queue Data Message Sender'
    id: topicRoles.storageQueueDataMessageSender
    scope: '${stateId}/queueServices/default/queues/objects'
    principal: 'system topic ${each}'
  }
  {
    role: 'Storage Blob Data Contributor'
    id: topicRoles.storageBlobDataContributor
    scope: '${stateId}/blobServices/default/containers/event-dead-letters'
    principal: 'system topic ${each}'
  }
]))

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = appName
output FUNCTION_APP_PRINCIPAL_ID string = identity.outputs.principalId
output API_URL string = functions.outputs.apiUrl
output SIGN_IN_REDIRECT string = functions.outputs.signInRedirect
output FHIR_ROOT string = fhirRoot
output DICOM_ACCOUNT string = sourceName
output STATE_ACCOUNT string = stateName

@description('Every role that the sync needs, for those who assign them where assignRoles is false, and for scripts/leftovers.')
output NEEDED_ROLES Role[] = concat(
  state.outputs.needed,
  sourceAccess.outputs.needed,
  monitoring.outputs.needed,
  resultEvents ? results!.outputs.needed : [],
  usesWorkspace ? healthAccess!.outputs.needed : [],
  deliveryNeeds
)

@description('What this deployment has made, for scripts/leftovers: what is there beside it was left by an earlier one.')
output DEPLOYED Deployed = {
  suffix: suffix
  stateAccountId: stateId
  storageTopicId: storageTopicId
  workspaceTopicId: usesDicomService ? workspaceTopicId : ''
  subscriptions: concat(fileEvents.outputs.names, usesDicomService ? serviceEvents!.outputs.names : [])
  workspaceId: usesWorkspace ? workspaceId : ''
  sourceId: sourceId
  signsIn: signsIn
  network: networkId
  operator: assignRoles ? operatorPrincipalId : ''
  logs: concat([monitoring.outputs.logsId], auditLogs ? [monitoring.outputs.auditId] : [])
}
