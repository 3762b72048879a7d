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
@description('Region of all created resources; for Health Data Services, healthLocation takes precedence.')
param location string

@description('The Azure cloud of the deployment: one of clouds.json, which lists the domains of each.')
param azureCloud string = environment().name

@description('Region of a new Health Data Services workspace; empty: the region of the other resources.')
param healthLocation string = ''

@description('Names to use instead of the conventional ones.')
param names Names = {}

@description('Tags of all created resources.')
param tags Tags = {}

@description('Whether the deployment assigns roles. If not, the output NEEDED_ROLES lists them for an administrator to assign.')
param assignRoles bool = true

@description('Whether created storage accounts and workspaces are locked against deletion.')
param locks bool = false

@description('Object id of a person or group that may read the state and operate the sync from outside; empty: none.')
param operatorPrincipalId string = ''

@allowed(['User', 'Group', 'ServicePrincipal'])
@description('Type of the principal that operatorPrincipalId names.')
param operatorPrincipalType string = 'User'

// --- Source of the DICOM files -------------------------------------------------------------------------------------

@description('Resource id of the storage account that holds the DICOM files; empty: an account is created.')
param dicomStorageAccountId string = ''

@minLength(1)
@description('Containers with DICOM files: the allow-list DICOM_SYNC_CONTAINERS. In a new account they are created.')
param dicomContainers string[] = ['dicom']

@description('Suffix of the blob names that raise events, such as .dcm; empty: all names. Many exports have no suffix.')
param dicomSuffix string = ''

@description('Name of the system topic of an existing account, if it has one (an account can have only one); empty: a topic is created.')
param existingStorageTopicName string = ''

@minValue(0)
@maxValue(3650)
@description('Days to keep the change feed of a new account, for replays; 0: no change feed, and the one of an existing account is not read.')
param changeFeedDays int = 90

@minValue(1)
@maxValue(365)
@description('Days for which deleted blobs and containers of created accounts can be restored.')
param deletedDays int = 7

// --- FHIR service and DICOM service --------------------------------------------------------------------------------

@allowed(['new', 'existing', 'other'])
@description('new: create a Health Data Services workspace; existing: use the one that healthWorkspaceId names; other: use the server at fhirUrl.')
param fhirKind string = 'new'

@description('Resource id of the Health Data Services workspace, for fhirKind existing.')
param healthWorkspaceId string = ''

@minLength(3)
@maxLength(24)
@description('Name of the FHIR service in the workspace.')
param fhirServiceName string = 'fhir'

@maxLength(24)
@description('Name of the DICOM service in the workspace whose change feed is read; empty: none.')
param dicomServiceName string = ''

@description('Name of the system topic of an existing workspace, if it has one (a workspace can have only one); empty: a topic is created.')
param existingWorkspaceTopicName string = ''

@description('Base URL of the FHIR server, for fhirKind other.')
param fhirUrl string = ''

@allowed(['narrow', 'FHIR Data Writer'])
@description('narrow: a custom role that reads, writes and deletes resources; FHIR Data Writer, a built-in role, may also export and import.')
param fhirRole string = 'narrow'

@description('Domain of Health Data Services; empty: the domain in this cloud.')
param healthDomain string = ''

// --- Network and sign-in -------------------------------------------------------------------------------------------

@allowed(['public', 'private'])
@description('private: private endpoints in a virtual network that the function app joins; public: endpoints on the internet, which require an identity. No default: a forgotten choice must not open anything.')
param network string

@description('With network private: address ranges, such as 203.0.113.0/24, that may reach the storage accounts from outside.')
param allowedIpRanges string[] = []

@description('Address ranges that may reach the function app; 0.0.0.0/0: all. Required with publicApi; with network public, empty means all.')
param apiIpRanges string[] = []

@description('With network private: whether apiIpRanges may reach the function app from outside.')
param publicApi bool = false

@description('With network private: whether Health Data Services keep their public addresses, without a private endpoint.')
param publicHealth bool = false

@allowed(['', 'trustedServices', 'closed'])
@description('Required with network private. trustedServices: the public endpoint of the state account accepts only trusted services such as Event Grid, and allowedIpRanges; closed: the account has no public endpoint, as landing zones demand.')
param stateAccess string = ''

@description('Id of a subnet for the function app, delegated to Microsoft.App/environments; empty: a network is created.')
param functionSubnetId string = ''

@description('Id of a subnet for private endpoints; empty: a network is created.')
param endpointSubnetId string = ''

@description('Address range of a created network, /22 or larger.')
param networkAddresses string = '10.80.0.0/22'

