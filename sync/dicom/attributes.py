"""
Which DICOM attributes are read, and how extracted values are looked up. No pydicom here: values are plain data.

`EXTRACTED` is the one table behind every reader (file header, DICOM JSON); a keyword that is not in it never leaves
the header. A new attribute is one row. A row that sorts after `LAST_TAG` makes readers fetch more bytes of every
object. `IDENTITY` lists the three UIDs, which are fields of the record rather than attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sync.model import Attributes


@dataclass(frozen=True, slots=True)
class Extracted:
    """
    One attribute that is read, as PS3.6 defines it.

    ``tag`` is group << 16 | element, ``children`` are the attributes of its items. Items of a ``recursive`` sequence
    hold the same sequence again, to any depth. Only a ``multiple`` attribute, one with a VM above 1, may have several
    values. In a ``distinct`` sequence, equal items are kept once.
    """

    keyword: str
    tag: int
    vr: str
    children: tuple[Extracted, ...] = ()
    recursive: bool = False
    multiple: bool = False
    distinct: bool = False


def sequence(keyword: str, tag: int, *groups: tuple[Extracted, ...]) -> Extracted:
    """Return the row of a sequence whose items hold all the groups."""
    return Extracted(keyword, tag, "SQ", tuple(row for group in groups for row in group))


IDENTITY = (
    Extracted("SOPInstanceUID", 0x00080018, "UI"),
    Extracted("StudyInstanceUID", 0x0020000D, "UI"),
    Extracted("SeriesInstanceUID", 0x0020000E, "UI"),
)
"""PS3.3 C.12.1, C.7.2.1, C.7.3.1: without these UIDs an object is not an instance."""

USABLE_UID = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""The form of UIDs that FHIR can hold; real files hold UIDs such as ``111`` and ``1.2.03.4``, which are kept."""

_PLAIN_CODE = (
    Extracted("CodeValue", 0x00080100, "SH"),
    Extracted("CodingSchemeDesignator", 0x00080102, "SH"),
    Extracted("CodingSchemeVersion", 0x00080103, "SH"),
    Extracted("CodeMeaning", 0x00080104, "LO"),
    Extracted("LongCodeValue", 0x00080119, "UC"),
    Extracted("URNCodeValue", 0x00080120, "UR"),
)
CODE = (*_PLAIN_CODE, sequence("EquivalentCodeSequence", 0x00080121, _PLAIN_CODE))
"""PS3.3 Table 8.8-1, Code Sequence Macro."""

_DESIGNATOR = (
    Extracted("LocalNamespaceEntityID", 0x00400031, "UT"),
    Extracted("UniversalEntityID", 0x00400032, "UT"),
    Extracted("UniversalEntityIDType", 0x00400033, "CS"),
)
"""PS3.3 Table 10-17, HL7v2 Hierarchic Designator Macro."""

_PATIENT_ID = (
    Extracted("PatientID", 0x00100020, "LO"),
    Extracted("IssuerOfPatientID", 0x00100021, "LO"),
    Extracted("TypeOfPatientID", 0x00100022, "CS"),
    sequence(
        "IssuerOfPatientIDQualifiersSequence",
        0x00100024,
        _DESIGNATOR[1:],
        (Extracted("IdentifierTypeCode", 0x00400035, "CS"),),
    ),
)
"""PS3.3 Table 10-18, Issuer of Patient ID Macro, with the Patient ID itself."""

_ACCESSION = (
    Extracted("AccessionNumber", 0x00080050, "SH"),
    sequence("IssuerOfAccessionNumberSequence", 0x00080051, _DESIGNATOR),
)

_PERSON = (
    sequence("PersonIdentificationCodeSequence", 0x00401101, CODE),
    Extracted("InstitutionName", 0x00080080, "LO"),
)
"""PS3.3 Table 10-1, Person Identification Macro."""

_REQUEST = (
    *_ACCESSION,
    sequence("RequestedProcedureCodeSequence", 0x00321064, CODE),
    sequence("OrderPlacerIdentifierSequence", 0x00400026, _DESIGNATOR),
    sequence("OrderFillerIdentifierSequence", 0x00400027, _DESIGNATOR),
    Extracted("RequestedProcedureID", 0x00401001, "SH"),
    Extracted("ReasonForTheRequestedProcedure", 0x00401002, "LO"),
    sequence("ReasonForRequestedProcedureCodeSequence", 0x0040100A, CODE),
    Extracted("PlacerOrderNumberImagingServiceRequest", 0x00402016, "LO"),
    Extracted("FillerOrderNumberImagingServiceRequest", 0x00402017, "LO"),
)
"""PS3.3 Table 10-9, Request Attributes Macro, and C.17.2 for Referenced Request items."""

