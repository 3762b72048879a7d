"""
How a series was acquired -> extensions of ``ImagingStudy.series``, if DICOM_SYNC_DETAIL asks for it.

R4 has no element for a tube voltage or a field strength; the extensions of `sync.mapping.mii` have one, by modality and
in fixed units. A value is written as in the files, converted by powers of ten only. If images of a series differ, as in
the tube current of each slice, the majority's value counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sync.config import MappingSettings, includes
from sync.dicom.attributes import SHARED_GROUPS, items, texts
from sync.mapping import mii
from sync.mapping.agreement import Witnesses
from sync.mapping.codes import concepts
from sync.mapping.terminology import PARTICIPATION_TYPE, SNOMED_CT
from sync.mapping.tracers import tracer
from sync.mapping.values import Findings, code, filled, one_text, text, ucum_quantity
from sync.model import Resource


class Measure(NamedTuple):
    """
    A sub-extension with a Quantity.

    ``sources`` are the attributes that may state the measure, of which the first present one counts: keyword, power of
    ten to the unit, and the sequence of the shared functional groups that holds the attribute, if any.
    """

    name: str
    unit: str
    code: str
    sources: tuple[tuple[str, int, str], ...]


_EXPOSURE = "CTExposureSequence"
_VOLTAGE = Measure("KVP", "kilovolt", "kV", (("KVP", 0, ""), ("KVP", 0, "CTXRayDetailsSequence")))
_TIME = Measure(
    "exposureTime",
    "milliseconds",
    "ms",
    (("ExposureTime", 0, ""), ("ExposureTimeInuS", -3, ""), ("ExposureTimeInms", 0, _EXPOSURE)),
)
_AMOUNT = Measure(
    "exposure",
    "milliampere second",
    "mA.s",
    (("Exposure", 0, ""), ("ExposureInuAs", -3, ""), ("ExposureInmAs", 0, _EXPOSURE)),
)
_CURRENT = Measure(
    "xRayTubeCurrent",
    "milliampere",
    "mA",
    (("XRayTubeCurrent", 0, ""), ("XRayTubeCurrentInuA", -3, ""), ("XRayTubeCurrentInmA", 0, _EXPOSURE)),
)
_OF_TUBES = (_VOLTAGE, _TIME, _AMOUNT, _CURRENT)
_OF_CT = (Measure("CTDIvol", "milligray", "mGy", (("CTDIvol", 0, ""), ("CTDIvol", 0, _EXPOSURE))), *_OF_TUBES)
_TIMING = "MRTimingAndRelatedParametersSequence"
_OF_MR = (
    Measure("magneticFieldStrength", "tesla", "T", (("MagneticFieldStrength", 0, ""),)),
    Measure("echoTime", "milliseconds", "ms", (("EchoTime", 0, ""), ("EffectiveEchoTime", 0, "MREchoSequence"))),
    Measure("repetitionTime", "milliseconds", "ms", (("RepetitionTime", 0, ""), ("RepetitionTime", 0, _TIMING))),
    Measure(
        "inversionTime", "milliseconds", "ms", (("InversionTime", 0, ""), ("InversionTimes", 0, "MRModifierSequence"))
    ),
    Measure("flipAngle", "plane angle degree", "deg", (("FlipAngle", 0, ""), ("FlipAngle", 0, _TIMING))),
)
_OF_ULTRASOUND = (
    Measure("transducerFrequency", "kilohertz", "kHz", (("TransducerFrequency", 0, ""),)),
    Measure("pulseRepetitionFrequency", "hertz", "Hz", (("PulseRepetitionFrequency", 0, ""),)),
)
_THICKNESS = Measure(
    "sliceThickness", "millimeter", "mm", (("SliceThickness", 0, ""), ("SliceThickness", 0, "PixelMeasuresSequence"))
)
_RADIOGRAPHY = frozenset({"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})
_NO_CONTRAST = frozenset({"NO", "NONE", "N", "NON CONTRAST", "WITHOUT", "W/O", "NATIV"})
"""Texts that writers use as the agent's name if no contrast was given."""

