// A new account for the DICOM files: flat namespace, because only there is a change feed to replay.
import { CustomerKey, Tags } from '../types.bicep'

param name string
param location string
param tags Tags
param redundancy string
param containers string[]

@description('Days to keep the change feed; 0: no change feed.')
param changeFeedDays int

@description('Days for which deleted blobs and containers can be restored.')
param deletedDays int

param isPrivate bool
param allowedIpRanges string[]
param infrastructureEncryption bool
param customerKey CustomerKey?
param lock bool
param logsId string

@description('Workspace of audit logs; empty: no audit logs are kept.')
param auditId string

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
      services: { blob: { enabled: true, keyType: 'Account' }, file: { enabled: true, keyType: 'Account' } }
    }
    // Without a private network nothing is said, so that no deployment opens what an administrator has closed.
    publicNetworkAccess: isPrivate ? (empty(allowedIpRanges) ? 'Disabled' : 'Enabled') : null
    networkAcls: isPrivate
      ? {
          defaultAction: 'Deny'
          bypass: 'AzureServices'
          ipRules: map(allowedIpRanges, range => { value: range, action: 'Allow' })
        }
      : null
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    changeFeed: changeFeedDays > 0 ? { enabled: true, retentionInDays: changeFeedDays } : { enabled: false }
    deleteRetentionPolicy: { enabled: true, days: deletedDays }
    containerDeleteRetentionPolicy: { enabled: true, days: deletedDays }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = [
  for each in containers: {
    parent: blobs
    name: each
  }
]

// Metrics only: request logs of this account hold blob names, and those may hold patients' names.
resource blobMetrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'to-log-analytics'
  properties: {
    workspaceId: logsId
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

// The request logs go into a workspace of their own, which few may read.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(auditId)) {
  scope: blobs
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
    notes: 'DICOM files: remove this lock by hand before the account is deleted.'
  }
}
