// Private DNS zones that resolve the private endpoints, linked to the network. Not deployed where a landing zone has its
// own: its policies forbid a second set, and add the records themselves.
import { Tags } from '../types.bicep'

param networkId string
param tags Tags

@description('Names of the zones.')
param names string[]

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for name in names: {
    name: name
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (name, index) in names: {
    parent: zone[index]
    name: 'to-${last(split(networkId, '/'))}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: networkId }
    }
  }
]
