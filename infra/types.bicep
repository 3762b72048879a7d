// Types that templates share, so that a wrong name or kind in a parameter is an error of the compiler.

@export()
@description('Tags: names and texts.')
type Tags = { *: string }

@export()
@description('Application settings of the sync: names of docs/settings.md and texts.')
type Settings = { *: string }

@export()
@description('Names to use instead of those by convention.')
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
@description('Resource ids of private DNS zones, by what they resolve.')
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
@description('One endpoint: the part of a resource that it leads to, and the zones that resolve it.')
@sealed()
type Endpoint = {
  @description('Group id of the resource, such as blob.')
  part: string

  @description('Ids of private DNS zones; empty: none, or a policy adds them.')
  zones: string[]
}

@export()
@description('One role that an identity needs, for those who assign roles themselves.')
type Role = {
  role: string
  id: string
  scope: string
  principal: string
}

@export()
@description('A key of customers: its URL without version, and the identity that may use it.')
@sealed()
type CustomerKey = {
  @description('Base URL of the key vault, such as https://vault.vault.azure.net.')
  vault: string

  key: string

  @description('Resource id of a user-assigned identity with the role Key Vault Crypto Service Encryption User on the key.')
  identityId: string
}

@export()
@description('What a deployment has made, for those who look for what an earlier one has left.')
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

  @description('Ids of the Log Analytics workspaces that take logs.')
  logs: string[]

  @description('Ids of the FHIR and DICOM services in the workspace.')
  services: string[]

  @description('Ids of the private DNS zones that were made.')
  zones: string[]
}

@export()
@description('What every part of a deployment is told: names, place, tags.')
@sealed()
type Environment = {
  name: string

  @description('What makes names unique: the same for each deployment of an environment to a subscription and region.')
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
@description('Where the DICOM files are.')
@sealed()
type SourceChoices = {
  @description('Id of an existing account; empty: a new one is made.')
  accountId: string

  containers: string[]
  suffix: string
  topicName: string
  changeFeedDays: int
}

@export()
@description('Where FHIR is, and the DICOM service if there is one.')
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
@description('Who reaches what is deployed.')
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
@description('How data is kept.')
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
@description('Instances that are kept ready, by what they do.')
@sealed()
type AlwaysReady = {
  objects: int
  studies: int
  slices: int
}

@export()
@description('How the function app runs.')
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
@description('Who watches, what is logged, and what it may cost.')
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
@description('A resource that is made here, or belongs to others.')
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
