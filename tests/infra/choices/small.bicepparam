using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'public'
param maximumInstances = 4
param alwaysReadyObjects = 2
param alwaysReadyStudies = 1
param alwaysReadySlices = 1
param fhirConcurrency = 4
param instanceMemory = 512
param dailyCap = 1
param logRetention = 90
