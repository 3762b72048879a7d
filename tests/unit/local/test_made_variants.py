"""
Made files of each kind that a DICOM service drops from, changes or cannot give: the same FHIR however they are read.

Beside those of the service's own code (`test_dicom_stand_in`) and random values of single attributes
(`tests/property/test_read_either_way.py`): items, character sets, reports.
"""

from __future__ import annotations

import warnings

import pytest
from pydicom.dataset import Dataset

from tests.dicom_services import FeedWorld
from tests.property.test_read_either_way import MUST, TAGS, fhir, kept, of_file, of_service
from tests.reports import BASIC, code, ct_dose, measurements, projection_dose, report, text, text_report
from tests.worlds import dicom

WHOLE = {
    "Modality": "CT",
    "PatientID": "P1",
    "PatientName": "A^B",
    "PatientSex": "F",
    "PatientBirthDate": "19800101",
    "StudyDate": "20240117",
    "StudyTime": "101530",
    "StudyID": "1",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "R^R",
    "SeriesNumber": "1",
    "InstanceNumber": "1",
    "Manufacturer": "M",
}
"""Attributes of type 1 and 2: whatever else is dropped, no header is read for it."""


def item(**attributes):
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def images():
    """Return what each is beside what is usual, by name."""
    return {
        "patient id empty in an item": {"OtherPatientIDsSequence": [item(PatientID="", IssuerOfPatientID="X")]},
        "date invalid in an item": {"RequestAttributesSequence": [item(StudyDate="2024.01.17")]},
        "accession number too long in an item": {"RequestAttributesSequence": [item(AccessionNumber="x" * 17)]},
        "modality in lower case in an item": {"ReferencedStudySequence": [item(Modality="ct")]},
        "code too long in an item": {
            "AnatomicRegionSequence": [item(CodeValue="x" * 17, CodingSchemeDesignator="SCT")]
        },
        "issuer in an item": {"IssuerOfAccessionNumberSequence": [item(LocalNamespaceEntityID="X")]},
        "tab in an item": {
            "ProcedureCodeSequence": [item(CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning="a\tb")]
        },
        "accession number too long": {"AccessionNumber": "A" * 17},
        "patient id of two values": {"PatientID": "P1\\P2"},
        "modality of two values": {"Modality": "CT\\MR"},
        "description with a backslash": {"StudyDescription": "a\\b"},
        "description too long": {"SeriesDescription": "x" * 70},
        "name of seven components": {"PatientName": "A^B^C^D^E^F^G"},
        "sex in lower case": {"PatientSex": "f"},
        "birth date of a year": {"PatientBirthDate": "1980"},
        "time with colons": {"StudyTime": "10:15"},
        "offset too short": {"TimezoneOffsetFromUTC": "+1"},
        "number with a fraction": {"InstanceNumber": "1.0"},
        "blanks around": {"PatientID": "  P1  ", "StudyDescription": "  x  "},
        "lines and a bell": {"PatientComments": "line1\r\nline2\x07"},
        "names, one empty": {"NameOfPhysiciansReadingStudy": ["A^B", ""]},
        "unreadable decimal": {"SliceThickness": "8.1E28"},
        "Latin-9": {"SpecificCharacterSet": "ISO_IR 203", "PatientName": "Œuvre^Ÿ€"},
        "Chinese, GB18030": {"SpecificCharacterSet": "GB18030", "PatientName": "王^小东"},
        "Chinese, IR 58": {"SpecificCharacterSet": ["", "ISO 2022 IR 58"], "StudyDescription": "中文"},
        "Japanese": {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "PatientName": "Y^T=山田^太郎",
            "PatientID": "山田",
        },
        "Korean": {"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "PatientName": "H^G=洪^吉洞=홍^길동"},
    }


REPORTS = {
    "measurements": measurements,
    "dose": lambda: ct_dose("412.5"),
    "dose of many digits": lambda: ct_dose("123456789.123456"),
    "dose too large": lambda: ct_dose("1E18"),
    "dose too small": lambda: ct_dose("1E-30"),
    "projection dose": projection_dose,
    "text": text_report,
    "flag in lower case": lambda: report(BASIC, code("11528-7", "LN"), CompletionFlag="complete"),
    "escape and a backslash in a text": lambda: report(
        BASIC,
        code("11528-7", "LN", "Rad\\Rep"),
        text(code("121071"), "ab\\cd\x1b é"),
        SpecificCharacterSet="ISO_IR 192",
    ),
}
WORLDS = {setting: FeedWorld(dicom_header=setting) for setting in ("always", "when-needed")}


def files():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = {name: dicom(**WHOLE | attributes) for name, attributes in images().items()}
        return made | {name: make() for name, make in REPORTS.items()}


@pytest.mark.parametrize(("name", "content"), files().items(), ids=files().keys())
def test_it_becomes_the_same_fhir_however_it_is_read(name, content):
    file, made = of_file(content), kept(content)
    assert file is not None, name
    assert made is not None, name
    assert fhir(of_service(WORLDS["always"], content, made)) == fhir(file)
    told = of_service(WORLDS["when-needed"], content, made)
    unknowable = {TAGS[keyword].tag for keyword in TAGS if keyword not in MUST}
    if not {int(tag, 16) for tag in made.dropped} & unknowable:
        assert fhir(told) == fhir(file)
    for keyword in MUST:
        assert told.attributes.get(keyword) == file.attributes.get(keyword), keyword
