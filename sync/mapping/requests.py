"""
Orders of a study: requests and reasons, from all its instances.

A request has up to three numbers, each with its own issuer: accession number, placer order number and filler order
number. Each becomes a logical reference, so that a ServiceRequest is found by any number that it carries. They stand in
the data set itself and in items of two sequences (PS3.3 Table 10-9, C.17.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sync.config import MappingSettings
from sync.dicom.attributes import items
from sync.mapping.agreement import Witnesses
from sync.mapping.codes import concepts
from sync.mapping.identifiers import first_item, identifier, issuer_of
from sync.mapping.resource import canonical
from sync.mapping.terminology import ACCESSION_NUMBER, FILLER_NUMBER, PLACER_NUMBER, VISIT_NUMBER
from sync.mapping.values import Findings, one_text
from sync.model import Attributes, Resource

_SEQUENCES = ("RequestAttributesSequence", "ReferencedRequestSequence")
_PERFORMED = "ReasonForPerformedProcedureCodeSequence"


class _Number(NamedTuple):
    """Attributes of a number and its issuer, its type in HL7 table 0203, and the setting with the default system."""

    keyword: str
    issuer: str
    type_code: str
    setting: str


_ACCESSION = _Number("AccessionNumber", "IssuerOfAccessionNumberSequence", ACCESSION_NUMBER, "accession_system")
_ADMISSION = _Number("AdmissionID", "IssuerOfAdmissionIDSequence", VISIT_NUMBER, "admission_system")
_PERFORMED_PROCEDURE, _REQUESTED_PROCEDURE = "ProcedureCodeSequence", "RequestedProcedureCodeSequence"
_NUMBERS = (
    _ACCESSION,
    _Number("PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence", PLACER_NUMBER, "placer_system"),
    _Number("FillerOrderNumberImagingServiceRequest", "OrderFillerIdentifierSequence", FILLER_NUMBER, "filler_system"),
)


def accession_numbers(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return the identifiers of (0008,0050) with issuers (0008,0051), 0..n, each once: ``ImagingStudy.identifier``.

    A study that answers several orders has an accession number for each. The majority's comes first, the others in
    order of system and value.
    """
    keywords = (_ACCESSION.keyword, _ACCESSION.issuer)
    majority = _identifier(witnesses.majority(*keywords), _ACCESSION, settings, findings)
    identifiers = [_identifier(stated, _ACCESSION, settings, findings) for stated in witnesses.distinct(*keywords)]
    distinct = {canonical(_identity(identifier)): identifier for identifier in identifiers if identifier is not None}
    ordered = sorted(distinct.values(), key=lambda identifier: (identifier["system"], identifier["value"]))
    if majority is None:
        return ordered
    return [majority, *(identifier for identifier in ordered if _identity(identifier) != _identity(majority))]


def based_on(
    accessions: Sequence[Resource], witnesses: Witnesses, settings: MappingSettings, findings: Findings
) -> list[Resource]:
    """
    Return ``ImagingStudy.basedOn``: a logical reference for every number of every request, each once.

    Parameters
    ----------
    accessions
        Accession numbers of the study itself, which come first; the others are in order of type, system and value.
    """
    numbers = [number for item in _requests(witnesses) for number in _numbers(item, settings, findings)]
    distinct = {canonical(_identity(number)): number for number in numbers}
    own = {canonical(_identity(accession)) for accession in accessions}
    further = [distinct[key] for key in sorted(distinct) if key not in own]
    return [{"type": "ServiceRequest", "identifier": number} for number in [*accessions, *further]]


