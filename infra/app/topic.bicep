// A system topic with an identity of its own. A source can have one only: one that exists already, in the group of its
// source, is used as it is, and must have a system-assigned identity.
param name string
param existingName string
param sourceId string
param topicType string

@description('Region of the source: a system topic must be there too.')
param location string

param tags object

resource made 'Microsoft.EventGrid/systemTopics@2022-06-15' = if (empty(existingName)) {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: sourceId
    topicType: topicType
  }
}

resource found 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = if (!empty(existingName)) {
  name: empty(existingName) ? name : existingName
}

output id string = empty(existingName) ? made.id : found.id
output name string = empty(existingName) ? made.name : found.name
output principalId string = empty(existingName) ? made!.identity.principalId : found!.identity.principalId
