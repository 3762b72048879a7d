using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'public'
param assignRoles = false
param dicomServiceName = 'dicom'
param operatorPrincipalId = '44444444-4444-4444-4444-444444444444'
