// The state account: what the sync knows (tables), what it still has to do (queues), what could not be delivered
// (container). Names as in sync/adapters/azure/names.py; a test compares them.
import { CustomerKey, Role, Tags } from '../types.bicep'

param name string
param location string
param tags Tags
param redundancy string
param isPrivate bool

@description('Whether the public endpoint is off; otherwise it accepts trusted services and the ranges below.')
param closed bool

param allowedIpRanges string[]
param infrastructureEncryption bool

@description('Whether queues and tables are encrypted with a key of the account. Applies only when the account is created.')
param accountScopedKeys bool

param customerKey CustomerKey?

@description('Days for which deleted blobs and containers can be restored.')
param deletedDays int

@description('Principal id of the function app\'s identity.')
param principalId string

@description('Whether this module assigns roles.')
param assignRoles bool

param lock bool
param logsId string

@description('Workspace of audit logs; empty: no audit logs are kept.')
param auditId string

var roles = loadJsonContent('../roles.json')

var tables = [
  'locators'
  'ledger'
  'dirty'
  'projections'
  'patients'
  'deadletters'
  'cursors'
  'drifts'
  'metrics'
  'audit'
  'history'
  'outbox'
]
var queues = ['objects', 'studies', 'objects-poison', 'studies-poison', 'slices']
var deploymentContainer = 'deployment'
var deadLetterContainer = 'event-dead-letters'
var keyType = accountScopedKeys ? 'Account' : 'Service'

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  identity: customerKey == null ? null : { type: 'UserAssigned', userAssignedIdentities: { '${customerKey!.identityId}': {} } }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    encryption: {
      requireInfrastructureEncryption: infrastructureEncryption
      keySource: customerKey == null ? 'Microsoft.Storage' : 'Microsoft.Keyvault'
      keyvaultproperties: customerKey == null ? null : { keyvaulturi: customerKey!.vault, keyname: customerKey!.key }
      identity: customerKey == null ? null : { userAssignedIdentity: customerKey!.identityId }
      services: {
        blob: { enabled: true, keyType: 'Account' }
        file: { enabled: true, keyType: 'Account' }
        queue: { enabled: true, keyType: keyType }
        table: { enabled: true, keyType: keyType }
      }
    }
    // Event Grid delivers from outside any network, as a trusted service: documented where the endpoint is restricted to
    // selected networks, unproved where it is off. Without a private network nothing is said, so that no deployment opens
    // what an administrator has closed.
    publicNetworkAccess: isPrivate ? (closed ? 'Disabled' : 'Enabled') : null
    networkAcls: isPrivate
      ? {
          defaultAction: 'Deny'
          bypass: 'AzureServices'
          ipRules: map(closed ? [] : allowedIpRanges, range => { value: range, action: 'Allow' })
        }
      : null
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: deletedDays }
    containerDeleteRetentionPolicy: { enabled: true, days: deletedDays }
  }
}

resource deployment 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: deploymentContainer
}

resource undelivered 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: deadLetterContainer
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-08-01' = {
  parent: account
  name: 'default'
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-08-01' = [
  for each in queues: {
    parent: queueService
    name: each
  }
]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-08-01' = {
  parent: account
  name: 'default'
}

resource table 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-08-01' = [
  for each in tables: {
    parent: tableService
    name: each
  }
]

// The host keeps its leases, timers and keys in blobs; the deployment package is one too.
var functionRoles = {
  'Storage Blob Data Owner': roles.storageBlobDataOwner
  'Storage Queue Data Contributor': roles.storageQueueDataContributor
  'Storage Table Data Contributor': roles.storageTableDataContributor
}

resource functionRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in items(functionRoles): if (assignRoles) {
    scope: account
    name: guid(account.id, principalId, role.value)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.value)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource queueLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: queueService
  name: 'to-log-analytics'
  properties: {
    workspaceId: logsId
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource tableLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: tableService
  name: 'to-log-analytics'
  properties: {
    workspaceId: logsId
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource queueAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(auditId)) {
  scope: queueService
  name: 'to-audit'
  properties: {
    workspaceId: auditId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

resource tableAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(auditId)) {
  scope: tableService
  name: 'to-audit'
  properties: {
    workspaceId: auditId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

resource keep 'Microsoft.Authorization/locks@2020-05-01' = if (lock) {
  scope: account
  name: 'dicom-fhir-sync-keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'State of DICOM-FHIR Sync: remove this lock by hand before the account is deleted.'
  }
}

output needed Role[] = map(items(functionRoles), role => {
  role: role.key
  id: role.value
  scope: account.id
  principal: 'function app'
})
