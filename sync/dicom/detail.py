"""
Attributes that are read only if DICOM_SYNC_DETAIL asks for them: acquisition parameters and the patient's body.

They are rows of the same kind as `sync.dicom.attributes.EXTRACTED`. Enhanced multi-frame images hold most of them in
functional groups; only the groups that all frames share are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from sync.config import Detail, includes
from sync.dicom.attributes import (
    CODE,
    EXTRACTED_OF_DOCUMENTS,
    FRAME_ANATOMY,
    FRAME_GROUPS,
    SHARED_GROUPS,
    Extracted,
    extracted_of,
    sequence,
    walk,
)
from sync.model import InstanceRecord

_THICKNESS = Extracted("SliceThickness", 0x00180050, "DS")
_VOLTAGE = Extracted("KVP", 0x00180060, "DS")
_REPETITION = Extracted("RepetitionTime", 0x00180080, "DS")
_KERNEL = Extracted("ConvolutionKernel", 0x00181210, "SH", multiple=True)
_FLIP = Extracted("FlipAngle", 0x00181314, "DS")
_CTDI = Extracted("CTDIvol", 0x00189345, "FD")
_SPACING = Extracted("PixelSpacing", 0x00280030, "DS", multiple=True)

ACQUISITION = (
    Extracted("AcquisitionDate", 0x00080022, "DA"),
    Extracted("AcquisitionDateTime", 0x0008002A, "DT"),
    Extracted("AcquisitionTime", 0x00080032, "TM"),
    Extracted("ContrastBolusAgent", 0x00180010, "LO"),
    sequence("ContrastBolusAgentSequence", 0x00180012, CODE),
    Extracted("ScanningSequence", 0x00180020, "CS", multiple=True),
    Extracted("SequenceVariant", 0x00180021, "CS", multiple=True),
    _THICKNESS,
    _VOLTAGE,
    _REPETITION,
    Extracted("EchoTime", 0x00180081, "DS"),
    Extracted("InversionTime", 0x00180082, "DS"),
    Extracted("MagneticFieldStrength", 0x00180087, "DS"),
    Extracted("ExposureTime", 0x00181150, "IS"),
    Extracted("XRayTubeCurrent", 0x00181151, "IS"),
    Extracted("Exposure", 0x00181152, "IS"),
    Extracted("ExposureInuAs", 0x00181153, "IS"),
    _KERNEL,
    _FLIP,
    Extracted("ViewPosition", 0x00185101, "CS"),
    Extracted("TransducerFrequency", 0x00186030, "UL"),
    Extracted("TransducerType", 0x00186031, "CS"),
    Extracted("PulseRepetitionFrequency", 0x00186032, "UL"),
    Extracted("ExposureTimeInuS", 0x00188150, "DS"),
    Extracted("XRayTubeCurrentInuA", 0x00188151, "DS"),
    _CTDI,
    Extracted("UltrasoundColorDataPresent", 0x00280014, "US"),
    Extracted("RescaleType", 0x00281054, "LO"),
    sequence(
        "EnergyWindowInformationSequence",
        0x00540012,
        (
            sequence(
                "EnergyWindowRangeSequence",
                0x00540013,
                (
                    Extracted("EnergyWindowLowerLimit", 0x00540014, "DS"),
                    Extracted("EnergyWindowUpperLimit", 0x00540015, "DS"),
                ),
            ),
        ),
    ),
    sequence(
        "RadiopharmaceuticalInformationSequence",
        0x00540016,
        (
            Extracted("Radiopharmaceutical", 0x00180031, "LO"),
            Extracted("RadiopharmaceuticalStartTime", 0x00181072, "TM"),
            Extracted("RadionuclideTotalDose", 0x00181074, "DS"),
            Extracted("RadionuclideHalfLife", 0x00181075, "DS"),
            Extracted("RadiopharmaceuticalStartDateTime", 0x00181078, "DT"),
            sequence("RadionuclideCodeSequence", 0x00540300, CODE),
            sequence("RadiopharmaceuticalCodeSequence", 0x00540304, CODE),
        ),
    ),
    sequence("ViewCodeSequence", 0x00540220, CODE),
    Extracted("SeriesType", 0x00541000, "CS", multiple=True),
    Extracted("Units", 0x00541001, "CS"),
)
"""PS3.3 C.8.1, C.8.2, C.8.3, C.8.4, C.8.5, C.8.9, C.8.11, C.7.6.4: of level ``acquisition``."""

BODY = (Extracted("PatientSize", 0x00101020, "DS"), Extracted("PatientWeight", 0x00101030, "DS"))
"""PS3.3 C.7.2.2, in metres and kilograms: of level ``body``."""

IMAGE = (
    Extracted("ImageType", 0x00080008, "CS", multiple=True),
    _SPACING,
    Extracted("BurnedInAnnotation", 0x00280301, "CS"),
)
"""PS3.3 C.7.6.1, C.7.6.3: of level ``full``, the attributes of each single image."""

_SHARED = (
    FRAME_ANATOMY,
    sequence("MRTimingAndRelatedParametersSequence", 0x00189112, (_REPETITION, _FLIP)),
    sequence("MREchoSequence", 0x00189114, (Extracted("EffectiveEchoTime", 0x00189082, "FD"),)),
    sequence("MRModifierSequence", 0x00189115, (Extracted("InversionTimes", 0x00189079, "FD", multiple=True),)),
    sequence("CTReconstructionSequence", 0x00189314, (_KERNEL,)),
    sequence(
        "CTExposureSequence",
        0x00189321,
        (
            Extracted("ExposureTimeInms", 0x00189328, "FD"),
            Extracted("XRayTubeCurrentInmA", 0x00189330, "FD"),
            Extracted("ExposureInmAs", 0x00189332, "FD"),
            _CTDI,
        ),
    ),
    sequence("CTXRayDetailsSequence", 0x00189325, (_VOLTAGE,)),
    sequence("PixelMeasuresSequence", 0x00289110, (_THICKNESS, _SPACING)),
)
"""PS3.3 C.8.13.5, C.8.15.3, C.7.6.16.2.1: groups of enhanced CT and MR."""

_SHARED_IN_DETAIL = sequence(SHARED_GROUPS.keyword, SHARED_GROUPS.tag, _SHARED)


@cache
def rows_in_detail(sop_class_uid: str, detail: Detail) -> tuple[Extracted, ...]:
    """Return the header attributes that are read from an instance of that SOP class, in tag order."""
    return tuple(sorted((*extracted_of(sop_class_uid), *_more(detail)), key=lambda row: row.tag))


@cache
def groups_in_detail(detail: Detail) -> tuple[Extracted, Extracted]:
    """Return the functional groups that are read from multi-frame images: the shared and the per-frame groups."""
    return (_SHARED_IN_DETAIL if includes(detail, "acquisition") else SHARED_GROUPS), FRAME_GROUPS


@cache
def _more(detail: Detail) -> tuple[Extracted, ...]:
    levels: tuple[tuple[Detail, tuple[Extracted, ...]], ...] = (
        ("acquisition", ACQUISITION),
        ("body", BODY),
        ("full", IMAGE),
    )
    return tuple(row for level, rows in levels if includes(detail, level) for row in rows)


def within(record: InstanceRecord, detail: Detail) -> InstanceRecord:
    """Return the record without attributes, and findings about them, that this level of detail does not ask for."""
    if includes(detail, "full"):
        return record
    unwanted, unwanted_inside = _unwanted(detail)
    attributes = {keyword: values for keyword, values in record.attributes.items() if keyword not in unwanted}
    if SHARED_GROUPS.keyword in attributes and not includes(detail, "acquisition"):
        attributes[SHARED_GROUPS.keyword] = [_anatomy_of(group) for group in attributes[SHARED_GROUPS.keyword]]
    findings = tuple(finding for finding in record.findings if finding.keyword not in unwanted_inside)
    return replace(record, attributes=attributes, findings=findings)


@cache
def _unwanted(detail: Detail) -> tuple[frozenset[str], frozenset[str]]:
    """Return the keywords that only higher levels read: of attributes, and of findings about them and their items."""
    attributes = {row.keyword for row in _more("full")} - {row.keyword for row in _more(detail)}
    keywords = {row.keyword for row in walk((*EXTRACTED_OF_DOCUMENTS, SHARED_GROUPS, FRAME_GROUPS, *_more(detail)))}
    inside = {row.keyword for row in walk((*_more("full"), _SHARED_IN_DETAIL))} - keywords
    return frozenset(attributes), frozenset(inside)


def _anatomy_of(group: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: values for keyword, values in group.items() if keyword == FRAME_ANATOMY.keyword}
