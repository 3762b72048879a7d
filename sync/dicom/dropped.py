"""
Detects attributes that the Azure DICOM service drops from its metadata although the instance has them. Pure.

The service removes every top-level attribute that is invalid for its VR or VM from the metadata, and reports this only
to the sender. It stores no instance without (0010,0020), so if that attribute is missing, the service dropped it; the
same holds for an attribute that every instance of its class must have (type 1, PS3.3). An attribute that must be
present but may be empty (type 2) is written without a value when it is empty. If its tag is missing, the service
dropped it, or the instance violates the standard.

Letters beyond ASCII become ``?`` if the service does not know the character set, and letters of JIS X 0212 a dot.

Source: microsoft/dicom-server at eeefbe4d74 with fo-dicom 5.1.2, run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from sync.dicom.attributes import EXTRACTED, REPORT_CLASSES, first_text, texts
from sync.dicom.header import SPOILS, is_common
from sync.model import Attributes, Finding, InstanceRecord

PATIENT_ID = "PatientID"
_ALWAYS = (PATIENT_ID, "Modality")
_OF_REPORTS = ("CompletionFlag", "VerificationFlag")
"""Type 1 and read by the mapping: PS3.3 C.7.3.1 *General Series*, C.17.2 *SR Document General*."""

_MAY_BE_EMPTY = frozenset(
    {
        *("PatientName", "PatientBirthDate", "PatientSex"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
        *("SeriesNumber", "Manufacturer", "InstanceNumber"),
    }
)
"""Type 2 and read by the mapping: PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1 and the modules of images and documents."""

_TAGS = {f"{row.tag:08X}": row.keyword for row in EXTRACTED if row.keyword in _MAY_BE_EMPTY}

_NAMES = ("PatientName", PATIENT_ID, "IssuerOfPatientID", "AccessionNumber", "StudyID")
"""Without a character set, ``?`` is usually a real question mark; in these it would make another person."""

_JIS_X_0212 = "ISO 2022 IR 159"
_DOT = "\N{KATAKANA MIDDLE DOT}"

DROPPED = ("attribute.dropped_by_service", "absent")


def lacking(
    attributes: Attributes, character_sets: tuple[str, ...], *, tags: Collection[str] | None = None
) -> tuple[str, ...]:
    """
    Return the keywords of attributes that were dropped, or lost letters, in the metadata of an instance.

    Parameters
    ----------
    character_sets
        Values of (0008,0005) in the metadata.
    tags
        Tags of the metadata, as ``00100020``, with those that have no value; None if they are unknown.
    """
    required: tuple[str, ...] = _ALWAYS
    if first_text(attributes, "SOPClassUID") in REPORT_CLASSES:
        required += _OF_REPORTS
    dropped = [keyword for keyword in required if keyword not in attributes]
    if tags is not None:
        dropped += [keyword for tag, keyword in _TAGS.items() if tag not in tags]
    return tuple(sorted({*dropped, *_without_letters(attributes, character_sets)}))


def _without_letters(attributes: Attributes, character_sets: tuple[str, ...]) -> Iterator[str]:
    lost = _DOT if _JIS_X_0212 in character_sets else "" if character_sets and is_common(character_sets) else "?"
    if not lost:
        return
    for keyword in attributes if character_sets else _NAMES:
        if any(lost in text for text in texts(attributes, keyword)):
            yield keyword


def without(record: InstanceRecord, keywords: tuple[str, ...]) -> InstanceRecord:
    """Return the record with a finding for each keyword, and without identifiers that lost letters."""
    code, action = DROPPED
    findings = {Finding(keyword=keyword, code=code, action=action) for keyword in keywords}
    spoiled = {identifier for keyword in keywords for identifier in SPOILS.get(keyword, ())}
    remaining = {keyword: values for keyword, values in record.attributes.items() if keyword not in spoiled}
    return replace(record, attributes=remaining, findings=tuple(sorted({*record.findings, *findings})))