_VIEWS: Mapping[str, tuple[str, str]] = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
    "LLO": ("399184004", "left oblique"),
    "RLO": ("399236003", "right oblique"),
    "LAO": ("399135007", "left anterior oblique"),
    "RAO": ("399356000", "right anterior oblique"),
    "LPO": ("399006002", "left posterior oblique"),
    "RPO": ("399038007", "right posterior oblique"),
    "CC": ("399162004", "cranio-caudal"),
    "MLO": ("399368009", "medio-lateral oblique"),
    "ML": ("399260004", "medial-lateral"),
    "LM": ("399352003", "latero-medial"),
    "LMO": ("399099002", "latero-medial oblique"),
    "FB": ("399196006", "caudo-cranial"),
    "XCCL": ("399192008", "cranio-caudal exaggerated laterally"),
    "XCCM": ("399101009", "cranio-caudal exaggerated medially"),
}
"""PS3.16 CID 4010, 4014, by the terms of (0018,5101) and the abbreviations of CID 4014."""


def acquisition(witnesses: Witnesses, modality: str, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return the extensions of one series, 0..3: parameters of its modality, contrast, slice thickness.

    Source: MII *Modul Bildgebung*; PS3.3 C.8.1-C.8.5, C.8.9, C.8.11, C.7.6.4, for enhanced images C.8.13 and C.8.15.
    """
    if not includes(settings.detail, "acquisition"):
        return []
    thickness = quantity_of(witnesses, _THICKNESS, findings)
    return [
        *_of_modality(witnesses, modality, settings, findings),
        *_contrast(witnesses, settings, findings),
        *([{"url": mii.THICKNESS, "valueQuantity": thickness}] if thickness else []),
    ]


def _of_modality(witnesses: Witnesses, modality: str, settings: MappingSettings, findings: Findings) -> list[Resource]:
    url, parts = "", list[Resource]()
    if modality == "CT":
        kernel = [text(value, "ConvolutionKernel", findings) for value in _values(witnesses, "ConvolutionKernel")]
        shown = "\\".join(value for value in kernel if value)
        url, parts = mii.CT, [{"url": "convolutionalKernel", "valueString": shown}] if shown else []
        parts += _measured(witnesses, _OF_CT, findings)
    elif modality in _RADIOGRAPHY:
        url, parts = mii.RADIOGRAPHY, _measured(witnesses, _OF_TUBES, findings) + _view(witnesses, settings, findings)
    elif modality == "MR":
        sequences = _coded(witnesses, "ScanningSequence", "scanningSequence", mii.SCANNING_SEQUENCES, findings)
        variants = _coded(witnesses, "SequenceVariant", "scanningSequenceVariant", mii.SEQUENCE_VARIANTS, findings)
        url, parts = mii.MR, [*sequences, *variants, *_measured(witnesses, _OF_MR, findings)]
    elif modality == "US":
        types = _coded(witnesses, "TransducerType", "transducerType", mii.TRANSDUCER_TYPES, findings)
        url, parts = mii.ULTRASOUND, [*types, *_measured(witnesses, _OF_ULTRASOUND, findings), *_colour(witnesses)]
    elif modality in ("PT", "NM"):
        url = mii.PET if modality == "PT" else mii.NUCLEAR_MEDICINE
        parts = tracer(witnesses, modality, settings, findings)
        if modality == "PT":
            parts += _coded(witnesses, "SeriesType", "seriesType", mii.SERIES_TYPES, findings)
    return [{"url": url, "extension": parts}] if parts else []


def _measured(witnesses: Witnesses, measures: Sequence[Measure], findings: Findings) -> list[Resource]:
    stated = [(measure.name, quantity_of(witnesses, measure, findings)) for measure in measures]
    return [{"url": name, "valueQuantity": quantity} for name, quantity in stated if quantity]


def quantity_of(witnesses: Witnesses, measure: Measure, findings: Findings) -> Resource | None:
    """Return the FHIR *Quantity* of the first attribute that states the measure; text that is no number: a finding."""
    for keyword, factor, sequence in measure.sources:
        stated = _values(witnesses, keyword, sequence)[:1]
        if stated:
            return ucum_quantity(stated[0], keyword, measure.unit, measure.code, findings, factor=factor)
    return None


def _values(witnesses: Witnesses, keyword: str, sequence: str = "") -> Sequence[str]:
    """Return the majority's values; within a sequence, the majority is that of the variants of the shared groups."""
    if not sequence:
        return texts(witnesses.majority(keyword), keyword)
    shared = SHARED_GROUPS.keyword
    groups = [group for stated in witnesses.distinct(shared) for group in items(stated, shared)]
    stated = Counter(values for group in groups for item in items(group, sequence) if (values := texts(item, keyword)))
    return min(stated, key=lambda values: (-stated[values], values), default=())


def _coded(
    witnesses: Witnesses, keyword: str, name: str, systems: Mapping[str, str], findings: Findings
) -> list[Resource]:
    """Return the sub-extensions, one for each value that the code system has."""
    made = []
    for stated in _values(witnesses, keyword):
        value = (code(stated, keyword, findings) or "").upper()
        if value in systems:
            coding = {"system": systems[value], "code": value}
            made.append({"url": name, "valueCodeableConcept": {"coding": [coding], "text": value}})
        else:
            findings.note(keyword, "value.undefined", "ignored")
    return made


def _view(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return the coded view (0054,0220), else a term of (0018,5101), looked up; any other text is the display."""
    keyword = "ViewCodeSequence"
    views = concepts(items(witnesses.majority(keyword), keyword), keyword, settings, findings)[:1]
    stated = code(next(iter(_values(witnesses, "ViewPosition")), None), "ViewPosition", findings)
    if not views and stated:
        known = _VIEWS.get(stated.upper())
        coding = {"system": SNOMED_CT, "code": known[0], "display": known[1]} if known else None
        views = [filled({"coding": [coding] if coding else None, "text": stated})]
    return [{"url": "viewPosition", "valueCodeableConcept": view} for view in views]


def _colour(witnesses: Witnesses) -> list[Resource]:
    """Return (0028,0014): 1 if any image has colour, 0 if no image that states it has colour."""
    keyword = "UltrasoundColorDataPresent"
    known = {value for stated in witnesses.distinct(keyword) for value in texts(stated, keyword)} & {"0", "1"}
    return [{"url": "ultrasoundColor", "valueBoolean": "1" in known}] if known else []


def _contrast(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return the extension that says whether contrast was given, and which: any image with an agent decides.

    The agent is named by display: a name alone makes no MedicationAdministration.
    """
    keyword = "ContrastBolusAgentSequence"
    coded = [
        agent
        for stated in witnesses.distinct(keyword)
        for agent in concepts(items(stated, keyword), keyword, settings, findings)
    ]
    stated = [one_text(one, "ContrastBolusAgent", findings) for one in witnesses.distinct("ContrastBolusAgent")]
    named = [agent for agent in stated if agent]
    given = [agent for agent in named if agent.upper() not in _NO_CONTRAST]
    labels = [*(agent["text"] for agent in coded if "text" in agent), *given]
    if not coded and not named:
        return []
    details = [
        {"url": "contrastBolusDetails", "valueReference": {"type": "MedicationAdministration", "display": label}}
        for label in dict.fromkeys(labels)
    ]
    return [
        {"url": mii.CONTRAST, "extension": [{"url": "contrastBolus", "valueBoolean": bool(coded or given)}, *details]}
    ]


def custodian(witnesses: Witnesses, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """Return ``series.performer`` of the institution (0008,0080): function CST, by display (HL7 Europe's profile)."""
    if not includes(settings.detail, "acquisition"):
        return []
    name = one_text(witnesses.majority("InstitutionName"), "InstitutionName", findings)
    function = {"coding": [{"system": PARTICIPATION_TYPE, "code": "CST"}]}
    return [{"function": function, "actor": {"type": "Organization", "display": name}}] if name else []
