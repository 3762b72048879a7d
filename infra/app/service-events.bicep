// Events of the DICOM service -> queue "objects": they only wake the reader of its change feed.
param topicName string
param stateAccountId string

var objectsQueue = 'objects'
var deadLetterContainer = 'event-dead-letters'

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'dicom-fhir-sync-service-${uniqueString(stateAccountId)}'
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
      includedEventTypes: [
        'Microsoft.HealthcareApis.DicomImageCreated'
        'Microsoft.HealthcareApis.DicomImageUpdated'
        'Microsoft.HealthcareApis.DicomImageDeleted'
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}

output names string[] = [subscription.name]
