using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'public'
param names = {
  stateAccount: 'sthospitalsync'
  sourceAccount: 'sthospitaldicom'
  healthWorkspace: 'hospitalhealth'
  functionApp: 'func-hospital-sync'
  storageTopic: 'egst-hospital-dicom'
}