_PATIENT = (
    Extracted("PatientName", 0x00100010, "PN"),
    sequence("PersonNamesToUseSequence", 0x00100011, (Extracted("NameToUse", 0x00100012, "LT"),)),
    sequence(
        "ThirdPersonPronounsSequence",
        0x00100014,
        (sequence("PronounCodeSequence", 0x00100015, CODE), Extracted("PronounComment", 0x00100016, "UT")),
    ),
    sequence(
        "GenderIdentitySequence",
        0x00100041,
        (
            sequence("GenderIdentityCodeSequence", 0x00100044, CODE),
            Extracted("GenderIdentityComment", 0x00100045, "UT"),
        ),
    ),
    *_PATIENT_ID,
    Extracted("PatientBirthDate", 0x00100030, "DA"),
    Extracted("PatientBirthTime", 0x00100032, "TM"),
    Extracted("PatientSex", 0x00100040, "CS"),
    Extracted("OtherPatientNames", 0x00101001, "PN", multiple=True),
    sequence("OtherPatientIDsSequence", 0x00101002, _PATIENT_ID),
    Extracted("PatientBirthName", 0x00101005, "PN"),
    Extracted("PatientSpeciesDescription", 0x00102201, "LO"),
    sequence("PatientSpeciesCodeSequence", 0x00102202, CODE),
    Extracted("PatientSexNeutered", 0x00102203, "CS"),
    Extracted("PatientBreedDescription", 0x00102292, "LO"),
    sequence("PatientBreedCodeSequence", 0x00102293, CODE),
    Extracted("ResponsiblePerson", 0x00102297, "PN"),
    Extracted("ResponsiblePersonRole", 0x00102298, "CS"),
    Extracted("ResponsibleOrganization", 0x00102299, "LO"),
    Extracted("PatientIdentityRemoved", 0x00120062, "CS"),
)

_STUDY = (
    Extracted("StudyDate", 0x00080020, "DA"),
    Extracted("StudyTime", 0x00080030, "TM"),
    *_ACCESSION,
    Extracted("InstitutionName", 0x00080080, "LO"),
    Extracted("ReferringPhysicianName", 0x00080090, "PN"),
    sequence("ReferringPhysicianIdentificationSequence", 0x00080096, _PERSON),
    Extracted("TimezoneOffsetFromUTC", 0x00080201, "SH"),
    Extracted("StudyDescription", 0x00081030, "LO"),
    sequence("ProcedureCodeSequence", 0x00081032, CODE),
    Extracted("InstitutionalDepartmentName", 0x00081040, "LO"),
    Extracted("NameOfPhysiciansReadingStudy", 0x00081060, "PN", multiple=True),
    sequence("PhysiciansReadingStudyIdentificationSequence", 0x00081062, _PERSON),
    Extracted("StudyID", 0x00200010, "SH"),
    sequence("RequestedProcedureCodeSequence", 0x00321064, CODE),
    Extracted("AdmissionID", 0x00380010, "LO"),
    sequence("IssuerOfAdmissionIDSequence", 0x00380014, _DESIGNATOR),
    Extracted("PerformedLocation", 0x00400243, "SH"),
    sequence("RequestAttributesSequence", 0x00400275, _REQUEST),
    sequence("ReasonForPerformedProcedureCodeSequence", 0x00401012, CODE),
    sequence("ReferencedRequestSequence", 0x0040A370, _REQUEST),
)

_SERIES = (
    Extracted("SeriesDate", 0x00080021, "DA"),
    Extracted("SeriesTime", 0x00080031, "TM"),
    Extracted("Modality", 0x00080060, "CS"),
    Extracted("Manufacturer", 0x00080070, "LO"),
    Extracted("StationName", 0x00081010, "SH"),
    Extracted("SeriesDescription", 0x0008103E, "LO"),
    Extracted("PerformingPhysicianName", 0x00081050, "PN", multiple=True),
    sequence("PerformingPhysicianIdentificationSequence", 0x00081052, _PERSON),
    Extracted("OperatorsName", 0x00081070, "PN", multiple=True),
    sequence("OperatorIdentificationSequence", 0x00081072, _PERSON),
    Extracted("ManufacturerModelName", 0x00081090, "LO"),
    sequence("AnatomicRegionSequence", 0x00082218, CODE),
    Extracted("BodyPartExamined", 0x00180015, "CS"),
    Extracted("DeviceSerialNumber", 0x00181000, "LO"),
    Extracted("DeviceUID", 0x00181002, "UI"),
    sequence("UDISequence", 0x0018100A, (Extracted("UniqueDeviceIdentifier", 0x00181009, "UT"),)),
    Extracted("SoftwareVersions", 0x00181020, "LO", multiple=True),
    Extracted("SeriesNumber", 0x00200011, "IS"),
    Extracted("Laterality", 0x00200060, "CS"),
    Extracted("ImageLaterality", 0x00200062, "CS"),
    Extracted("ContainerIdentifier", 0x00400512, "LO"),
    sequence("IssuerOfTheContainerIdentifierSequence", 0x00400513, _DESIGNATOR),
    sequence(
        "SpecimenDescriptionSequence",
        0x00400560,
        (
            Extracted("SpecimenIdentifier", 0x00400551, "LO"),
            Extracted("SpecimenUID", 0x00400554, "UI"),
            sequence("IssuerOfTheSpecimenIdentifierSequence", 0x00400562, _DESIGNATOR),
        ),
    ),
)

