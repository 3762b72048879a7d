"""
Resources that single instances of a study produce beside the ImagingStudy.

    encapsulated PDF and CDA    ->  DiagnosticReport, DocumentReference         `sync.mapping.reports`
    encapsulated models         ->  DocumentReference                           `sync.mapping.reports`
    reports, by their title:
      radiation dose            ->  Observation with the totals                 `sync.mapping.dose`
      imaging measurements      ->  Observations, groups with their members     `sync.mapping.measurements`
      any other                 ->  DiagnosticReport, DocumentReference         `sync.mapping.reports`

An instance makes the same resources whatever else is in the study, except for their references to the study itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sync.config import MappingSettings
from sync.dicom.attributes import ENCAPSULATED_CDA, ENCAPSULATED_MODELS, ENCAPSULATED_PDF, KEY_OBJECTS, REPORT_CLASSES
from sync.errors import InvalidResource
from sync.mapping.content import is_named
from sync.mapping.dose import DOSE_REPORTS, build_dose
from sync.mapping.measurements import MEASUREMENT_REPORT, build_measurements
from sync.mapping.reports import build_document, build_model, build_text_report
from sync.mapping.resource import study_id
from sync.mapping.source import Source
from sync.mapping.validation import validated
from sync.mapping.values import Findings
from sync.model import InstanceRecord, Resource, StudyRef

_Builder = Callable[[Source], Sequence[Resource]]


def _build_report(source: Source) -> Sequence[Resource]:
    """Choose the builder by the report's title rather than its class: comprehensive reports also hold dose."""
    if is_named(source.attributes, DOSE_REPORTS) or source.sop_class in _DOSE_CLASSES:
        return build_dose(source)
    if is_named(source.attributes, MEASUREMENT_REPORT):
        return build_measurements(source)
    return build_text_report(source)


def _note_unread(source: Source) -> Sequence[Resource]:
    """Add the finding that a document has content that is not mapped."""
    source.findings.note("SOPClassUID", "content.not_read", "instance only")
    return []


_DOSE_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{which}" for which in ("67", "68", "76"))
_UNREAD = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{which}"
    for which in (
        *("88.1", "88.2", "88.3", "88.4", "88.40", "88.70", "88.71", "88.74", "88.75", "88.77"),
        *("78.6", "79.1", "90.1"),
    )
)
"""
Structured documents that are not reports of a reading, or are retired.

Trial reports, procedure logs, plans of implants, contexts of acquisition, imaging agents, annotations of waveforms;
spectacle prescriptions, macular grids, assessments of content.
"""

_BUILDERS: Mapping[str, _Builder] = {
    **dict.fromkeys(REPORT_CLASSES, _build_report),
    **dict.fromkeys(_UNREAD, _note_unread),
    **dict.fromkeys(ENCAPSULATED_MODELS, build_model),
    ENCAPSULATED_PDF: build_document,
    ENCAPSULATED_CDA: build_document,
}
"""Builders by SOP class; instances of other classes have no derived resources."""


_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.88."
"""Arc of structured documents; the content of documents newer than this table is not read either."""


def _builder_of(sop_class: str) -> _Builder | None:
    if sop_class in _BUILDERS or sop_class == KEY_OBJECTS:
        return _BUILDERS.get(sop_class)
    return _note_unread if sop_class.startswith(_DOCUMENTS) else None


def build_derived(
    imaging_study: Resource, instances: Sequence[InstanceRecord], settings: MappingSettings, findings: Findings
) -> tuple[Resource, ...]:
    """
    Build the resources derived from single instances, without subject, each before those that refer to it.

    Parameters
    ----------
    imaging_study
        The study's resource as the mapping builds it.
    instances
        One record for each SOP Instance UID, by UID.
    """
    resources: list[Resource] = []
    for record in instances:
        builder = _builder_of(_sop_class(record))
        if builder is not None:
            source = Source(record=record, imaging_study=imaging_study, settings=settings, findings=findings)
            resources += _built(builder, source)
    return tuple(resources)


def _built(builder: _Builder, source: Source) -> Sequence[Resource]:
    """Return all resources of an instance, or none with a finding: a defect here must not fail the study."""
    try:
        return [validated(resource) for resource in builder(source)]
    except InvalidResource:
        source.findings.note("SOPInstanceUID", "derived.invalid", "nothing made of the instance")
        return []


def _sop_class(record: InstanceRecord) -> str:
    values = record.attributes.get("SOPClassUID")
    return str(values[0]) if values else ""


def with_references(resource: Resource, study: StudyRef, fhir_id: str, subject: Resource) -> Resource:
    """
    Return a derived resource with the study's subject and a reference to the study's actual id.

    Parameters
    ----------
    fhir_id
        The id of the ImagingStudy: our own, or that of an adopted resource.
    """
    own, actual = f"ImagingStudy/{study_id(study)}", f"ImagingStudy/{fhir_id}"
    placed: Resource = resource if own == actual else _replaced(resource, own, actual)
    return {**placed, "subject": subject}


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {
            key: new if key == "reference" and inner == old else _replaced(inner, old, new)
            for key, inner in value.items()
        }
    return [_replaced(inner, old, new) for inner in value] if isinstance(value, list) else value
