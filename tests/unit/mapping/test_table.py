"""The table of the mapping is complete, and says what the code does."""

import pytest

from sync.config import MappingSettings
from sync.dicom.attributes import CODE, CONTENT, EXTRACTED, EXTRACTED_OF_DOCUMENTS, IDENTITY, walk
from sync.dicom.detail import ACQUISITION, BODY, IMAGE
from sync.mapping.bundle import build_bundle
from sync.model import StudyRef
from tests import mapping_rows
from tests.docs.mapping_table import CONTENT_ITEM, DETAIL, DOCUMENT, INSTANCE, MACROS, PATIENT, SERIES, STUDY

ROWS = (*PATIENT, *STUDY, *SERIES, *INSTANCE)
MAPPING = MappingSettings(
    timezone="Europe/Berlin",
    study_id_system="urn:oid:2.16.840.8",
    patient_other_names=True,
    patient_species=True,
    patient_responsible_person=True,
)


def code(value="1", designator="99X", **more):
    return {"CodeValue": [value], "CodingSchemeDesignator": [designator], "CodeMeaning": ["Anything"], **more}


PERSON = [{"PersonIdentificationCodeSequence": [code("D-1")], "InstitutionName": ["Elsewhere"]}]
OID = [{"UniversalEntityID": ["2.16.840.77"], "UniversalEntityIDType": ["ISO"]}]
REQUEST = [{"AccessionNumber": ["A-99"], "ReasonForTheRequestedProcedure": ["Fall"]}]

OTHERS = {
    "PatientID": ["9999"],
    "IssuerOfPatientID": ["Elsewhere"],
    "IssuerOfPatientIDQualifiersSequence": [OID[0] | {"IdentifierTypeCode": ["PI"]}],
    "OtherPatientIDsSequence": [{"PatientID": ["B-1"]}],
    "PatientName": ["Other^One"],
    "OtherPatientNames": ["Alias^One", "Alias^Two"],
    "PatientBirthName": ["Maiden"],
    "PatientSex": ["M"],
    "PatientBirthDate": ["19600102"],
    "PatientBirthTime": ["0102"],
    "PatientSpeciesCodeSequence": [code("448771007", "SCT")],
    "PersonNamesToUseSequence": [{"NameToUse": ["Alex"]}],
    "GenderIdentitySequence": [{"GenderIdentityCodeSequence": [code("446141000124107", "SCT")]}],
    "ThirdPersonPronounsSequence": [{"PronounCodeSequence": [code("LA29519-8", "LN")]}],
    "PatientSpeciesDescription": ["Cat"],
    "PatientBreedCodeSequence": [code("1")],
    "PatientBreedDescription": ["Persian"],
    "PatientSexNeutered": ["ALTERED"],
    "ResponsiblePerson": ["Owner^One"],
    "ResponsiblePersonRole": ["OWNER"],
    "ResponsibleOrganization": ["Farm"],
    "AdmissionID": ["V-1"],
    "IssuerOfAdmissionIDSequence": OID,
    "RequestedProcedureCodeSequence": [code("3")],
    "UDISequence": [{"UniqueDeviceIdentifier": ["(01)04012345678901(21)77"]}],
    "SoftwareVersions": ["VA30", "VB1"],
    "ContainerIdentifier": ["C-1"],
    "IssuerOfTheContainerIdentifierSequence": OID,
    "PatientIdentityRemoved": ["YES"],
    "AccessionNumber": ["A-78"],
    "IssuerOfAccessionNumberSequence": OID,
    "StudyID": ["S-1"],
    "StudyDate": ["20240118"],
    "StudyTime": ["0900"],
    "TimezoneOffsetFromUTC": ["-0500"],
    "RequestAttributesSequence": REQUEST,
    "ReferencedRequestSequence": REQUEST,
    "ReferringPhysicianName": ["Other^One"],
    "ReferringPhysicianIdentificationSequence": PERSON,
    "NameOfPhysiciansReadingStudy": ["Other^One", "Other^Two"],
    "PhysiciansReadingStudyIdentificationSequence": PERSON,
    "ProcedureCodeSequence": [code("2")],
    "ReasonForPerformedProcedureCodeSequence": [code()],
    "PerformedLocation": ["Room 1"],
    "InstitutionalDepartmentName": ["Radiology"],
    "InstitutionName": ["Hospital"],
    "StudyDescription": ["Other"],
    "CodingSchemeIdentificationSequence": [{"CodingSchemeDesignator": ["99Q"], "CodingSchemeUID": ["2.16.840.5"]}],
    "SeriesNumber": ["77"],
    "Modality": ["MR"],
    "SeriesDescription": ["Other"],
    "SeriesDate": ["20240118"],
    "SeriesTime": ["0900"],
    "AnatomicRegionSequence": [code("69536005", "SCT")],
    "BodyPartExamined": ["head"],
    "Laterality": ["L"],
    "ImageLaterality": ["L"],
    "PerformingPhysicianName": ["Other^One"],
    "PerformingPhysicianIdentificationSequence": PERSON,
    "OperatorsName": ["Other^One"],
    "OperatorIdentificationSequence": PERSON,
    "DeviceUID": ["1.2.9"],
    "Manufacturer": ["Other"],
    "ManufacturerModelName": ["Other"],
    "DeviceSerialNumber": ["77"],
    "StationName": ["ROOM1"],
    "SpecimenDescriptionSequence": [{"SpecimenIdentifier": ["S-1"], "SpecimenUID": ["1.2.3"]}],
    "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.4"],
    "InstanceNumber": ["77"],
    "NumberOfFrames": ["3"],
    "DocumentTitle": ["Other"],
    "ConceptNameCodeSequence": [code()],
    "ContentLabel": ["OTHER"],
}
"""For every attribute a value that the typical study does not have."""

