// The function app reads, writes and deletes FHIR resources, and reads the DICOM service.
import { Role } from '../types.bicep'

param workspaceName string
param fhirServiceName string
param dicomServiceName string
param principalId string
param suffix string

@description('Whether this module assigns roles.')
param assignRoles bool

@description('Whether to define and assign the custom role without export, import and deletion of history, instead of FHIR Data Writer.')
param narrow bool

var roles = loadJsonContent('../roles.json')

// A tenant has one custom role of a name: after a move to a workspace in another group the former one is still there.
var syncRoleName = 'DICOM-FHIR Sync ${suffix}-${uniqueString(resourceGroup().id)}'
var actions = [
  'Microsoft.HealthcareApis/workspaces/fhirservices/resources/read'
  'Microsoft.HealthcareApis/workspaces/fhirservices/resources/write'
  'Microsoft.HealthcareApis/workspaces/fhirservices/resources/delete'
]

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

// The narrowest of the built-in roles that may write, FHIR Data Writer, may also export and import everything.
resource syncRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (assignRoles && narrow) {
  name: guid(resourceGroup().id, 'dicom-fhir-sync', suffix)
  properties: {
    roleName: syncRoleName
    description: 'Read, write and delete FHIR resources: no export, no import, no deletion of history.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [{ actions: [], notActions: [], dataActions: actions, notDataActions: [] }]
  }
}

var fhirRoleId = narrow ? syncRole.id : subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.fhirDataWriter)

resource fhirRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (assignRoles) {
  scope: fhir
  name: guid(fhir.id, principalId, narrow ? 'dicom-fhir-sync' : roles.fhirDataWriter)
  properties: {
    roleDefinitionId: fhirRoleId
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource dicomRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (assignRoles && !empty(dicomServiceName)) {
  scope: dicom
  name: guid(workspace.id, dicomServiceName, principalId, roles.dicomDataReader)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.dicomDataReader)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output location string = workspace.location
output needed Role[] = concat(
  [
    {
      role: narrow ? syncRoleName : 'FHIR Data Writer'
      id: narrow ? join(actions, ' ') : roles.fhirDataWriter
      scope: fhir.id
      principal: 'function app'
    }
  ],
  empty(dicomServiceName)
    ? []
    : [
        {
          role: 'DICOM Data Reader'
          id: roles.dicomDataReader
          scope: '${workspace.id}/dicomservices/${dicomServiceName}'
          principal: 'function app'
        }
      ]
)
