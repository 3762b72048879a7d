// Logs, metrics and whom alerts reach. Application Insights takes no key: local authentication is off.
import { Role, Tags } from '../types.bicep'

param logsName string
param insightsName string
param actionGroupName string
param auditName string
param location string
param tags Tags

@description('Days.')
param retention int

@description('Maximum GB per day that the workspace accepts; -1: no limit.')
param dailyCap int

param alertEmails string[]

@description('Workspace for logs and metrics; empty: a workspace is created.')
param existingLogsId string

@description('Action group that receives alerts; empty: a group is created.')
param existingActionGroupId string

@description('Whether audit logs are kept, which hold names of blobs and queries with identifiers of patients.')
param auditLogs bool

@description('Workspace for audit logs; empty: a workspace is created.')
param existingAuditId string

@description('Days.')
param auditRetention int

@description('Principal id of the function app\'s identity, which may publish metrics.')
param principalId string

param assignRoles bool

var roles = loadJsonContent('../roles.json')

resource logs 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (empty(existingLogsId)) {
  name: logsName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retention
    features: { disableLocalAuth: true }
    workspaceCapping: { dailyQuotaGb: dailyCap }
  }
}

resource audit 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (auditLogs && empty(existingAuditId)) {
  name: auditName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: auditRetention
    // Who may read a resource may not for that reason read its audit logs: only roles on this workspace count.
    features: { disableLocalAuth: true, enableLogAccessUsingOnlyResourcePermissions: false }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: insightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: empty(existingLogsId) ? logs.id : existingLogsId
    DisableLocalAuth: true
  }
}

// Made of the table of alert rules: python -m sync alerts export --format workbook > infra/workbook.json
resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insights.id, 'dicom-fhir-sync')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'DICOM-FHIR Sync (${insightsName})'
    category: 'workbook'
    sourceId: insights.id
    serializedData: string(union(loadJsonContent('../workbook.json'), { fallbackResourceIds: [insights.id] }))
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (assignRoles) {
  scope: insights
  name: guid(insights.id, principalId, roles.monitoringMetricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringMetricsPublisher)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = if (empty(existingActionGroupId)) {
  name: actionGroupName
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

output logsId string = empty(existingLogsId) ? logs.id : existingLogsId
output auditId string = auditLogs ? (empty(existingAuditId) ? audit.id : existingAuditId) : ''
output insightsId string = insights.id
output insightsConnection string = insights.properties.ConnectionString
output actionGroupId string = empty(existingActionGroupId) ? actionGroup.id : existingActionGroupId
output needed Role[] = [
  {
    role: 'Monitoring Metrics Publisher'
    id: roles.monitoringMetricsPublisher
    scope: insights.id
    principal: 'function app'
  }
]
