// The function app may read the listed containers and the account's change feed, and nothing else in the account.
import { Role } from '../types.bicep'

param accountName string
param containers string[]
param principalId string

@description('Whether this module assigns roles.')
param assignRoles bool

@description('Whether the function app connects from outside any virtual network, so that a firewall would block it.')
param fromOutside bool

var roles = loadJsonContent('../roles.json')

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: accountName

  resource blobs 'blobServices' existing = {
    name: 'default'
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' existing = [
  for each in containers: {
    parent: account::blobs
    name: each
  }
]

resource reader 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (each, index) in containers: if (assignRoles) {
    scope: container[index]
    name: guid(container[index].id, principalId, roles.storageBlobDataReader)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

var shut = account.properties.?publicNetworkAccess == 'Disabled' || account.properties.?networkAcls.?defaultAction == 'Deny'

output location string = fromOutside && shut
  ? fail('The account ${accountName} has a firewall, and with network public the function app comes from addresses that change: choose network private.')
  : account.location
output needed Role[] = [
  for each in containers: {
    role: 'Storage Blob Data Reader'
    id: roles.storageBlobDataReader
    scope: '${account::blobs.id}/containers/${each}'
    principal: 'function app'
  }
]
