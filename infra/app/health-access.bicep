// The function app writes FHIR and reads the DICOM service.
param workspaceName string
param fhirServiceName string
param dicomServiceName string
param principalId string

var roles = loadJsonContent('../roles.json')

resource workspace 'Microsoft.HealthcareApis/workspaces@2024-03-31' existing = {
  name: workspaceName
}

resource fhir 'Microsoft.HealthcareApis/workspaces/fhirservices@2024-03-31' existing = {
  parent: workspace
  name: fhirServiceName
}

resource dicom 'Microsoft.HealthcareApis/workspaces/dicomservices@2024-03-31' existing = if (!empty(dicomServiceName)) {
  parent: workspace
  name: empty(dicomServiceName) ? 'none' : dicomServiceName
}

// Contributor, because the last instance of a study takes its ImagingStudy along: that the lesser role of a writer may
// delete is documented nowhere.
resource fhirRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: fhir
  name: guid(fhir.id, principalId, roles.fhirDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.fhirDataContributor)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource dicomRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(dicomServiceName)) {
  scope: dicom
  name: guid(workspace.id, dicomServiceName, principalId, roles.dicomDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.dicomDataReader)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output workspaceId string = workspace.id
output location string = workspace.location
