// The function app, Flex Consumption. It signs in with its user-assigned identity everywhere.
param token string
param location string
param tags object
param identityId string
param clientId string
param stateAccountName string
param insightsConnection string
param instanceMemory int
param maximumInstances int

@description('Subnet to join; empty: none.')
param subnetId string

@description('Whether App Service authentication is set up beside this module.')
param signsIn bool

@description('Application settings of the sync, by name.')
param settings object

var deploymentContainer = 'deployment'

// App Service reads this one: its authentication proves itself to Entra ID with the identity, instead of a secret.
var signInSettings = signsIn ? { OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: clientId } : {}

resource state 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: stateAccountName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-dicom-fhir-sync-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'sync' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${state.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
      }
    }
  }
}

// Who publishes signs in at Entra ID: passwords of the site are for older tools.
resource passwords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = [
  for door in ['scm', 'ftp']: {
    parent: app
    name: door
    properties: { allow: false }
  }
]

resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    {
      AzureWebJobsStorage__accountName: stateAccountName
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: clientId
      AZURE_CLIENT_ID: clientId
      APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
      // The sync exports by itself; the worker would instrument the libraries, and their URLs hold names of blobs.
      PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'false'
      PYTHON_ENABLE_OPENTELEMETRY: 'false'
    },
    signInSettings,
    settings
  )
  dependsOn: [passwords] // two changes of a site at once may be refused
}

output name string = app.name
output apiUrl string = 'https://${app.properties.defaultHostName}/api'
output signInRedirect string = 'https://${app.properties.defaultHostName}/.auth/login/aad/callback'
