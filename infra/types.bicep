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
}