_INSTANCE = (
    Extracted("SOPClassUID", 0x00080016, "UI"),
    sequence(
        "CodingSchemeIdentificationSequence",
        0x00080110,
        (
            Extracted("CodingSchemeDesignator", 0x00080102, "SH"),
            Extracted("CodingSchemeVersion", 0x00080103, "SH"),
            Extracted("CodingSchemeUID", 0x0008010C, "UI"),
        ),
    ),
    Extracted("InstanceNumber", 0x00200013, "IS"),
    Extracted("NumberOfFrames", 0x00280008, "IS"),
    sequence("ConceptNameCodeSequence", 0x0040A043, CODE),
    Extracted("DocumentTitle", 0x00420010, "ST"),
    Extracted("ContentLabel", 0x00700080, "CS"),
)

EXTRACTED: tuple[Extracted, ...] = tuple(
    sorted((*_PATIENT, *_STUDY, *_SERIES, *_INSTANCE), key=lambda row: row.tag),
)
"""Every attribute of a record, in tag order."""

_REFERENCED_SOP = sequence(
    "ReferencedSOPSequence", 0x00081199, (Extracted("ReferencedSOPInstanceUID", 0x00081155, "UI"),)
)
_DOCUMENT = (
    Extracted("ContentDate", 0x00080023, "DA"),
    Extracted("ContentTime", 0x00080033, "TM"),
    sequence(
        "VerifyingObserverSequence",
        0x0040A073,
        (
            Extracted("VerifyingOrganization", 0x0040A027, "LO"),
            Extracted("VerificationDateTime", 0x0040A030, "DT"),
            Extracted("VerifyingObserverName", 0x0040A075, "PN"),
            sequence("VerifyingObserverIdentificationCodeSequence", 0x0040A088, CODE),
        ),
    ),
    sequence(
        "PredecessorDocumentsSequence",
        0x0040A360,
        (sequence("ReferencedSeriesSequence", 0x00081115, (_REFERENCED_SOP,)),),
    ),
    Extracted("CompletionFlag", 0x0040A491, "CS"),
    Extracted("VerificationFlag", 0x0040A493, "CS"),
    Extracted("PreliminaryFlag", 0x0040A496, "CS"),
)
"""PS3.3 C.17.2 *SR Document General Module* and C.24.2 *Encapsulated Document Module*."""

CONTENT = Extracted(
    "ContentSequence",
    0x0040A730,
    "SQ",
    (
        _REFERENCED_SOP,
        Extracted("RelationshipType", 0x0040A010, "CS"),
        Extracted("ObservationDateTime", 0x0040A032, "DT"),
        Extracted("ValueType", 0x0040A040, "CS"),
        sequence("ConceptNameCodeSequence", 0x0040A043, _PLAIN_CODE),
        Extracted("DateTime", 0x0040A120, "DT"),
        Extracted("Date", 0x0040A121, "DA"),
        Extracted("Time", 0x0040A122, "TM"),
        Extracted("PersonName", 0x0040A123, "PN"),
        Extracted("UID", 0x0040A124, "UI"),
        Extracted("TextValue", 0x0040A160, "UT"),
        sequence("ConceptCodeSequence", 0x0040A168, _PLAIN_CODE),
        Extracted("ObservationUID", 0x0040A171, "UI"),
        sequence(
            "MeasuredValueSequence",
            0x0040A300,
            (
                sequence("MeasurementUnitsCodeSequence", 0x004008EA, _PLAIN_CODE),
                Extracted("NumericValue", 0x0040A30A, "DS", multiple=True),
            ),
        ),
        sequence("NumericValueQualifierCodeSequence", 0x0040A301, _PLAIN_CODE),
    ),
    recursive=True,
)
"""PS3.3 C.17.3 *SR Document Content Module*, without coordinates."""

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
ENCAPSULATED_CDA = "1.2.840.10008.5.1.4.1.1.104.2"

