// A network of our own: one subnet for the function app, one for private endpoints, each with a security group. Not
// deployed where subnets are given.
import { Tags } from '../types.bicep'

param name string
param location string
param tags Tags

@description('Address range of the network, /22 or larger.')
param addresses string

resource appRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-${name}-functions'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'DenyAllInbound'
        properties: {
          description: 'Nothing calls into this subnet: the function app only calls out of it.'
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'AllowHttpsFromNetwork'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRange: '443'
        }
      }
      {
        name: 'DenyAllInbound'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// Without its subnets, so that a deployment leaves those that others have added to it: they would be deleted if some were
// named here. Azure, "Azure Virtual Network now supports updates without subnet property".
resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addresses] }
  }
}

resource functions 'Microsoft.Network/virtualNetworks/subnets@2025-05-01' = {
  parent: network
  name: 'functions'
  properties: {
    addressPrefix: cidrSubnet(addresses, 24, 0)
    networkSecurityGroup: { id: appRules.id }
    // The function app reaches Entra ID, Azure Monitor and services with public addresses through it.
    defaultOutboundAccess: true
    delegations: [
      {
        name: 'flex'
        properties: { serviceName: 'Microsoft.App/environments' }
      }
    ]
  }
}

resource endpoints 'Microsoft.Network/virtualNetworks/subnets@2025-05-01' = {
  parent: network
  name: 'endpoints'
  properties: {
    addressPrefix: cidrSubnet(addresses, 24, 1)
    networkSecurityGroup: { id: endpointRules.id }
    privateEndpointNetworkPolicies: 'Enabled' // the rules above hold for the endpoints too
    defaultOutboundAccess: false
  }
  dependsOn: [functions] // Azure refuses two changes of a network at once
}

output functionSubnetId string = functions.id
output endpointSubnetId string = endpoints.id
