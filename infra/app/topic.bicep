// A system topic with an identity of its own. A source can have one only: one that exists already, in the group of its
// source, is used as it is, and must have a system-assigned identity.
import { Tags } from '../types.bicep'

param name string
param existingName string
param sourceId string
param topicType string

@description('Region of the source: a system topic must be there too.')
param location string

param tags Tags

var withoutIdentity = 'The system topic ${existingName} has no system-assigned identity, which delivery to the queue needs (Microsoft Defender for Storage makes such topics). Give it one: az eventgrid system-topic update --name ${existingName} --resource-group GROUP --identity systemassigned; then deploy again.'

resource made 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (empty(existingName)) {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: sourceId
    topicType: topicType
  }
}

resource found 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!empty(existingName)) {
  name: empty(existingName) ? name : existingName
}

var foundPrincipal = empty(existingName) ? '' : (found.?identity.?principalId ?? '')

output principalId string = empty(existingName)
  ? made!.identity.principalId
  : (empty(foundPrincipal) ? fail(withoutIdentity) : foundPrincipal)
