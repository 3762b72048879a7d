// The private network: subnets, zones, and an endpoint at each resource that the app reaches. Nothing with a public network.
import { zonesOf } from 'places.bicep'
import { Cloud, Environment, FhirChoices, ReachChoices, RunningChoices } from 'types.bicep'

param environment Environment
param fhir FhirChoices
param reach ReachChoices
param running RunningChoices
param cloud Cloud

@description('Suffix of Health Data Services addresses in this cloud.')
param serviceRoot string

param stateId string
param accountId string

@description('Whether the account of the DICOM files is created by this deployment.')
param newAccount bool

param workspaceId string
param resultsId string

var suffix = environment.suffix
var location = environment.location
var tags = environment.tags
var here = subscription().subscriptionId
var groupName = resourceGroup().name
var makesNetwork = reach.isPrivate && (empty(reach.functionSubnetId) || empty(reach.endpointSubnetId))
var networkName = environment.names.?network ?? 'vnet-dicom-fhir-sync-${suffix}'
var networkId = makesNetwork
  ? resourceId(here, groupName, 'Microsoft.Network/virtualNetworks', networkName)
  : (empty(reach.endpointSubnetId) ? '' : split(reach.endpointSubnetId, '/subnets/')[0])
var endpointSubnetId = makesNetwork ? vnet!.outputs.endpointSubnetId : reach.endpointSubnetId

var wanted = zonesOf(fhir, reach, running)
var zoneNames = {
  blob: 'privatelink.blob.${cloud.storage}'
  queue: 'privatelink.queue.${cloud.storage}'
  table: 'privatelink.table.${cloud.storage}'
  topic: 'privatelink.${cloud.eventGrid}'
  sites: 'privatelink.${cloud.sites}'
  healthWorkspace: 'privatelink.workspace.${serviceRoot}'
  fhir: 'privatelink.fhir.${serviceRoot}'
  dicom: 'privatelink.dicom.${serviceRoot}'
}
var zoneIds = toObject(
  wanted,
  each => each,
  each =>
    reach.privateDns == 'policy'
      ? []
      : [
          reach.privateDns == 'new'
            ? resourceId(here, groupName, 'Microsoft.Network/privateDnsZones', zoneNames[each])
            : (reach.zoneIds[?each] ?? '')
        ]
)

module vnet 'app/network.bicep' = if (makesNetwork) {
  name: 'network-${suffix}'
  params: {
    name: networkName
    location: location
    tags: tags
    addresses: reach.addresses
  }
}

module zones 'app/zones.bicep' = if (reach.isPrivate && reach.privateDns == 'new') {
  name: 'zones-${suffix}'
  params: {
    networkId: networkId
    tags: tags
    names: map(wanted, each => zoneNames[each])
  }
  dependsOn: [vnet]
}

module stateEndpoints 'app/private-endpoints.bicep' = if (reach.isPrivate) {
  name: 'state-endpoints-${suffix}'
  params: {
    resourceId: stateId
    endpoints: map(['blob', 'queue', 'table'], each => { part: each, zones: zoneIds[each] })
    subnetId: endpointSubnetId
    location: location
    tags: tags
    byApproval: false
  }
  dependsOn: [zones]
}

// Of an existing account too: the zones hide from the network every endpoint that it has elsewhere.
module sourceEndpoints 'app/private-endpoints.bicep' = if (reach.isPrivate) {
  name: 'source-endpoints-${suffix}'
  params: {
    resourceId: accountId
    endpoints: [{ part: 'blob', zones: zoneIds.blob }]
    subnetId: endpointSubnetId
    location: location
    tags: tags
    byApproval: reach.byApproval && !newAccount
  }
  dependsOn: [zones]
}

module healthEndpoints 'app/private-endpoints.bicep' = if (reach.isPrivate && fhir.kind != 'other' && !reach.publicHealth) {
  name: 'health-endpoints-${suffix}'
  params: {
    resourceId: workspaceId
    endpoints: [
      {
        part: 'healthcareworkspace'
        zones: concat(zoneIds.healthWorkspace, zoneIds.fhir, empty(fhir.dicomService) ? [] : zoneIds.dicom)
      }
    ]
    subnetId: endpointSubnetId
    location: location
    tags: tags
    byApproval: reach.byApproval && fhir.kind != 'new'
  }
  dependsOn: [zones]
}

module resultsEndpoints 'app/private-endpoints.bicep' = if (reach.isPrivate && running.resultEvents) {
  name: 'results-endpoints-${suffix}'
  params: {
    resourceId: resultsId
    endpoints: [{ part: 'topic', zones: zoneIds.topic }]
    subnetId: endpointSubnetId
    location: location
    tags: tags
    byApproval: false
  }
  dependsOn: [zones]
}

output networkId string = networkId
output functionSubnetId string = reach.isPrivate ? (makesNetwork ? vnet!.outputs.functionSubnetId : reach.functionSubnetId) : ''
output endpointSubnetId string = reach.isPrivate ? endpointSubnetId : ''
output zoneIds { *: string[] } = reach.isPrivate ? zoneIds : {}
output zones string[] = reach.isPrivate && reach.privateDns == 'new' ? flatten(map(wanted, each => zoneIds[each])) : []
