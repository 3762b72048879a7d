// A new Health Data Services workspace with a FHIR R4 service, and a DICOM service if one is named.
param workspaceName string
param fhirServiceName string
param dicomServiceName string
param location string
param tags object
param logsId string

resource workspace 'Microsoft.HealthcareApis/workspaces@2024-03-31' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    publicNetworkAccess: 'Enabled'
  }
}

resource fhir 'Microsoft.HealthcareApis/workspaces/fhirservices@2024-03-31' = {
  parent: workspace
  name: fhirServiceName
  location: location
  tags: tags
  kind: 'fhir-R4'
  properties: {
    authenticationConfiguration: {
      authority: '${environment().authentication.loginEndpoint}${tenant().tenantId}'
      audience: 'https://${workspaceName}-${fhirServiceName}.fhir.azurehealthcareapis.com'
      smartProxyEnabled: false
    }
  }
}

resource dicom 'Microsoft.HealthcareApis/workspaces/dicomservices@2024-03-31' = if (!empty(dicomServiceName)) {
  parent: workspace
  name: empty(dicomServiceName) ? 'none' : dicomServiceName
  location: location
  tags: tags
  properties: {}
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
