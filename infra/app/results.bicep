// The project's own topic: what was synced, removed, refused, and which alerts were raised. Subscribers attach to it.
import { Role, Tags } from '../types.bicep'

param name string
param location string
param tags Tags
param principalId string
param assignRoles bool
param isPrivate bool
param logsId string

var roles = loadJsonContent('../roles.json')

resource topic 'Microsoft.EventGrid/topics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' } // subscriptions may deliver with it, instead of a secret
  properties: {
    inputSchema: 'CloudEventSchemaV1_0'
    disableLocalAuth: true
    minimumTlsVersionAllowed: '1.2'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource sender 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (assignRoles) {
  scope: topic
  name: guid(topic.id, principalId, roles.eventGridDataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventGridDataSender)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource metrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: topic
  name: 'to-log-analytics'
  properties: {
    workspaceId: logsId
    logs: [{ category: 'PublishFailures', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output endpoint string = topic.properties.endpoint
output needed Role[] = [
  { role: 'EventGrid Data Sender', id: roles.eventGridDataSender, scope: topic.id, principal: 'function app' }
]
