// The function app, Flex Consumption. It signs in with its user-assigned identity everywhere.
import { AlwaysReady, Settings, Tags } from '../types.bicep'

param name string
param planName string
param location string
param tags Tags
param identityId string
param clientId string
param stateAccountName string

@description('Suffix of storage accounts in this cloud.')
param storageSuffix string

@description('Sign-in address of this cloud, with a slash at the end.')
param loginEndpoint string

param isPublicCloud bool
param insightsConnection string
param instanceMemory int
param maximumInstances int

@description('Instances kept ready for the functions of the queues.')
param alwaysReady AlwaysReady

param zoneRedundant bool

@description('Id of the subnet that the app joins; empty: none.')
param subnetId string

@description('Whether the app can be reached from the internet.')
param isPublic bool

@description('Address ranges that may reach a public address; empty: all.')
param allowedIpRanges string[]

@description('Whether App Service authentication is set up beside this module.')
param signsIn bool

@description('Application settings of the sync, by name.')
param settings Settings

var deploymentContainer = 'deployment'

// App Service reads this one: its authentication proves itself to Entra ID with the identity, instead of a secret.
var signInSettings = signsIn ? { OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: clientId } : {}

// Given a name alone, the host looks for the account in the public cloud.
var stateSettings = isPublicCloud
  ? { AzureWebJobsStorage__accountName: stateAccountName }
  : {
      AzureWebJobsStorage__blobServiceUri: 'https://${stateAccountName}.blob.${storageSuffix}'
      AzureWebJobsStorage__queueServiceUri: 'https://${stateAccountName}.queue.${storageSuffix}'
      AzureWebJobsStorage__tableServiceUri: 'https://${stateAccountName}.table.${storageSuffix}'
      DICOM_SYNC_STATE_ACCOUNT: stateAccountName
    }

resource state 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: stateAccountName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
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
    publicNetworkAccess: isPublic ? 'Enabled' : 'Disabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: isPublic && empty(allowedIpRanges) ? 'Allow' : 'Deny'
      scmIpSecurityRestrictionsUseMain: true
      ipSecurityRestrictions: map(allowedIpRanges, (range, index) => {
        name: 'range-${index}'
        priority: 100 + index
        action: 'Allow'
        ipAddress: contains(range, '/') ? range : '${range}/32'
      })
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
        alwaysReady: filter(
          [
            { name: 'function:ingest_object', instanceCount: alwaysReady.objects }
            { name: 'function:project_study', instanceCount: alwaysReady.studies }
            { name: 'function:walk_slices', instanceCount: alwaysReady.slices }
          ],
          each => each.instanceCount > 0
        )
      }
    }
  }
}

// Who publishes signs in at Entra ID: passwords of the site are for older tools. One after the other, as two changes of
// a site at once may be refused.
resource ftpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource scmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
  dependsOn: [ftpPasswords]
}

resource appSettings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    {
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: clientId
      AZURE_CLIENT_ID: clientId
      AZURE_AUTHORITY_HOST: loginEndpoint
      APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
      // The sync exports by itself; the worker would instrument the libraries, and their URLs hold names of blobs.
      PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'false'
      PYTHON_ENABLE_OPENTELEMETRY: 'false'
    },
    stateSettings,
    signInSettings,
    settings
  )
  dependsOn: [scmPasswords]
}

output apiUrl string = 'https://${app.properties.defaultHostName}/api'
output signInRedirect string = 'https://${app.properties.defaultHostName}/.auth/login/aad/callback'
