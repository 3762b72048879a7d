"""Reports made with pydicom: doses (TID 10001, 10011, 10021), measurements (TID 1500), text. Invented data."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from tests.worlds import dicom

BASIC, ENHANCED, COMPREHENSIVE, COMPREHENSIVE_3D = (f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in ("11", "22", "33", "34"))
XRAY_DOSE, NUCLEAR_DOSE = (f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in ("67", "68"))
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
PDF, CDA = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"


def code(value: str, designator: str = "DCM", meaning: str = "Anything") -> Dataset:
    """One coded entry."""
    entry = Dataset()
    entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = value, designator, meaning
    return entry


def item(kind: str, name: Dataset | None, *held: Dataset, rel: str = "CONTAINS", **elements: Any) -> Dataset:
    """One content item with those that it holds."""
    made = Dataset()
    made.RelationshipType, made.ValueType = rel, kind
    if name is not None:
        made.ConceptNameCodeSequence = [name]
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    if held:
        made.ContentSequence = list(held)
    return made


def container(name: Dataset, *held: Dataset) -> Dataset:
    return item("CONTAINER", name, *held)


def number(name: Dataset, value: str | None, unit: str = "1", *held: Dataset, scheme: str = "UCUM") -> Dataset:
    """NUM item; None leaves the measured value empty."""
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = [code(unit, scheme, unit)]
    if value is not None:
        measured.NumericValue = value
    return item("NUM", name, *held, MeasuredValueSequence=[measured] if value is not None else [])


def text(name: Dataset, value: str, *held: Dataset, rel: str = "CONTAINS") -> Dataset:
    return item("TEXT", name, *held, rel=rel, TextValue=value)


def coded(name: Dataset, value: Dataset, *held: Dataset, rel: str = "CONTAINS") -> Dataset:
    return item("CODE", name, *held, rel=rel, ConceptCodeSequence=[value])


def uidref(name: Dataset, value: str, *, rel: str = "HAS OBS CONTEXT") -> Dataset:
    return item("UIDREF", name, rel=rel, UID=value)


def report(sop_class: str, title: Dataset | None, *held: Dataset, **attributes: Any) -> bytes:
    """A report as a file."""
    usual: dict[str, Any] = {
        "SOPClassUID": sop_class,
        "Modality": "SR",
        "ContentDate": "20260103",
        "ContentTime": "101500",
        "TimezoneOffsetFromUTC": "+0100",
        "StudyTime": "0900",
        "AccessionNumber": "A1",
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "VERIFIED",
    }
    if title is not None:
        usual["ConceptNameCodeSequence"] = [title]
    if held:
        usual["ContentSequence"] = list(held)
    return dicom(**{**usual, **attributes})


OBSERVER = (
    coded(code("121005"), code("121007"), rel="HAS OBS CONTEXT"),
    uidref(code("121012"), "2.25.777"),
    text(code("121014"), "Maker", rel="HAS OBS CONTEXT"),
    text(code("121015"), "Model X", rel="HAS OBS CONTEXT"),
)


def ct_dose(dlp: str | None = "412.5", unit: str = "mGy.cm", **attributes: Any) -> bytes:
    """TID 10011, with an event whose values must not count as totals."""
    acquisition = container(
        code("113819", meaning="CT Acquisition"),
        container(code("113829"), number(code("113830", meaning="Mean CTDIvol"), "8.1", "mGy")),
    )
    return report(
        XRAY_DOSE,
        code("113701", meaning="X-Ray Radiation Dose Report"),
        coded(code("121058", meaning="Procedure reported"), code("77477000", "SCT", "CT"), rel="HAS CONCEPT MOD"),
        *OBSERVER,
        item("DATETIME", code("113809"), DateTime="20260102090500", rel="CONTAINS"),
        container(
            code("113811", meaning="CT Accumulated Dose Data"),
            number(code("113812", meaning="Total Number of Irradiation Events"), "2", "{events}"),
            number(code("113813", meaning="CT Dose Length Product Total"), dlp, unit),
        ),
        acquisition,
        **attributes,
    )


def projection_dose(*totals: Dataset, **attributes: Any) -> bytes:
    """TID 10001 of two planes."""
    planes = [
        container(
            code("113702", meaning="Accumulated X-Ray Dose Data"),
            coded(code("113764"), code(plane, meaning=f"Plane {letter}"), rel="HAS CONCEPT MOD"),
            number(code("113722", meaning="Dose Area Product Total"), "0.00027", "Gym2", scheme="UCM"),
            number(code("113725", meaning="Dose (RP) Total"), None, "Gy"),
            number(code("001", "99PHI", "Height of System"), "1134", "mm"),
            *totals,
        )
        for plane, letter in (("113620", "A"), ("113621", "B"))
    ]
    authorizing = coded(code("113875"), code("113850"), rel="HAS PROPERTIES")
    return report(
        XRAY_DOSE,
        code("113701", meaning="X-Ray Radiation Dose Report"),
        coded(code("121058"), code("113704", meaning="Projection X-Ray"), rel="HAS CONCEPT MOD"),
        *planes,
        item("PNAME", code("113870"), authorizing, PersonName="Strahl^Ina", rel="HAS OBS CONTEXT"),
        **attributes,
    )


def nuclear_dose(**attributes: Any) -> bytes:
    """TID 10021."""
    agent = coded(
        code("349358000", "SCT", "Radiopharmaceutical agent"),
        code("35321007", "SCT", "FDG"),
        coded(code("89457008", "SCT", "Radionuclide"), code("77004003", "SCT", "18F"), rel="HAS PROPERTIES"),
    )
    return report(
        NUCLEAR_DOSE,
        code("113500", meaning="Radiopharmaceutical Radiation Dose Report"),
        coded(code("121058"), code("113502", meaning="Radiopharmaceutical Administration"), rel="HAS CONCEPT MOD"),
        container(
            code("113502", meaning="Radiopharmaceutical Administration"),
            agent,
            item("DATETIME", code("123003"), DateTime="20260102083000.5-0500"),
            number(code("113507", meaning="Administered activity"), "210", "MBq"),
            number(code("123005", meaning="Radiopharmaceutical Volume"), "2.5", "cm3"),
            coded(code("410675002", "SCT", "Route of administration"), code("47625008", "SCT", "Intravenous")),
        ),
        **attributes,
    )


def measurements(*more: Dataset, **attributes: Any) -> bytes:
    """TID 1500 with one group of an algorithm's; ``more`` goes into it."""
    group = container(
        code("125007", meaning="Measurement Group"),
        text(code("112039"), "Lesion 1", rel="HAS OBS CONTEXT"),
        uidref(code("112040"), "2.25.4711"),
        text(code("111001"), "NodeFinder", rel="HAS OBS CONTEXT"),
        text(code("111003"), "2.1", rel="HAS OBS CONTEXT"),
        coded(code("276214006", "SCT", "Finding category"), code("49755003", "SCT", "Morphologically abnormal")),
        coded(code("121071", meaning="Finding"), code("27925004", "SCT", "Nodule")),
        coded(
            code("363698007", "SCT", "Finding Site"),
            code("39607008", "SCT", "Lung"),
            coded(code("272741003", "SCT", "Laterality"), code("24028007", "SCT", "Right"), rel="HAS CONCEPT MOD"),
            rel="HAS CONCEPT MOD",
        ),
        coded(code("370129005", "SCT", "Method"), code("126410", meaning="SUV body weight"), rel="HAS CONCEPT MOD"),
        number(
            code("81827009", "SCT", "Diameter"),
            "10.50",
            "mm",
            coded(code("121401", meaning="Derivation"), code("373098007", "SCT", "Mean"), rel="HAS CONCEPT MOD"),
        ),
        coded(code("121403", meaning="Level of Significance"), code("371928007", "SCT", "Not significant")),
        text(code("121106", meaning="Comment"), "seen before"),
        *more,
    )
    return report(
        COMPREHENSIVE_3D,
        code("126000", meaning="Imaging Measurement Report"),
        item("PNAME", code("121008"), PersonName="Lese^Rita", rel="HAS OBS CONTEXT"),
        *OBSERVER,
        container(code("126010", meaning="Imaging Measurements"), group),
        **attributes,
    )


def text_report(sop_class: str = BASIC, **attributes: Any) -> bytes:
    """A report in words."""
    return report(
        sop_class,
        code("11528-7", "LN", "Radiology Report"),
        container(
            code("121070", meaning="Findings"), text(code("121071", meaning="Finding"), "A <b>nodule</b> & more\nseen")
        ),
        container(
            code("121076", meaning="Conclusions"),
            text(code("121077", meaning="Conclusion"), "Benign."),
            text(code("121077", meaning="Conclusion"), "No follow-up."),
        ),
        **attributes,
    )


def replacing_report(**attributes: Any) -> bytes:
    """A report in place of another."""
    reference, series, before = Dataset(), Dataset(), Dataset()
    reference.ReferencedSOPInstanceUID = "2.25.99"
    series.ReferencedSOPSequence, before.ReferencedSeriesSequence = [reference], [series]
    return text_report(PredecessorDocumentsSequence=[before], **attributes)
