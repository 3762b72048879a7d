"""People, equipment and specimens: references that nothing is made for but Devices."""

import pytest

from tests.mapping_rows import row
from tests.unit.mapping.test_imaging_study import built, codes, series_of, study_of

ROLE = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def person(code, designator="99HOSP", **more):
    item = {"CodeValue": [code], "CodingSchemeDesignator": [designator], "CodeMeaning": ["A reader"]}
    return {"PersonIdentificationCodeSequence": [item], **more}


def test_a_referrer_has_name_and_identifier():
    made = built(row(ReferringPhysicianIdentificationSequence=[person("D-1", InstitutionName=["Praxis"])]))
    assert made.imaging_study["referrer"] == {
        "type": "Practitioner",
        "identifier": {"value": "D-1", "assigner": {"display": "Praxis"}},
        "display": "Bert Beispiel",
    }
    assert codes(made) == [("PersonIdentificationCodeSequence", "coding.unknown_scheme")]


def test_readers_are_paired_with_their_ids_if_there_are_as_many():
    ids = [person("1.2.3", "DCM"), person("4.5.6", "DCM")]
    said = {"NameOfPhysiciansReadingStudy": ["Eins^Eva", "Zwei^Zoe"]}
    paired = study_of(row(PhysiciansReadingStudyIdentificationSequence=ids, **said))["interpreter"]
    assert [(one["display"], one["identifier"]["value"]) for one in paired] == [
        ("Eva Eins", "1.2.3"),
        ("Zoe Zwei", "4.5.6"),
    ]
    alone = built(row(PhysiciansReadingStudyIdentificationSequence=ids[:1], **said))
    assert [sorted(one) for one in alone.imaging_study["interpreter"]] == [["display", "type"]] * 2
    assert codes(alone) == [("PhysiciansReadingStudyIdentificationSequence", "person.unmatched_ids")]


def test_an_id_alone_is_a_reference_and_an_empty_one_is_none():
    made = study_of(row(PhysiciansReadingStudyIdentificationSequence=[person("7", "DCM"), {}]))
    assert [one["display"] for one in made["interpreter"]] == ["A reader"]
    assert "interpreter" not in study_of(row(NameOfPhysiciansReadingStudy=["^^^^", " "]))


def test_a_blank_name_keeps_its_place():
    names, ids = ["", "Zwei^Zoe"], [{}, person("4.5.6", "DCM")]
    made = study_of(row(NameOfPhysiciansReadingStudy=names, PhysiciansReadingStudyIdentificationSequence=ids))
    assert [(one["display"], one["identifier"]["value"]) for one in made["interpreter"]] == [("Zoe Zwei", "4.5.6")]


def test_performers_have_their_functions():
    said = {"PerformingPhysicianName": ["Arzt^Anna"], "OperatorsName": ["Mta^Max", "Mta^Mia"], "StationName": ["CT1"]}
    made = series_of(row(**said))[0]["performer"]
    assert [(one["function"]["coding"][0]["code"], one["actor"]["display"]) for one in made] == [
        ("PRF", "Anna Arzt"),
        ("SPRF", "Max Mta"),
        ("SPRF", "Mia Mta"),
        ("DEV", "(CT1)"),
    ]
    assert {one["function"]["coding"][0]["system"] for one in made} == {ROLE}


SCANNER = {"Manufacturer": ["Maker"], "ManufacturerModelName": ["Model"], "DeviceSerialNumber": ["47"]}


def test_a_scanner_with_a_serial_number_is_a_device():
    made = built(row(StationName=["CT1"], **SCANNER))
    (device,) = made.devices
    assert device == {
        "resourceType": "Device",
        "id": device["id"],
        "manufacturer": "Maker",
        "serialNumber": "47",
        "deviceName": [{"name": "Model", "type": "model-name"}],
    }
    assert made.imaging_study["series"][0]["performer"][0]["actor"] == {
        "reference": f"Device/{device['id']}",
        "type": "Device",
        "display": "Maker Model (CT1)",
    }


def test_a_scanner_is_one_device_whatever_is_said_of_its_station_and_software():
    one = built(row(1, StationName=["CT1"], **SCANNER)).devices
    other = built(row(2, series="1.9", StationName=["CT2"], InstitutionName=["Elsewhere"], **SCANNER)).devices
    assert one == other
    both = built(
        row(1, **SCANNER), row(2, series="1.9", **SCANNER), row(3, series="1.8", **SCANNER | {"DeviceUID": ["1.2"]})
    )
    assert len(both.devices) == 2


def test_a_device_uid_identifies_by_itself():
    (device,) = built(row(DeviceUID=["1.2.3"])).devices
    assert device["identifier"] == [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}]


@pytest.mark.parametrize(
    "said",
    [
        {"Manufacturer": ["Maker"], "ManufacturerModelName": ["Model"]},
        {"DeviceSerialNumber": ["47"]},
        SCANNER | {"DeviceSerialNumber": ["000000"]},
        SCANNER | {"DeviceSerialNumber": ["Unknown"]},
        {"DeviceUID": ["not a uid"]},
        {"StationName": ["CT1"]},
    ],
)
def test_what_cannot_be_told_from_others_is_no_device(said):
    made = built(row(**said))
    assert made.devices == ()
    actors = [one["actor"] for one in made.imaging_study["series"][0].get("performer", [])]
    assert all(sorted(actor) == ["display", "type"] for actor in actors)


def specimen(**more):
    return {"SpecimenIdentifier": ["S-1"], "SpecimenUID": ["1.2.3"], **more}


def test_a_specimen_goes_by_its_identifier_if_the_issuer_is_named():
    issuer = [{"UniversalEntityID": ["https://lab.example"], "UniversalEntityIDType": ["URI"]}]
    item = specimen(IssuerOfTheSpecimenIdentifierSequence=issuer)
    rows = [row(n, SpecimenDescriptionSequence=[item]) for n in (1, 2)]
    assert series_of(*rows)[0]["specimen"] == [
        {"type": "Specimen", "identifier": {"system": "https://lab.example", "value": "S-1"}, "display": "S-1"}
    ]


def test_a_specimen_of_an_unnamed_issuer_goes_by_its_uid():
    items = [specimen(), specimen(SpecimenUID=["not a uid"]), {}]
    assert codes(built(row(SpecimenDescriptionSequence=items))) == [("SpecimenUID", "uid.unusable")]
    assert [one["identifier"] for one in series_of(row(SpecimenDescriptionSequence=items))[0]["specimen"]] == [
        {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
        {"value": "S-1"},
    ]
