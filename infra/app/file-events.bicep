// Events of DICOM files -> queue "objects". Messages never expire there, and what Event Grid cannot deliver is kept.
param topicName string
param stateAccountId string
param containers string[]

@description('Suffix of the blob names that raise events; empty: all names.')
param suffix string

var objectsQueue = 'objects'
var deadLetterContainer = 'event-dead-letters'

// A blob that was archived can be read once its tier has changed.
var fileTypes = ['Microsoft.Storage.BlobCreated', 'Microsoft.Storage.BlobDeleted', 'Microsoft.Storage.BlobTierChanged']

// Accounts with a hierarchical namespace (lakes) raise these. A directory's name has no suffix, and a file may have it
// only before it is renamed, so none of them is limited to names that end in a certain way.
var lakeTypes = [
  'Microsoft.Storage.BlobRenamed'
  'Microsoft.Storage.DirectoryRenamed'
  'Microsoft.Storage.DirectoryDeleted'
]

// Unique among those of other environments that read the same account; names of containers are longer than Azure takes.
var subscriptions = flatten(map(containers, container => [
  {
    name: '${take('dicom-fhir-sync-${replace(container, '$', '')}', 50)}-${uniqueString(stateAccountId, container)}'
    container: container
    types: empty(suffix) ? concat(fileTypes, lakeTypes) : fileTypes
    suffix: suffix
    needed: true
  }
  {
    name: '${take('dicom-fhir-sync-lake-${replace(container, '$', '')}', 50)}-${uniqueString(stateAccountId, container)}'
    container: container
    types: lakeTypes
    suffix: ''
    needed: !empty(suffix)
  }
]))
var neededSubscriptions = filter(subscriptions, each => each.needed)

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [
  for each in neededSubscriptions: {
    parent: topic
    name: each.name
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
        includedEventTypes: each.types
        subjectBeginsWith: '/blobServices/default/containers/${each.container}/'
        subjectEndsWith: each.suffix
        isSubjectCaseSensitive: false
      }
      retryPolicy: {
        maxDeliveryAttempts: 30
        eventTimeToLiveInMinutes: 1440
      }
    }
  }
]

output names string[] = map(neededSubscriptions, each => each.name)
