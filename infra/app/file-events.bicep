// Blob created and deleted -> queue "objects". Messages never expire there, and what Event Grid cannot deliver is kept.
param topicName string
param stateAccountId string
param containers array
param suffix string

var objectsQueue = 'objects'
var deadLetterContainer = 'event-dead-letters'

resource topic 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = {
  name: topicName
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2022-06-15' = [
  for container in containers: {
    parent: topic
    // Unique among those of other environments that read the same account; names of containers are longer than Azure takes.
    name: '${take('dicom-fhir-sync-${replace(container, '$', '')}', 50)}-${uniqueString(stateAccountId, container)}'
    properties: {
      eventDeliverySchema: 'CloudEventSchemaV1_0'
      deliveryWithResourceIdentity: {
        identity: { type: 'SystemAssigned' }
        destination: {
          endpointType: 'StorageQueue'
          properties: {
            resourceId: stateAccountId
            queueName: objectsQueue
            queueMessageTimeToLiveInSeconds: -1
          }
        }
      }
      deadLetterWithResourceIdentity: {
        identity: { type: 'SystemAssigned' }
        deadLetterDestination: {
          endpointType: 'StorageBlob'
          properties: {
            resourceId: stateAccountId
            blobContainerName: deadLetterContainer
          }
        }
      }
      filter: {
        includedEventTypes: ['Microsoft.Storage.BlobCreated', 'Microsoft.Storage.BlobDeleted']
        subjectBeginsWith: '/blobServices/default/containers/${container}/'
        subjectEndsWith: suffix
        isSubjectCaseSensitive: false
      }
      retryPolicy: {
        maxDeliveryAttempts: 30
        eventTimeToLiveInMinutes: 1440
      }
    }
  }
]
