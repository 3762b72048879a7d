// Logs, metrics and whom alerts reach. Application Insights takes no key: local authentication is off.
param token string
param location string
param tags object

@description('Days.')
param retention int

param alertEmails array

@description('The function app\'s identity, which may publish metrics.')
param principalId string

var roles = loadJsonContent('../roles.json')

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${token}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retention
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
    DisableLocalAuth: true
  }
}

// Made of sync/monitoring/alerts/azure_monitor.py: python -m sync alerts export --format workbook > infra/workbook.json
resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insights.id, 'dicom-fhir-sync')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'DICOM-FHIR Sync'
    category: 'workbook'
    sourceId: insights.id
    serializedData: loadTextContent('../workbook.json')
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, principalId, roles.monitoringMetricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringMetricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-dicom-fhir-sync-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'dicomfhir'
    enabled: true
    emailReceivers: [
      for (address, index) in alertEmails: {
        name: 'mail${index}'
        emailAddress: address
        useCommonAlertSchema: true
      }
    ]
  }
}

output logsId string = logs.id
output insightsId string = insights.id
output insightsConnection string = insights.properties.ConnectionString
output actionGroupId string = actionGroup.id
