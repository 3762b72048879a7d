// Everything that DICOM–FHIR Sync needs in Azure, for `azd up` or `az deployment sub create`.
// Identities only: no shared key, no connection string with a secret, no local authentication anywhere.
//
// Here: the parameters, and what no deployment may choose. What they make: deployment.bicep. Names and ids: places.bicep.
import { Thresholds } from 'alerts.bicep'
import { refusalsOf } from 'refusals.bicep'
import {
  CustomerKey
  Deployed
  Environment
  FhirChoices
  KeepingChoices
  Names
  ReachChoices
  Role
  RunningChoices
  Settings
  SourceChoices
  Tags
  WatchingChoices
  ZoneIds
} from 'types.bicep'

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

@minValue(0)
@maxValue(20)
@description('Instances that are kept ready for arriving objects; 0: the first object of a quiet hour waits for a start.')
param alwaysReadyObjects int = 0

@minValue(0)
@maxValue(20)
@description('Instances that are kept ready for projecting studies; 0: the first study of a quiet hour waits for a start.')
param alwaysReadyStudies int = 0

@minValue(0)
@maxValue(20)
@description('Instances that are kept ready for slices of backfills; 0: a backfill waits for a start.')
param alwaysReadySlices int = 0

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

@description('Time of this deployment: for an hour after it, no alert reports an app that is not there yet.')
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

@description('Whether audit logs of storage, FHIR and DICOM that are made here are kept. They hold names of blobs and identifiers of patients.')
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

var common Environment = {
  name: environmentName
  suffix: toLower(uniqueString(subscription().id, toLower(environmentName), location))
  location: location
  cloud: azureCloud
  names: names
  tags: union(tags, { 'azd-env-name': environmentName })
  assignRoles: assignRoles
  operatorId: operatorPrincipalId
  operatorType: operatorPrincipalType
}
var source SourceChoices = {
  accountId: dicomStorageAccountId
  containers: dicomContainers
  suffix: dicomSuffix
  topicName: existingStorageTopicName
  changeFeedDays: changeFeedDays
}
var fhir FhirChoices = {
  kind: fhirKind
  workspaceId: healthWorkspaceId
  fhirService: fhirServiceName
  dicomService: dicomServiceName
  topicName: existingWorkspaceTopicName
  url: fhirUrl
  role: fhirRole
  domain: healthDomain
  location: empty(healthLocation) ? location : healthLocation
}
var reach ReachChoices = {
  isPrivate: network == 'private'
  allowedIpRanges: allowedIpRanges
  apiIpRanges: apiIpRanges
  publicApi: publicApi
  publicHealth: publicHealth
  stateAccess: stateAccess
  functionSubnetId: functionSubnetId
  endpointSubnetId: endpointSubnetId
  addresses: networkAddresses
  privateDns: privateDns
  zoneIds: privateDnsZoneIds
  byApproval: endpointsByApproval
  entraClientId: entraClientId
}
var keeping KeepingChoices = {
  redundancy: storageRedundancy
  deletedDays: deletedDays
  infrastructureEncryption: infrastructureEncryption
  accountScopedKeys: accountScopedKeys
  customerKey: customerKey
  locks: locks
}
var running RunningChoices = {
  zoneRedundant: zoneRedundant
  instanceMemory: instanceMemory
  maximumInstances: maximumInstances
  alwaysReady: { objects: alwaysReadyObjects, studies: alwaysReadyStudies, slices: alwaysReadySlices }
  fhirConcurrency: fhirConcurrency
  resultEvents: resultEvents
  settings: settings
}
var watching WatchingChoices = {
  emails: alertEmails
  actionGroupId: actionGroupId
  serviceHealth: serviceHealthAlert
  logsId: logAnalyticsId
  retention: logRetention
  dailyCap: dailyCap
  auditLogs: auditLogs
  auditWorkspaceId: auditWorkspaceId
  auditRetention: auditRetention
  budget: monthlyBudget
  budgetStart: budgetStart
}
var refusals = refusalsOf(common, source, fhir, reach, keeping, running, watching)

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: empty(refusals) ? (names.?resourceGroup ?? 'rg-${environmentName}') : fail(join(refusals, ' '))
  location: location
  tags: common.tags
}

module sync 'deployment.bicep' = {
  name: 'dicom-fhir-sync-${common.suffix}'
  scope: group
  params: {
    environment: common
    source: source
    fhir: fhir
    reach: reach
    keeping: keeping
    running: running
    watching: watching
    thresholds: alertThresholds
    deployedAt: deployedAt
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = sync.outputs.functionAppName
output FUNCTION_APP_PRINCIPAL_ID string = sync.outputs.functionAppPrincipalId
output API_URL string = sync.outputs.apiUrl
output SIGN_IN_REDIRECT string = sync.outputs.signInRedirect
output FHIR_ROOT string = sync.outputs.fhirRoot
output DICOM_ACCOUNT string = sync.outputs.dicomAccount
output STATE_ACCOUNT string = sync.outputs.stateAccount

@description('Every role that the sync needs, for those who assign them where assignRoles is false, and for scripts/leftovers.')
output NEEDED_ROLES Role[] = sync.outputs.neededRoles

@description('What this deployment has made, for scripts/leftovers: what is there beside it was left by an earlier one.')
output DEPLOYED Deployed = sync.outputs.deployed