ENCAPSULATED_MODELS = frozenset(f"1.2.840.10008.5.1.4.1.1.104.{which}" for which in ("3", "4", "5"))
"""Encapsulated STL, OBJ and MTL: 3D models."""

_TEXTS = ("11", "22", "33", "34", "35")
_DOSES = ("67", "68", "73", "76")
_OF_ALGORITHMS_AND_ECHO = ("50", "65", "69", "72")
REPORT_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.88.{which}" for which in (*_TEXTS, *_DOSES, *_OF_ALGORITHMS_AND_ECHO)
)
"""
Reports, whose content is read (PS3.4 Table B.5-1).

Basic, enhanced, comprehensive (3D) and extensible reports; X-ray (enhanced too), radiopharmaceutical and patient dose;
mammography, chest and colon CAD, simplified echo.
"""

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
CONTENT_CLASSES = REPORT_CLASSES | {KEY_OBJECTS}
"""SOP classes whose `CONTENT` is read; a key object selection may reject the instances that it names."""

DOCUMENT_CLASSES = REPORT_CLASSES | ENCAPSULATED_MODELS | {ENCAPSULATED_PDF, ENCAPSULATED_CDA}

EXTRACTED_OF_DOCUMENTS = tuple(sorted((*EXTRACTED, *_DOCUMENT), key=lambda row: row.tag))
"""Every attribute of a document's record; also of a report's, without its `CONTENT`, which has its own limits."""


FRAME_ANATOMY = sequence(
    "FrameAnatomySequence",
    0x00209071,
    (Extracted("FrameLaterality", 0x00209072, "CS"), sequence("AnatomicRegionSequence", 0x00082218, CODE)),
)
"""PS3.3 C.7.6.16.2.8 *Frame Anatomy*."""

SHARED_GROUPS = sequence("SharedFunctionalGroupsSequence", 0x52009229, (FRAME_ANATOMY,))
"""PS3.3 C.7.6.16.1.1, the values that all frames share."""

FRAME_GROUPS = replace(sequence("PerFrameFunctionalGroupsSequence", 0x52009230, (FRAME_ANATOMY,)), distinct=True)
"""PS3.3 C.7.6.16.1.2, the values of each frame; read if `SHARED_GROUPS` do not hold the anatomy."""

_ENHANCED = (
    "2.1 2.2 4.1 4.3 4.4 6.2 6.3 12.1.1 12.2.1 13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 14.1 14.2 30 77.1.5.4 128.1 130"
)
ENHANCED_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.{which}" for which in _ENHANCED.split())
"""
Multi-frame images that keep region and side in functional groups (PS3.3 A.36, A.38, A.47, A.53, A.55, A.56, A.75).

For these classes, a reader continues after `LAST_TAG` to `SHARED_GROUPS` and, if necessary, `FRAME_GROUPS`.
"""


def extracted_of(sop_class_uid: str) -> tuple[Extracted, ...]:
    """Return the header attributes that are read from an instance of that SOP class, in tag order."""
    return EXTRACTED_OF_DOCUMENTS if sop_class_uid in DOCUMENT_CLASSES else EXTRACTED


LAST_TAG = EXTRACTED[-1].tag
"""Once a header was read past this tag, no attribute of `EXTRACTED` is missing."""


def texts(attributes: Attributes, keyword: str) -> tuple[str, ...]:
    """Return the values that are not blank, 0..n, in the order of the file; numbers are formatted as text."""
    return tuple(str(value) for value in attributes.get(keyword, ()) if _is_text(value))


def first_text(attributes: Attributes, keyword: str) -> str | None:
    """Return value 1; None if the attribute is absent, empty, or its value 1 is blank."""
    values = attributes.get(keyword)
    return str(values[0]) if values and _is_text(values[0]) else None


def items(attributes: Attributes, keyword: str) -> tuple[Attributes, ...]:
    """Return the items of a sequence, 0..n, in the order of the file."""
    return tuple(value for value in attributes.get(keyword, ()) if isinstance(value, Mapping))


def walk(rows: tuple[Extracted, ...] = EXTRACTED) -> Iterator[Extracted]:
    """Yield every row, nested ones included, parents first."""
    for row in rows:
        yield row
        yield from walk(row.children)


def _is_text(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and not value.isspace() and value != "")
