// Events of one source -> queue "objects": its system topic, the topic's roles at the state account, subscriptions, alerts.
import { Environment, Place, Role } from 'types.bicep'

param environment Environment

@description('storage: an account with DICOM files; workspace: a DICOM service.')
param kind 'storage' | 'workspace'

param source Place

@description('Region of the source.')
param location string

param topicName string
param existingName string
param stateName string
param containers string[]
param fileSuffix string
param actionGroupId string

var suffix = environment.suffix
var here = subscription().subscriptionId
var isStorage = kind == 'storage'
var stateId = resourceId(here, resourceGroup().name, 'Microsoft.Storage/storageAccounts', stateName)
var roles = loadJsonContent('roles.json')

module topic 'app/topic.bicep' = {
  name: '${kind}-topic-${suffix}'
  scope: resourceGroup(source.subscription, source.group)
  params: {
    name: topicName
    existingName: existingName
    sourceId: source.id
    topicType: isStorage ? 'Microsoft.Storage.StorageAccounts' : 'Microsoft.HealthcareApis.Workspaces'
    location: location
    tags: environment.tags
  }
}

module access 'app/delivery-access.bicep' = if (environment.assignRoles) {
  name: '${kind}-topic-access-${suffix}'
  params: {
    accountName: stateName
    principalId: topic.outputs.principalId
  }
}

module fileSubscriptions 'app/file-events.bicep' = if (isStorage) {
  name: 'file-events-${suffix}'
  scope: resourceGroup(source.subscription, source.group)
  params: {
    topicName: topicName
    stateAccountId: stateId
    containers: containers
    suffix: fileSuffix
  }
  dependsOn: [topic, access] // delivery fails until the topic's identity has its roles
}

module serviceSubscriptions 'app/service-events.bicep' = if (!isStorage) {
  name: 'service-events-${suffix}'
  scope: resourceGroup(source.subscription, source.group)
  params: {
    topicName: topicName
    stateAccountId: stateId
  }
  dependsOn: [topic, access]
}

module alerts 'app/topic-alerts.bicep' = {
  name: '${kind}-topic-alerts-${suffix}'
  scope: resourceGroup(source.subscription, source.subscription == here ? resourceGroup().name : source.group)
  params: {
    environmentName: environment.name
    suffix: suffix
    tags: environment.tags
    actionGroupId: actionGroupId
    topicId: resourceId(source.subscription, source.group, 'Microsoft.EventGrid/systemTopics', topicName)
    what: isStorage ? 'DICOM files' : 'the DICOM service'
  }
  dependsOn: [topic]
}

output names string[] = isStorage ? fileSubscriptions!.outputs.names : serviceSubscriptions!.outputs.names

output needed Role[] = [
  {
    role: 'Storage Queue Data Message Sender'
    id: roles.storageQueueDataMessageSender
    scope: '${stateId}/queueServices/default/queues/objects'
    principal: 'system topic ${topicName}'
  }
  {
    role: 'Storage Blob Data Contributor'
    id: roles.storageBlobDataContributor
    scope: '${stateId}/blobServices/default/containers/event-dead-letters'
    principal: 'system topic ${topicName}'
  }
]
