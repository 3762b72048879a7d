// What this group may cost a month; a warning, not a limit.
param name string

@description('Monthly amount, in the currency of the subscription.')
param amount int

@description('First day of the month in which the budget begins, such as 2026-12-01. Azure refuses a later change.')
param start string

param actionGroupId string

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: name
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: { startDate: start }
    notifications: {
      actual80: {
        enabled: true
        operator: 'GreaterThan'
        thresholdType: 'Actual'
        threshold: 80
        contactEmails: []
        contactGroups: [actionGroupId]
      }
      forecast100: {
        enabled: true
        operator: 'GreaterThan'
        thresholdType: 'Forecasted'
        threshold: 100
        contactEmails: []
        contactGroups: [actionGroupId]
      }
    }
  }
}
