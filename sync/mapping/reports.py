"""
Reports: an encapsulated PDF or CDA -> a DiagnosticReport, and a DocumentReference that points to the object.

The bytes stay where they are: the attachment is the WADO-RS URL, when a DICOMweb root is configured. What the flags do
not say is ``unknown``: an encapsulated document rarely tells whether anybody has read it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.mapping.identifiers import first_item
from sync.mapping.sop_classes import sop_class_name
from sync.mapping.source import Source, instant
from sync.mapping.terminology import DIAGNOSTIC_IMAGING, URI_SYSTEM
from sync.mapping.values import code, coding, filled, first, one_text
from sync.model import Resource

_DOC_STATUS = {"final": "final", "preliminary": "preliminary", "partial": "preliminary"}
"""DiagnosticReport.status -> DocumentReference.docStatus."""


def build_document(source: Source) -> Sequence[Resource]:
    """
    DiagnosticReport and DocumentReference of an encapsulated document.

    Source: R4 ``DiagnosticReport``, ``DocumentReference``; PS3.3 C.24.2.
    """
    report = build_report(source)
    return [report, build_reference(source, report)]


def build_report(source: Source) -> Resource:
    """DiagnosticReport of what the header says."""
    return source.resource(
        "DiagnosticReport",
        {
            "identifier": [source.identifier],
            "basedOn": source.based_on,
            "status": status_of(source),
            "category": [{"coding": [dict(DIAGNOSTIC_IMAGING)]}],
            "code": title_of(source),
            "effectiveDateTime": source.started,
            "issued": instant(source.written),
            "imagingStudy": [source.study],
        },
    )


def build_reference(source: Source, report: Resource) -> Resource:
    """DocumentReference to the object that a report is made of."""
    title = title_of(source)
    name = one_text(source.attributes, "DocumentTitle", source.findings) or title.get("text")
    document_format = {
        "system": URI_SYSTEM,
        "code": f"urn:oid:{source.sop_class}",
        "display": sop_class_name(source.sop_class),
    }
    attachment = {"contentType": "application/dicom", "url": source.url, "title": name}
    related = [{"reference": f"DiagnosticReport/{report['id']}"}, source.study]
    return source.resource(
        "DocumentReference",
        {
            "masterIdentifier": source.identifier,
            "status": "current",
            "docStatus": _DOC_STATUS.get(report["status"]),
            "type": title,
            "date": instant(source.written),
            "content": [{"attachment": filled(attachment), "format": filled(document_format)}],
            "context": {"related": related},
        },
    )


def status_of(source: Source) -> str:
    """
    DiagnosticReport.status of the flags (0040,A491) Completion, (0040,A493) Verification, (0040,A496) Preliminary.

    Only what an observer has verified is final.
    """
    completion, verification, preliminary = (
        (code(first(source.attributes, keyword, source.findings), keyword, source.findings) or "").upper()
        for keyword in ("CompletionFlag", "VerificationFlag", "PreliminaryFlag")
    )
    if completion == "PARTIAL":
        return "partial"
    if verification == "VERIFIED":
        return "final"
    if verification == "UNVERIFIED" or preliminary == "PRELIMINARY":
        return "preliminary"
    return "unknown"


def title_of(source: Source) -> Resource:
    """CodeableConcept of (0040,A043) Concept Name Code, else the text of (0042,0010), else the SOP class's name."""
    item = first_item(source.attributes, "ConceptNameCodeSequence")
    coded = coding(item, "ConceptNameCodeSequence", source.settings, source.findings)
    text = one_text(source.attributes, "DocumentTitle", source.findings)
    if coded is not None:
        return filled({"coding": [coded], "text": coded.get("display") or text})
    return {"text": text or sop_class_name(source.sop_class) or "Document"}