def encounter(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> Resource | None:
    """Return ``ImagingStudy.encounter``: a logical reference by (0038,0010) Admission ID and its issuer (0038,0014)."""
    stated = witnesses.agree(_ADMISSION.keyword, _ADMISSION.issuer)
    admission = _identifier(stated, _ADMISSION, settings, findings)
    return {"type": "Encounter", "identifier": admission} if admission else None


def procedures(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return ``ImagingStudy.procedureCode``: every procedure of every series, each once; the majority's come first.

    The performed procedure (0008,1032), as R4 requires; for an accession number without a performed procedure, the
    requested procedure (0032,1064), of the data set and of its requests.
    """
    performed = [witnesses.majority(_PERFORMED_PROCEDURE), *witnesses.distinct(_PERFORMED_PROCEDURE)]
    stated = witnesses.distinct(_ACCESSION.keyword, _PERFORMED_PROCEDURE, _REQUESTED_PROCEDURE, *_SEQUENCES)
    answered = {_accession(request) for request in stated if items(request, _PERFORMED_PROCEDURE)}
    open_orders = [
        request for request in stated if not answered or _accession(request) not in answered | {_NO_ACCESSION}
    ]
    majority = witnesses.majority(_REQUESTED_PROCEDURE) if not answered else {}
    requested = [majority, *open_orders, *(item for request in open_orders for item in _requests_of(request))]
    procedures = [
        *_procedures(performed, _PERFORMED_PROCEDURE, settings, findings),
        *_procedures(requested, _REQUESTED_PROCEDURE, settings, findings),
    ]
    return [procedure for place, procedure in enumerate(procedures) if procedure not in procedures[:place]]


def _accession(said: Attributes) -> bytes:
    return canonical(list(said.get(_ACCESSION.keyword) or ()))


_NO_ACCESSION = canonical([])


def _procedures(
    said: Sequence[Attributes], keyword: str, settings: MappingSettings, findings: Findings
) -> list[Resource]:
    return concepts([item for attributes in said for item in items(attributes, keyword)], keyword, settings, findings)


def reasons(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return ``ImagingStudy.reasonCode``: why the study was requested, and why it was performed, each once.

    A text beside exactly one code becomes the text of that code; otherwise it is a separate reason.
    """
    stated_reasons = [
        *(reason for item in _requests(witnesses) for reason in _requested_for(item, settings, findings)),
        *(
            reason
            for stated in witnesses.distinct(_PERFORMED)
            for reason in concepts(items(stated, _PERFORMED), _PERFORMED, settings, findings)
        ),
    ]
    distinct = {canonical(reason): reason for reason in stated_reasons}
    return [distinct[key] for key in sorted(distinct)]


def _requested_for(item: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    keyword = "ReasonForRequestedProcedureCodeSequence"
    coded = concepts(items(item, keyword), keyword, settings, findings)
    text = one_text(item, "ReasonForTheRequestedProcedure", findings)
    if text is None or any(reason.get("text") == text for reason in coded):
        return coded
    if len(coded) == 1:
        return [{**coded[0], "text": text}]
    return [*coded, {"text": text}]


def _requests(witnesses: Witnesses) -> Iterable[Attributes]:
    return (item for keyword in _SEQUENCES for stated in witnesses.distinct(keyword) for item in items(stated, keyword))


def _requests_of(said: Attributes) -> Iterable[Attributes]:
    return (item for keyword in _SEQUENCES for item in items(said, keyword))


def _numbers(item: Attributes, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return every typed number of a request; without one, (0040,1001), which is unique only within the request."""
    identifiers = [_identifier(item, number, settings, findings) for number in _NUMBERS]
    numbers = [number for number in identifiers if number is not None]
    procedure = None if numbers else one_text(item, "RequestedProcedureID", findings)
    return [{"type": {"text": "Requested Procedure ID"}, "value": procedure}] if procedure else numbers


def _identifier(item: Attributes, number: _Number, settings: MappingSettings, findings: Findings) -> Resource | None:
    value = one_text(item, number.keyword, findings)
    if value is None:
        return None
    designator = first_item(item, number.issuer)
    name = one_text(designator, "LocalNamespaceEntityID", findings)
    default = getattr(settings, number.setting) or MappingSettings.model_fields[number.setting].default
    issuer = issuer_of(name, designator, settings, findings, keyword=number.issuer, default=default)
    return identifier(value, issuer, number.type_code)


def _identity(number: Resource) -> list[object]:
    return [number["type"], number.get("system"), number["value"]]
