// What Event Grid needs to deliver with a topic's identity: put messages into the queue of objects, and what it gives up
// into the container of undelivered events. Nothing else in the account.
param accountName string
param principalId string

var roles = loadJsonContent('../roles.json')
var objectsQueue = 'objects'
var deadLetterContainer = 'event-dead-letters'

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: accountName

  resource queues 'queueServices' existing = {
    name: 'default'

    resource objects 'queues' existing = {
      name: objectsQueue
    }
  }

  resource blobs 'blobServices' existing = {
    name: 'default'

    resource undelivered 'containers' existing = {
      name: deadLetterContainer
    }
  }
}

resource sender 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account::queues::objects
  name: guid(account::queues::objects.id, principalId, roles.storageQueueDataMessageSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataMessageSender)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource writer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account::blobs::undelivered
  name: guid(account::blobs::undelivered.id, principalId, roles.storageBlobDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
