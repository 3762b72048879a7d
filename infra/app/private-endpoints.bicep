// Private endpoints of one resource, one for each part of it.
import { Endpoint, Tags } from '../types.bicep'

param resourceId string
param endpoints Endpoint[]
param subnetId string
param location string
param tags Tags

@description('Whether the owner of the resource has to approve the endpoint, because it is in a subscription where the deployment has no role.')
param byApproval bool

var name = last(split(resourceId, '/'))
var connections = map(endpoints, each => [
  {
    name: each.part
    properties: {
      privateLinkServiceId: resourceId
      groupIds: [each.part]
      requestMessage: byApproval ? 'DICOM-FHIR Sync reads DICOM files or writes FHIR through this endpoint.' : null
    }
  }
])

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = [
  for (each, index) in endpoints: {
    name: 'pep-${name}-${each.part}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      customNetworkInterfaceName: 'nic-pep-${name}-${each.part}'
      privateLinkServiceConnections: byApproval ? [] : connections[index]
      manualPrivateLinkServiceConnections: byApproval ? connections[index] : []
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = [
  for (each, index) in endpoints: if (!empty(each.zones)) {
    parent: endpoint[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        for zone in each.zones: {
          name: replace(last(split(zone, '/')), '.', '-')
          #disable-next-line use-resource-id-functions // an id that the parameters give
          properties: { privateDnsZoneId: zone }
        }
      ]
    }
  }
]
