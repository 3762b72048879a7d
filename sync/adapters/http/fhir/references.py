"""
Finds the resources that refer to a resource: searches by every reference parameter of R4 that may name its type.

A server that refuses to delete referenced resources need not be asked; Azure's server deletes them. Its own parameter
``_not-referenced`` detects references that no parameter here does, but only to resources that still exist.

Source: FHIR R4 search parameter definitions; microsoft/fhir-server, ADR "Not Referenced Search".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sync.adapters.http.fhir.answers import resources_in
from sync.model import Resource, references_in
from sync.model.batches import batched
from sync.model.elements import parts

_ANY = """
Appointment.supporting-info AuditEvent.entity Basic.subject ClinicalImpression.supporting-info
Communication.based-on Communication.part-of CommunicationRequest.based-on Composition.entry Composition.subject
Condition.evidence-detail Consent.data Contract.subject DetectedIssue.implicated DeviceRequest.based-on
DeviceRequest.prior-request DocumentManifest.item DocumentManifest.related-ref DocumentReference.related
ImmunizationRecommendation.information Linkage.item Linkage.source List.item MeasureReport.evaluated-resource
MessageHeader.focus Observation.focus PaymentNotice.request PaymentNotice.response Provenance.entity
Provenance.target QuestionnaireResponse.subject Task.based-on Task.focus Task.subject VerificationResult.target
"""
_PATIENT = """
Account.subject AdverseEvent.recorder AdverseEvent.subject AllergyIntolerance.asserter AllergyIntolerance.patient
AllergyIntolerance.recorder Appointment.actor Appointment.patient AppointmentResponse.actor
AppointmentResponse.patient AuditEvent.agent AuditEvent.patient AuditEvent.source Basic.author BodyStructure.patient
CarePlan.performer CarePlan.subject CareTeam.participant CareTeam.subject ChargeItem.enterer
ChargeItem.performer-actor ChargeItem.subject Claim.patient Claim.payee ClaimResponse.patient
ClinicalImpression.subject Communication.recipient Communication.sender Communication.subject
CommunicationRequest.recipient CommunicationRequest.requester CommunicationRequest.sender
CommunicationRequest.subject Composition.attester Composition.author Condition.asserter Condition.subject
Consent.actor Consent.consentor Consent.patient Contract.signer Coverage.beneficiary Coverage.patient Coverage.payor
Coverage.policy-holder Coverage.subscriber CoverageEligibilityRequest.patient CoverageEligibilityResponse.patient
DetectedIssue.patient Device.patient DeviceRequest.performer DeviceRequest.subject DeviceUseStatement.subject
DiagnosticReport.subject DocumentManifest.author DocumentManifest.recipient DocumentManifest.subject
DocumentReference.author DocumentReference.subject Encounter.subject EnrollmentRequest.subject EpisodeOfCare.patient
ExplanationOfBenefit.patient ExplanationOfBenefit.payee FamilyMemberHistory.patient Flag.author Flag.subject
Goal.subject Group.member GuidanceResponse.subject ImagingStudy.performer ImagingStudy.subject Immunization.patient
ImmunizationEvaluation.patient ImmunizationRecommendation.patient Invoice.participant Invoice.recipient
Invoice.subject List.source List.subject MeasureReport.subject Media.operator Media.subject
MedicationAdministration.performer MedicationAdministration.subject MedicationDispense.performer
MedicationDispense.receiver MedicationDispense.subject MedicationRequest.intended-performer
MedicationRequest.requester MedicationRequest.subject MedicationStatement.source MedicationStatement.subject
MolecularSequence.patient NutritionOrder.patient Observation.performer Observation.subject Patient.link Person.link
Person.patient Procedure.performer Procedure.subject Provenance.agent Provenance.patient
QuestionnaireResponse.author QuestionnaireResponse.source RelatedPerson.patient RequestGroup.participant
RequestGroup.subject ResearchSubject.individual ResearchSubject.patient RiskAssessment.subject Schedule.actor
ServiceRequest.performer ServiceRequest.requester ServiceRequest.subject Specimen.subject SupplyDelivery.patient
SupplyRequest.requester SupplyRequest.subject Task.owner Task.requester VisionPrescription.patient
"""
_IMAGINGSTUDY = """
ChargeItem.service ClinicalImpression.investigation Observation.derived-from Observation.part-of
"""
_DIAGNOSTICREPORT = """
ChargeItem.service ClinicalImpression.investigation Immunization.reason-reference Procedure.reason-reference
"""
_DOCUMENTREFERENCE = """
Consent.source-reference DocumentReference.relatesto MedicationKnowledge.monograph Observation.derived-from
Procedure.reason-reference
"""
_OBSERVATION = """
Appointment.reason-reference ChargeItem.service ClinicalImpression.finding-ref ClinicalImpression.investigation
DiagnosticReport.result Encounter.reason-reference Immunization.reaction Immunization.reason-reference
MedicationStatement.part-of Observation.derived-from Observation.has-member Procedure.part-of
Procedure.reason-reference QuestionnaireResponse.part-of
"""
_PARAMETERS: Mapping[str, Sequence[str]] = {
    "Patient": (_ANY + _PATIENT).split(),
    "ImagingStudy": (_ANY + _IMAGINGSTUDY).split(),
    "DiagnosticReport": (_ANY + _DIAGNOSTICREPORT).split(),
    "DocumentReference": (_ANY + _DOCUMENTREFERENCE).split(),
    "Observation": (_ANY + _OBSERVATION).split(),
}
"""``Type.parameter``, by the type that is referred to; those of definitions and their publications are left out."""

TARGETS = 20
"""Maximum resources that one search asks about, so that its address stays below 2,000 characters."""

REFERRERS = 100
"""Number of resources on one page of referrers."""

NOT_REFERENCED = "_not-referenced"


def searches_for(references: Sequence[str]) -> list[str]:
    """Return the searches, relative to the base URL, for all resources that refer to one of these."""
    by_type: dict[str, list[str]] = {}
    for reference in references:
        by_type.setdefault(reference.partition("/")[0], []).append(reference)
    return [
        f"{parameter.replace('.', '?')}={','.join(some)}&_count={REFERRERS}"
        for resource_type, named in by_type.items()
        for some in batched(named, TARGETS)
        for parameter in _PARAMETERS.get(resource_type, _ANY.split())
    ]


def targets_of(search: str) -> list[str]:
    """Return the resources that one of these searches asks about."""
    return search.partition("=")[2].partition("&")[0].split(",")


def unreferenced_searches(references: Sequence[str]) -> list[str]:
    """Return searches in pairs: for the unreferenced ones of the resources, on Azure only, and for all of them."""
    by_type: dict[str, list[str]] = {}
    for reference in references:
        resource_type, _, resource_id = reference.partition("/")
        by_type.setdefault(resource_type, []).append(resource_id)
    batches = [(kind, ",".join(some)) for kind, ids in by_type.items() for some in batched(ids, TARGETS)]
    ends = f"&_count={TARGETS}&_elements=id"
    pairs = [(f"{kind}?_id={ids}&{NOT_REFERENCED}=*:*{ends}", f"{kind}?_id={ids}{ends}") for kind, ids in batches]
    return [search for pair in pairs for search in pair]


def self_link(bundle: Mapping[str, Any]) -> str:
    """Return the search as the server understood it: Azure leaves out unknown parameters."""
    return next((str(link.get("url", "")) for link in parts(bundle, "link") if link.get("relation") == "self"), "")


def addresses_in(bundles: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the references ``Type/id`` of all resources in the searchsets."""
    resources = [resource for bundle in bundles for resource in resources_in(bundle)]
    return {f"{resource.get('resourceType')}/{resource.get('id')}" for resource in resources}


def note_referrers(referrers: Mapping[str, set[str]], resources: Iterable[Resource]) -> None:
    """Note which of the found resources refer to which requested ones; a match that refers to none is ignored."""
    for resource in resources:
        address = f"{resource.get('resourceType')}/{resource.get('id')}"
        for reference in references_in(resource):
            if reference in referrers and reference != address:
                referrers[reference].add(address)
