// Types that templates share, so that a wrong name or kind in a parameter is an error of the compiler.

@export()
@description('Tags: names and texts.')
type Tags = { *: string }

@export()
@description('Application settings of the sync: names of docs/settings.md and texts.')
type Settings = { *: string }

@export()
@description('Names to use instead of the conventional ones.')
@sealed()
type Names = {
  resourceGroup: string?
  identity: string?
  stateAccount: string?
  sourceAccount: string?
  healthWorkspace: string?
  storageTopic: string?
  workspaceTopic: string?
  resultsTopic: string?
  plan: string?
  functionApp: string?
  network: string?
  logAnalytics: string?
  auditWorkspace: string?
  insights: string?
  actionGroup: string?
}

@export()
@description('Resource ids of private DNS zones, by the service whose names they resolve.')
@sealed()
type ZoneIds = {
  blob: string?
  queue: string?
  table: string?
  topic: string?
  sites: string?
  healthWorkspace: string?
  fhir: string?
  dicom: string?
}

@export()
@description('One private endpoint: the part of the resource that it connects to, and the zones that resolve its name.')
@sealed()
type Endpoint = {
  @description('Group id of the resource, such as blob.')
  part: string

  @description('Ids of private DNS zones; empty: none, or a policy adds them.')
  zones: string[]
}

@export()
@description('One role that an identity needs, for an administrator who assigns roles by hand.')
type Role = {
  role: string
  id: string
  scope: string
  principal: string
}

@export()
@description('A customer-managed key: its URL without version, and the identity that may use it.')
@sealed()
type CustomerKey = {
  @description('Base URL of the key vault, such as https://vault.vault.azure.net.')
  vault: string

  key: string

  @description('Resource id of a user-assigned identity with the role Key Vault Crypto Service Encryption User on the key.')
  identityId: string
}

@export()
@description('Resources of a deployment, by which scripts/leftovers recognises those that an earlier deployment left.')
type Deployed = {
  suffix: string
  stateAccountId: string
  storageTopicId: string
  workspaceTopicId: string
  subscriptions: string[]
  workspaceId: string
  sourceId: string
  signsIn: bool
  network: string
  operator: string

  @description('Ids of the Log Analytics workspaces that receive logs.')
  logs: string[]

  @description('Ids of the FHIR and DICOM services in the workspace.')
  services: string[]

  @description('Ids of the private DNS zones that were created.')
  zones: string[]
}

@export()
@description('Parameters of every part of a deployment: names, region, tags.')
@sealed()
type Environment = {
  name: string

  @description('Token that makes names unique; equal for each deployment of an environment to a subscription and region.')
  suffix: string

  location: string
  cloud: string
  names: Names
  tags: Tags
  assignRoles: bool
  operatorId: string
  operatorType: string
}

@export()
@description('Location of the DICOM files.')
@sealed()
type SourceChoices = {
  @description('Id of an existing account; empty: an account is created.')
  accountId: string

  containers: string[]
  suffix: string
  topicName: string
  changeFeedDays: int
}

@export()
@description('The FHIR service, and the DICOM service if there is one.')
@sealed()
type FhirChoices = {
  kind: 'new' | 'existing' | 'other'
  workspaceId: string
  fhirService: string
  dicomService: string
  topicName: string
  url: string
  role: string
  domain: string
  location: string
}

@export()
@description('Network access to the deployed resources.')
@sealed()
type ReachChoices = {
  isPrivate: bool
  allowedIpRanges: string[]
  apiIpRanges: string[]
  publicApi: bool
  publicHealth: bool
  stateAccess: string
  functionSubnetId: string
  endpointSubnetId: string
  addresses: string
  privateDns: 'new' | 'existing' | 'policy'
  zoneIds: ZoneIds
  byApproval: bool
  entraClientId: string
}

@export()
@description('Storage of data: copies, encryption, retention.')
@sealed()
type KeepingChoices = {
  redundancy: string
  deletedDays: int
  infrastructureEncryption: bool
  accountScopedKeys: bool
  customerKey: CustomerKey
  locks: bool
}

@export()
@description('Instances kept ready, by the queue whose function they run.')
@sealed()
type AlwaysReady = {
  objects: int
  studies: int
  slices: int
}

@export()
@description('Size and scale of the function app.')
@sealed()
type RunningChoices = {
  zoneRedundant: bool
  instanceMemory: int
  maximumInstances: int
  alwaysReady: AlwaysReady
  fhirConcurrency: int
  resultEvents: bool
  settings: Settings
}

@export()
@description('Alerts, logs and budget.')
@sealed()
type WatchingChoices = {
  emails: string[]
  actionGroupId: string
  serviceHealth: bool
  logsId: string
  retention: int
  dailyCap: int
  auditLogs: bool
  auditWorkspaceId: string
  auditRetention: int
  budget: int
  budgetStart: string
}

@export()
@description('A resource that this deployment creates, or an existing one of another owner.')
@sealed()
type Place = {
  name: string
  subscription: string
  group: string
  id: string
}

@export()
@description('Domains of one cloud: a value of clouds.json.')
type Cloud = {
  name: string
  storage: string
  health: string
  eventGrid: string
  sites: string
  login: string
}
