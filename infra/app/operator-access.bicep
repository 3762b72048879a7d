// For `python -m sync` from an operator's own machine: the state, and nothing else. Reading the DICOM files and writing
// FHIR need roles there, which the owners of those grant.
param accountName string
param principalId string
param principalType string

var roles = loadJsonContent('../roles.json')
var operatorRoles = [roles.storageBlobDataReader, roles.storageQueueDataContributor, roles.storageTableDataContributor]

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: accountName
}

resource operatorRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in operatorRoles: {
    scope: account
    name: guid(account.id, principalId, role)
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
      principalId: principalId
      principalType: principalType
    }
  }
]
