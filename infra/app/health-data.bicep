// A new Health Data Services workspace with a FHIR R4 service, and a DICOM service if one is named.
import { CustomerKey, Tags } from '../types.bicep'

param workspaceName string
param fhirServiceName string
param dicomServiceName string
param location string
param tags Tags

@description('Suffix of the services\' addresses in this cloud.')
param serviceRoot string

@description('Sign-in address of this cloud, with a slash at the end.')
param loginEndpoint string

param isPrivate bool
param customerKey CustomerKey?
param lock bool
param logsId string

@description('Workspace of audit logs; empty: no audit logs are kept.')
param auditId string

var encryption = customerKey == null
  ? null
  : { customerManagedKeyEncryption: { keyEncryptionKeyUrl: '${customerKey!.vault}/keys/${customerKey!.key}' } }
var identity = customerKey == null ? null : { type: 'UserAssigned', userAssignedIdentities: { '${customerKey!.identityId}': {} } }

resource workspace 'Microsoft.HealthcareApis/workspaces@2024-03-31' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource fhir 'Microsoft.HealthcareApis/workspaces/fhirservices@2024-03-31' = {
  parent: workspace
  name: fhirServiceName
  location: location
  tags: tags
  kind: 'fhir-R4'
  identity: identity
  properties: {
    authenticationConfiguration: {
      authority: '${loginEndpoint}${tenant().tenantId}'
      audience: 'https://${workspaceName}-${fhirServiceName}.fhir.${serviceRoot}'
      smartProxyEnabled: false
    }
    encryption: encryption
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource dicom 'Microsoft.HealthcareApis/workspaces/dicomservices@2024-03-31' = if (!empty(dicomServiceName)) {
  parent: workspace
  name: empty(dicomServiceName) ? 'none' : dicomServiceName
  location: location
  tags: tags
  identity: identity
  properties: {
    encryption: encryption
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

// Metrics only: audit logs of the FHIR service hold query strings, and those hold patients' identifiers.
resource fhirMetrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: fhir
  name: 'to-log-analytics'
  properties: {
    workspaceId: logsId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource fhirAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(auditId)) {
  scope: fhir
  name: 'to-audit'
  properties: {
    workspaceId: auditId
    logs: [{ category: 'AuditLogs', enabled: true }]
  }
}

resource dicomAudit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(auditId) && !empty(dicomServiceName)) {
  scope: dicom
  name: 'to-audit'
  properties: {
    workspaceId: auditId
    logs: [{ category: 'AuditLogs', enabled: true }]
  }
}

resource keep 'Microsoft.Authorization/locks@2020-05-01' = if (lock) {
  scope: workspace
  name: 'dicom-fhir-sync-keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'FHIR and DICOM data: remove this lock by hand before the workspace is deleted.'
  }
}
