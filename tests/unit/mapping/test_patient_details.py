"""Names to use, gender identity, pronouns, animals and who is responsible for a patient."""

import pytest

from sync.config import MappingSettings
from sync.mapping.bundle import build_bundle
from tests.mapping_rows import STUDY, row

GENDER_IDENTITY = "http://hl7.org/fhir/StructureDefinition/patient-genderIdentity"
PRONOUNS = "http://hl7.org/fhir/StructureDefinition/individual-pronouns"
ANIMAL = "http://hl7.org/fhir/StructureDefinition/patient-animal"


def code(value, designator="SCT", meaning="Anything"):
    return {"CodeValue": [value], "CodingSchemeDesignator": [designator], "CodeMeaning": [meaning]}


def bundle(*, settings=None, **attributes):
    made, findings = build_bundle(STUDY, [row(1, **attributes)], settings or MappingSettings())
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in made["entry"]}, findings


def patient(**more):
    return bundle(**more)[0]["Patient"]


def test_a_name_to_use_is_usual_and_the_legal_name_official():
    names = patient(PersonNamesToUseSequence=[{"NameToUse": ["Alex\r\nB"]}, {"NameToUse": ["Alex\r\nB"]}])["name"]
    assert [(name["use"], name["text"]) for name in names] == [
        ("official", "Dr. Tina Maria Testmann"),
        ("usual", "Alex B"),
    ]


def test_gender_identity_and_pronouns_are_extensions_and_leave_gender_alone():
    identity = {"GenderIdentityCodeSequence": [code("446141000124107", meaning="Female gender identity")]}
    made = patient(
        GenderIdentitySequence=[identity, {"GenderIdentityComment": ["in words"]}],
        ThirdPersonPronounsSequence=[{"PronounCodeSequence": [code("LA29519-8", "LN", "she/her")]}],
    )
    assert made["gender"] == "female"
    first, second, third = made["extension"]
    assert first["url"] == second["url"] == GENDER_IDENTITY
    assert first["valueCodeableConcept"]["coding"][0]["code"] == "446141000124107"
    assert second["valueCodeableConcept"] == {"text": "in words"}
    assert third["url"] == PRONOUNS
    assert third["extension"][0]["valueCodeableConcept"]["coding"][0]["system"] == "http://loinc.org"


def test_an_animal_has_its_species_breed_and_status_if_settings_ask():
    said = {
        "PatientSpeciesCodeSequence": [code("448771007")],
        "PatientBreedDescription": ["Beagle"],
        "PatientSexNeutered": ["UNALTERED"],
    }
    assert "extension" not in patient(**said)
    [animal] = patient(settings=MappingSettings(patient_species=True), **said)["extension"]
    assert animal["url"] == ANIMAL
    parts = {extension["url"]: extension["valueCodeableConcept"] for extension in animal["extension"]}
    assert parts["species"]["coding"][0]["code"] == "448771007"
    assert parts["breed"] == {"text": "Beagle"}
    assert parts["genderStatus"]["coding"][0]["code"] == "intact"


def test_who_is_responsible_is_a_contact_if_settings_ask():
    said = {
        "ResponsiblePerson": ["Owner^Otto"],
        "ResponsiblePersonRole": ["OWNER"],
        "ResponsibleOrganization": ["Farm"],
    }
    assert "contact" not in patient(**said)
    [contact] = patient(settings=MappingSettings(patient_responsible_person=True), **said)["contact"]
    assert contact["name"]["text"] == "Otto Owner"
    assert contact["relationship"] == [{"text": "Owner"}]
    assert contact["organization"]["display"] == "Farm"


@pytest.mark.parametrize("udi", ["(01)04012345678901(21)77", "+H123ABC/S77", "=/A9=,77"])
def test_a_udi_with_a_serial_number_makes_a_device(udi):
    made = bundle(UDISequence=[{"UniqueDeviceIdentifier": [udi]}])[0]["Device"]
    assert made["udiCarrier"][0]["carrierHRF"] == udi
    assert ("deviceIdentifier" in made["udiCarrier"][0]) == udi.startswith("(01)")


def test_a_udi_of_a_model_makes_no_device_and_never_the_one_of_another_scanner():
    model = [{"UniqueDeviceIdentifier": ["(01)04012345678901"]}]
    assert "Device" not in bundle(UDISequence=model)[0]
    scanner = {"Manufacturer": ["Maker"], "DeviceSerialNumber": ["77"]}
    with_udi, without = bundle(UDISequence=model, **scanner)[0]["Device"], bundle(**scanner)[0]["Device"]
    assert with_udi["id"] != without["id"]
    assert with_udi["udiCarrier"][0]["deviceIdentifier"] == "04012345678901"


def test_software_versions_are_shown_on_the_series_and_not_in_the_device():
    scanner = {"Manufacturer": ["Maker"], "DeviceSerialNumber": ["77"]}
    old, new = (bundle(SoftwareVersions=versions, **scanner)[0] for versions in (["VA1"], ["VB2", "HF1"]))
    assert old["Device"] == new["Device"]
    [performer] = new["ImagingStudy"]["series"][0]["performer"]
    assert performer["actor"]["display"] == "Maker, version VB2, HF1"


def test_an_admission_is_an_encounter_by_identifier():
    study = bundle(
        AdmissionID=["V-1"],
        IssuerOfAdmissionIDSequence=[{"UniversalEntityID": ["2.16.8.77"], "UniversalEntityIDType": ["ISO"]}],
    )[0]["ImagingStudy"]
    assert study["encounter"]["type"] == "Encounter"
    identifier = study["encounter"]["identifier"]
    assert (identifier["system"], identifier["value"]) == ("urn:oid:2.16.8.77", "V-1")
    assert identifier["type"]["coding"][0]["code"] == "VN"


def test_requested_procedures_count_where_none_is_said_to_be_performed():
    requested = {"RequestedProcedureCodeSequence": [code("R-1", "99X")]}
    within = {"RequestAttributesSequence": [{"RequestedProcedureCodeSequence": [code("R-2", "99X")]}]}
    study = bundle(**requested, **within)[0]["ImagingStudy"]
    assert [concept["coding"][0]["code"] for concept in study["procedureCode"]] == ["R-1", "R-2"]
    study = bundle(**requested, ProcedureCodeSequence=[code("P-1", "99X")])[0]["ImagingStudy"]
    assert [concept["coding"][0]["code"] for concept in study["procedureCode"]] == ["P-1"]


def test_a_container_is_found_by_its_own_number():
    issuer = [{"UniversalEntityID": ["2.16.8.78"], "UniversalEntityIDType": ["ISO"]}]
    study = bundle(ContainerIdentifier=["S24-1-A"], IssuerOfTheContainerIdentifierSequence=issuer)[0]["ImagingStudy"]
    [specimen] = study["series"][0]["specimen"]
    assert specimen["identifier"]["value"] == "S24-1-A"
    assert specimen["identifier"]["system"] == "urn:oid:2.16.8.78"
    assert specimen["identifier"]["type"] == {"text": "Container Identifier"}
