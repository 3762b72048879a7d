using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'private'
param stateAccess = 'trustedServices'
param allowedIpRanges = ['203.0.113.0/24', '198.51.100.7']
param publicApi = true
param apiIpRanges = ['203.0.113.0/24']
