using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'private'
param stateAccess = 'trustedServices'
param customerKey = {
  vault: 'https://keys.vault.azure.net'
  key: 'imaging'
  identityId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/imaging/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-keys'
}
param dicomServiceName = 'dicom'
