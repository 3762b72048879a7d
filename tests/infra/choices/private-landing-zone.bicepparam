using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'private'
param closedState = true
param functionSubnetId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/imaging/providers/Microsoft.Network/virtualNetworks/spoke/subnets/functions'
param endpointSubnetId = '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/imaging/providers/Microsoft.Network/virtualNetworks/spoke/subnets/endpoints'
param privateDns = 'policy'
