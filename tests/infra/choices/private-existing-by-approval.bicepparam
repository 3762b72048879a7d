using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'private'
param stateAccess = 'trustedServices'
param dicomStorageAccountId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/imaging/providers/Microsoft.Storage/storageAccounts/images'
param fhirKind = 'existing'
param healthWorkspaceId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/imaging/providers/Microsoft.HealthcareApis/workspaces/health'
param endpointsByApproval = true
