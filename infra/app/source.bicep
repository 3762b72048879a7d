// A new account for the DICOM files: flat namespace, for only there is a change feed to replay.
param name string
param location string
param tags object
param redundancy string
param containers array

@description('Days; 0: no change feed.')
param changeFeedDays int

param isPrivate bool
param logsId string

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: redundancy }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    changeFeed: changeFeedDays > 0 ? { enabled: true, retentionInDays: changeFeedDays } : { enabled: false }
    deleteRetentionPolicy: { enabled: true, days: 7 }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [
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

output accountId string = account.id