@allowed(['new', 'existing', 'policy'])
@description('Private DNS zones. new: created by the deployment; existing: those of privateDnsZoneIds; policy: a policy of the landing zone adds them.')
param privateDns string = 'new'

@description('Ids of private DNS zones, for privateDns existing.')
param privateDnsZoneIds ZoneIds = {}

@description('Whether the owner of an existing account or workspace in another subscription has to approve the private endpoint.')
param endpointsByApproval bool = false

@description('Client id of the app registration for sign-in to the HTTP functions, in the tenant of this subscription; empty: no sign-in.')
param entraClientId string = ''

// --- Storage, encryption and scale ---------------------------------------------------------------------------------

@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('Redundancy of created storage accounts; ZRS needs a region with availability zones. Azure refuses most later changes.')
param storageRedundancy string = 'Standard_ZRS'

@description('Whether storage is encrypted twice (infrastructure encryption). Applies only when an account is created.')
param infrastructureEncryption bool = false

@description('Whether queues and tables are encrypted with a key of the account. Applies only when the account is created.')
param accountScopedKeys bool = true

@description('Customer-managed key for new storage accounts and a new workspace; with an empty vault, Microsoft-managed keys.')
param customerKey CustomerKey = { vault: '', key: '', identityId: '' }

@description('Whether instances of the function app are distributed over availability zones.')
param zoneRedundant bool = false

@allowed([512, 2048, 4096])
@description('Memory of one function instance, in MB.')
param instanceMemory int = 2048

@minValue(1)
@maxValue(1000)
@description('Maximum number of function instances. The FHIR service limits the rate: raise its capacity together with this number.')
param maximumInstances int = 40

@minValue(0)
@maxValue(20)
@description('Instances kept ready for arriving objects; 0: the first object after a quiet hour waits for an instance to start.')
param alwaysReadyObjects int = 0

@minValue(0)
@maxValue(20)
@description('Instances kept ready for projecting studies; 0: the first study after a quiet hour waits for an instance to start.')
param alwaysReadyStudies int = 0

@minValue(0)
@maxValue(20)
@description('Instances kept ready for slices of replays, backfills, comparisons and exports; 0: such a walk waits for an instance to start.')
param alwaysReadySlices int = 0

@minValue(1)
@maxValue(1000)
@description('Studies that one function instance projects to FHIR concurrently.')
param fhirConcurrency int = 16

@description('Whether to create an Event Grid topic for result events (study.synced …).')
param resultEvents bool = true

@description('Further settings of docs/settings.md, such as { DICOM_SYNC_TIMEZONE: \'Europe/Berlin\' }.')
param settings Settings = {}

// --- Alerts, logs and budget ---------------------------------------------------------------------------------------

@description('E-mail addresses that receive alerts; empty: alerts are raised and shown, but no mail is sent.')
param alertEmails string[] = []

@description('Resource id of the action group that receives alerts; empty: a group is created.')
param actionGroupId string = ''

@description('Thresholds of alerts that differ from those of docs/settings.md, such as { lag_seconds: 600 }.')
param alertThresholds Thresholds = {}

@description('Time of this deployment. For an hour after it, alerts do not report the app as missing.')
param deployedAt string = utcNow('yyyy-MM-ddTHH:mm:ssZ')

@description('Whether incidents of Azure services in this subscription raise an alert.')
param serviceHealthAlert bool = true

@description('Resource id of the Log Analytics workspace for logs and metrics; empty: a workspace is created.')
param logAnalyticsId string = ''

@minValue(30)
@maxValue(730)
@description('Days to keep logs and metrics.')
param logRetention int = 30

@minValue(-1)
@description('Maximum GB per day that the workspace accepts; -1: no limit. Once it is reached, alerts cannot be evaluated until the next day.')
param dailyCap int = -1

@description('Whether audit logs of created storage accounts, FHIR and DICOM services are kept. They hold names of blobs and identifiers of patients.')
param auditLogs bool = false

@description('Resource id of the Log Analytics workspace for audit logs; empty: a separate workspace is created.')
param auditWorkspaceId string = ''

@minValue(30)
@maxValue(730)
@description('Days to keep audit logs.')
param auditRetention int = 365

@minValue(0)
@description('Monthly cost of the resource group above which a mail is sent, in the currency of the subscription; 0: no budget.')
param monthlyBudget int = 0

@description('First day of the month in which the budget begins, such as 2026-12-01. It cannot be changed later.')
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

@description('Every role that the sync needs: for the administrator who assigns them if assignRoles is false, and for scripts/leftovers.')
output NEEDED_ROLES Role[] = sync.outputs.neededRoles

@description('Resources of this deployment, for scripts/leftovers: all others were left by an earlier deployment.')
output DEPLOYED Deployed = sync.outputs.deployed