BASE = {
    "Manufacturer": ["Maker"],
    "ManufacturerModelName": ["Model"],
    "DeviceSerialNumber": ["4711"],
    "SeriesDate": ["20240117"],
    "SeriesTime": ["1016"],
    "PatientBirthTime": ["1200"],
    "PatientSpeciesDescription": ["Dog"],
    "ResponsiblePerson": ["Base^One"],
    "AdmissionID": ["V-0"],
    "ContainerIdentifier": ["C-0"],
    "ProcedureCodeSequence": [code(designator="99Q")],
}
WITHOUT = {
    "BodyPartExamined": ("AnatomicRegionSequence",),
    "PhysiciansReadingStudyIdentificationSequence": ("NameOfPhysiciansReadingStudy",),
}


def paths(value, at=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from ((where, (position, what)) for where, what in paths(inner, at))
    else:
        yield at, value


def said(study=mapping_rows.STUDY, **attributes):
    made = mapping_rows.row(1, study=study, **{**BASE, **attributes})
    bundle, _ = build_bundle(study, [made], MAPPING)
    pairs = set()
    for entry in bundle["entry"]:
        kind = entry["resource"]["resourceType"]
        pairs |= {(f"{kind}.{path}", repr(what)) for path, what in paths(entry["resource"])}
    return pairs


INSTEAD = {"RequestedProcedureCodeSequence": {"ProcedureCodeSequence": []}}
"""Attributes that count only where others are absent."""


def changed(**attributes):
    absent = {k: v for keyword in attributes for k, v in INSTEAD.get(keyword, {}).items()}
    return {path for path, _ in said(**absent) ^ said(**absent, **attributes)}


@pytest.mark.parametrize("row", ROWS, ids=[row.keyword for row in ROWS])
def test_an_attribute_changes_what_its_row_names_and_nothing_else(row):
    if row.keyword == "StudyInstanceUID":
        paths_changed = {path for path, _ in said() ^ said(StudyRef(study_instance_uid="1.2.840.99999.2"))}
    elif row.keyword in OTHERS:
        paths_changed = changed(**{row.keyword: OTHERS[row.keyword]})
    else:
        assert row.keyword in {"SeriesInstanceUID", "SOPInstanceUID"} or row.fhir == ()
        return
    below = {path: [named for named in row.fhir if f"{path}.".startswith(f"{named}.")] for path in paths_changed}
    assert [path for path, named in below.items() if not named] == []
    assert {one for named in below.values() for one in named} == set(row.fhir)


def test_every_attribute_that_is_read_has_one_row_and_no_row_names_another():
    keywords = [row.keyword for row in ROWS]
    assert len(set(keywords)) == len(keywords)
    assert set(keywords) == {row.keyword for row in (*EXTRACTED, *IDENTITY)}


def test_every_attribute_of_documents_has_one_row_too():
    read = {row.keyword for row in (*EXTRACTED_OF_DOCUMENTS, CONTENT)} - {row.keyword for row in EXTRACTED}
    assert sorted(row.keyword for row in DOCUMENT) == sorted(read)
    assert sorted(row.keyword for row in CONTENT_ITEM) == sorted(
        {row.keyword for row in CONTENT.children} | {CONTENT.keyword}
    )


def test_every_item_that_is_read_has_its_rows_and_no_row_names_another():
    named = {sequence: macro for macro in MACROS for sequence in macro.sequences}
    read = {macro.title: set() for macro in MACROS}
    for row in walk(EXTRACTED):
        if row.children:
            children = {child.keyword for child in row.children}
            macro = named[row.keyword]
            assert children <= {row.keyword for row in macro.rows}, row.keyword
            read[macro.title] |= children
    assert read == {macro.title: {row.keyword for row in macro.rows} for macro in MACROS}
    assert set(named) == {row.keyword for row in walk(EXTRACTED) if row.children}


def test_every_attribute_of_each_level_of_detail_is_in_the_table():
    levels = dict(zip(("acquisition", "body", "full"), (ACQUISITION, BODY, IMAGE), strict=True))
    inside = {"CodeValue", *(row.keyword for row in walk(CODE))}
    for level, rows in levels.items():
        read = {row.keyword for row in walk(rows)} - inside
        assert {row.keyword for row in DETAIL[level]} == read
