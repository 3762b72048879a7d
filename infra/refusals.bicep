// What Azure would refuse late or with an unhelpful text, reported first and all together.
import { zonesOf } from 'places.bicep'
import {
  Environment
  FhirChoices
  KeepingChoices
  ReachChoices
  RunningChoices
  SourceChoices
  WatchingChoices
} from 'types.bicep'

func oddLettersOf(name string) string[] =>
  filter(
    map(range(0, length(name)), at => toLower(substring(name, at, 1))),
    each => !contains('abcdefghijklmnopqrstuvwxyz0123456789-_', each)
  )

func missingOf(fhir FhirChoices, reach ReachChoices, running RunningChoices) string[] =>
  filter(zonesOf(fhir, reach, running), each => !contains(reach.zoneIds, each))

@export()
@description('One sentence for each choice that cannot be deployed; empty if all can be.')
func refusalsOf(
  environment Environment,
  source SourceChoices,
  fhir FhirChoices,
  reach ReachChoices,
  keeping KeepingChoices,
  running RunningChoices,
  watching WatchingChoices
) string[] =>
  filter(
    [
      empty(oddLettersOf(environment.name)) ? '' : 'environmentName may hold letters, digits, - and _ only.'
      !empty(source.accountId) && (length(split(source.accountId, '/')) != 9 || toLower(split(source.accountId, '/')[?7] ?? '') != 'storageaccounts')
        ? 'dicomStorageAccountId is not the resource id of a storage account.'
        : ''
      empty(source.accountId) && !empty(source.topicName)
        ? 'existingStorageTopicName is of an existing account: give dicomStorageAccountId too.'
        : ''
      fhir.kind == 'existing' && (length(split(fhir.workspaceId, '/')) != 9 || toLower(split(fhir.workspaceId, '/')[?6] ?? '') != 'microsoft.healthcareapis')
        ? 'fhirKind existing needs healthWorkspaceId, the resource id of a Health Data Services workspace.'
        : ''
      fhir.kind != 'existing' && !empty(fhir.workspaceId) ? 'healthWorkspaceId is only for fhirKind existing.' : ''
      fhir.kind == 'other' && !startsWith(toLower(fhir.url), 'https://') ? 'fhirKind other needs fhirUrl, an https:// address.' : ''
      fhir.kind != 'other' && !empty(fhir.url) ? 'fhirUrl is only for fhirKind other.' : ''
      fhir.kind == 'other' && !empty(fhir.dicomService)
        ? 'dicomServiceName is in a workspace, which fhirKind other has not: set DICOM_SYNC_DICOM_URL in settings.'
        : ''
      !empty(fhir.dicomService) && length(fhir.dicomService) < 3 ? 'dicomServiceName has at least 3 letters.' : ''
      !reach.isPrivate && (!empty(reach.allowedIpRanges) || !empty(reach.stateAccess) || !empty(reach.functionSubnetId) || !empty(reach.endpointSubnetId))
        ? 'allowedIpRanges, stateAccess and subnets are for network private: otherwise the app comes from addresses that change.'
        : ''
      reach.isPrivate && empty(reach.stateAccess) ? 'network private needs stateAccess: trustedServices or closed.' : ''
      reach.isPrivate && reach.publicApi && empty(reach.apiIpRanges) ? 'publicApi needs apiIpRanges; 0.0.0.0/0 is everywhere.' : ''
      empty(reach.functionSubnetId) != empty(reach.endpointSubnetId)
        ? 'Give functionSubnetId and endpointSubnetId, or neither.'
        : ''
      reach.isPrivate && reach.privateDns == 'existing' && !empty(missingOf(fhir, reach, running))
        ? 'privateDnsZoneIds lacks ${join(missingOf(fhir, reach, running), ', ')}.'
        : ''
      !empty(keeping.customerKey.vault) && (empty(keeping.customerKey.key) || empty(keeping.customerKey.identityId))
        ? 'customerKey needs vault, key and identityId.'
        : ''
      watching.budget > 0 && !endsWith(watching.budgetStart, '-01')
        ? 'monthlyBudget needs budgetStart, the first day of a month.'
        : ''
      running.alwaysReady.objects + running.alwaysReady.studies + running.alwaysReady.slices > running.maximumInstances
        ? 'alwaysReadyObjects, alwaysReadyStudies and alwaysReadySlices together are more than maximumInstances.'
        : ''
      contains(running.settings, 'DICOM_SYNC_FHIR_URL')
        ? 'DICOM_SYNC_FHIR_URL follows from fhirKind: leave it out of settings.'
        : ''
    ],
    each => !empty(each)
  )
