"""
Reports: an encapsulated PDF or CDA, a report in text -> a DiagnosticReport, and a DocumentReference to the object.

The bytes stay where they are: the attachment is the WADO-RS URL, when a DICOMweb root is configured. The text of a
report becomes its narrative, and the text of an impression or conclusion also ``conclusion``. Without flags, the status
is ``unknown``: an encapsulated document rarely states whether it was verified.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.dicom.attributes import ENCAPSULATED_PDF, items
from sync.mapping.content import name_of
from sync.mapping.identifiers import coded_identifier, first_item
from sync.mapping.measurements import build_measurements
from sync.mapping.names import printable_name
from sync.mapping.narrative import conclusion_codes, conclusions, narrative
from sync.mapping.sop_classes import sop_class_name
from sync.mapping.source import Source, dicom_uid
from sync.mapping.statuses import document_status, predecessors
from sync.mapping.terminology import DIAGNOSTIC_IMAGING, URI_SYSTEM
from sync.mapping.timestamps import instant
from sync.mapping.values import filled, first, one_text, text
from sync.model import Resource

_DOC_STATUS = {"final": "final", "amended": "amended", "preliminary": "preliminary", "partial": "preliminary"}
"""DiagnosticReport.status -> DocumentReference.docStatus."""


def build_document(source: Source) -> Sequence[Resource]:
    """
    Return the DiagnosticReport and the DocumentReference of an encapsulated document.

    Source: R4 ``DiagnosticReport``, ``DocumentReference``; PS3.3 C.24.2.
    """
    report = build_report(source)
    return [report, build_reference(source, report)]


def build_model(source: Source) -> Sequence[Resource]:
    """
    Return the DocumentReference of an encapsulated model (STL, OBJ, MTL), which is not a report.

    Source: R4 ``DocumentReference``; PS3.3 A.85.
    """
    return [build_reference(source, None)]


def build_text_report(source: Source) -> Sequence[Resource]:
    """
    Return the DiagnosticReport of a report's words, its DocumentReference, and an Observation for each measurement.

    Source: PS3.16 TID 2000 and its like; R4 ``DiagnosticReport``.
    """
    measured = build_measurements(source)
    observations = [resource for resource in measured if resource["resourceType"] == "Observation"]
    report = build_report(
        source, [observation["id"] for observation in observations if not _is_member(observation, observations)]
    )
    return [*measured, report, build_reference(source, report)]


def _is_member(observation: Resource, all_of_them: Sequence[Resource]) -> bool:
    reference = {"reference": f"Observation/{observation['id']}"}
    return any(reference in head.get("hasMember", ()) for head in all_of_them)


def build_report(source: Source, results: Sequence[str] = ()) -> Resource:
    """Return the DiagnosticReport of header and content; ``results`` are ids of Observations."""
    conclusion = "\n".join(conclusions(source))
    story, whole = narrative(source)
    return source.resource(
        "DiagnosticReport",
        {
            "text": story,
            "resultsInterpreter": _verifiers(source),
            "result": [{"reference": f"Observation/{result}"} for result in results],
            "conclusion": text(conclusion, "TextValue", source.findings) if conclusion else None,
            "conclusionCode": conclusion_codes(source),
            "identifier": [source.identifier],
            "basedOn": source.based_on,
            "status": document_status(source) if whole else "partial",
            "category": [{"coding": [dict(DIAGNOSTIC_IMAGING)]}],
            "code": title_of(source),
            "effectiveDateTime": source.started,
            "issued": instant(source.written),
            "imagingStudy": [source.study],
            "presentedForm": [content["attachment"] for content in _as_pdf(source, one_title(source))],
        },
    )


def one_title(source: Source) -> str | None:
    """Return the human-readable title: (0042,0010), else the code's meaning."""
    return one_text(source.attributes, "DocumentTitle", source.findings) or title_of(source).get("text")


def _verifiers(source: Source) -> list[Resource]:
    """Return the people who verified the document (0040,A073), by name and by identification code (0040,A088)."""
    verifiers: list[Resource] = []
    for observer in items(source.attributes, "VerifyingObserverSequence"):
        raw = first(observer, "VerifyingObserverName", source.findings)
        name = printable_name(raw, "VerifyingObserverName", source.findings)
        keyword = "VerifyingObserverIdentificationCodeSequence"
        stated = first_item(observer, keyword)
        identifier = coded_identifier(stated, keyword, source.settings, source.findings) if stated else None
        if not name and identifier is None:
            continue
        display = name or one_text(stated, "CodeMeaning", source.findings)
        shown = filled({"type": "Practitioner", "identifier": identifier, "display": display})
        if shown not in verifiers:
            verifiers.append(shown)
    return verifiers


def build_reference(source: Source, report: Resource | None) -> Resource:
    """Return the DocumentReference to the object of a report, or to an object with a document other than a report."""
    title = title_of(source)
    name = one_title(source)
    document_format = {
        "system": URI_SYSTEM,
        "code": f"urn:oid:{source.sop_class}",
        "display": sop_class_name(source.sop_class),
    }
    attachment = {"contentType": "application/dicom", "url": source.url, "title": name}
    related = [{"reference": f"DiagnosticReport/{report['id']}"}] if report else []
    return source.resource(
        "DocumentReference",
        {
            "masterIdentifier": source.identifier,
            "status": "current",
            "docStatus": _DOC_STATUS.get(report["status"]) if report else None,
            "type": title,
            "relatesTo": [
                {"code": "replaces", "target": {"type": "DocumentReference", "identifier": dicom_uid(predecessor)}}
                for predecessor in predecessors(source)
            ],
            "date": instant(source.written),
            "content": [{"attachment": filled(attachment), "format": filled(document_format)}, *_as_pdf(source, name)],
            "context": {"related": [*related, source.study]},
        },
    )


def _as_pdf(source: Source, name: str | None) -> list[Resource]:
    """Return a second content for an encapsulated PDF, for document viewers (PS3.18 8.3.3, rendered resource)."""
    if source.sop_class != ENCAPSULATED_PDF or source.url is None:
        return []
    attachment = {"contentType": "application/pdf", "url": f"{source.url}/rendered", "title": name}
    return [{"attachment": filled(attachment)}]


def title_of(source: Source) -> Resource:
    """Return the CodeableConcept of (0040,A043), else of the text (0042,0010), else of the SOP class's name."""
    coded = name_of(source.attributes, source)
    if coded is not None:
        return coded
    title = one_text(source.attributes, "DocumentTitle", source.findings)
    return {"text": title or sop_class_name(source.sop_class) or "Document"}
