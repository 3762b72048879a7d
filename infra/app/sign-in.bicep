// App Service authentication: callers of the HTTP functions sign in at Microsoft Entra ID first, beside the function
// key. Open stay only what holds nothing: whether the app is well, and the dashboard's style sheet and script.
param appName string

@description('Client id of the app registration. It trusts the identity of the function app, so there is no secret.')
param clientId string

@description('Sign-in address of this cloud, with a slash at the end.')
param loginEndpoint string

var openPaths = ['/api/health', '/api/dashboard/static/*']

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
}

resource signIn 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
      runtimeVersion: '~1'
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      excludedPaths: openPaths
    }
    httpSettings: { requireHttps: true }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          openIdIssuer: '${loginEndpoint}${tenant().tenantId}/v2.0'
          clientId: clientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
        }
        // Tokens of version 2 name the client id as their audience; those of version 1 name the URI.
        validation: { allowedAudiences: [clientId, 'api://${clientId}'] }
      }
    }
    login: {
      tokenStore: { enabled: false } // only who calls matters here; no token is ever used
    }
  }
}
