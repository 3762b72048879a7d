using '../../../infra/main.bicep'

param environmentName = 'imaging'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
param network = 'public'
param fhirKind = 'other'
param fhirUrl = 'https://fhir.hospital.example/r4'
param settings = {
  DICOM_SYNC_DICOM_URL: 'https://pacs.hospital.example'
  DICOM_SYNC_ORTHANC_URL: 'https://orthanc.hospital.example'
}
