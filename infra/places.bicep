// Names and ids, all known before anything is made: a preview shows them. Pure functions of the choices: the same choices
// give the same names, so that a second deployment finds what the first has made.
import { Environment, FhirChoices, Place, ReachChoices, RunningChoices, SourceChoices } from 'types.bicep'

func partOf(id string, at int, otherwise string) string => empty(id) ? otherwise : (split(id, '/')[?at] ?? otherwise)

func placeOf(id string, kind string, subscription string, group string, name string) Place => {
  name: empty(id) ? name : last(split(id, '/'))
  subscription: partOf(id, 2, subscription)
  group: partOf(id, 4, group)
  id: resourceId(partOf(id, 2, subscription), partOf(id, 4, group), kind, empty(id) ? name : last(split(id, '/')))
}

@export()
@description('The account of the DICOM files.')
func sourceOf(environment Environment, source SourceChoices, subscription string, group string) Place =>
  placeOf(
    source.accountId,
    'Microsoft.Storage/storageAccounts',
    subscription,
    group,
    environment.names.?sourceAccount ?? 'stdicom${environment.suffix}'
  )

@export()
@description('The Health Data Services workspace; unused with another FHIR server.')
func workspaceOf(environment Environment, fhir FhirChoices, subscription string, group string) Place =>
  placeOf(
    fhir.kind == 'existing' ? fhir.workspaceId : '',
    'Microsoft.HealthcareApis/workspaces',
    subscription,
    group,
    environment.names.?healthWorkspace ?? 'hds${environment.suffix}'
  )

@export()
@description('The system topic of a source, in the group of its source. Another source, another name: Azure does not let a topic change its source.')
func topicOf(source Place, existing string, given string?, prefix string, suffix string) Place => {
  name: empty(existing) ? (given ?? '${prefix}${uniqueString(source.id, suffix)}') : existing
  subscription: source.subscription
  group: source.group
  id: resourceId(
    source.subscription,
    source.group,
    'Microsoft.EventGrid/systemTopics',
    empty(existing) ? (given ?? '${prefix}${uniqueString(source.id, suffix)}') : existing
  )
}

@export()
@description('The private DNS zones that the choices need, by the service whose names they resolve.')
func zonesOf(fhir FhirChoices, reach ReachChoices, running RunningChoices) string[] =>
  concat(
    ['blob', 'queue', 'table'],
    running.resultEvents ? ['topic'] : [],
    reach.publicApi ? [] : ['sites'],
    fhir.kind == 'other' || reach.publicHealth ? [] : ['healthWorkspace', 'fhir'],
    fhir.kind == 'other' || reach.publicHealth || empty(fhir.dicomService) ? [] : ['dicom']
  )
