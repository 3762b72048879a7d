import pytest

from sync.config import MappingSettings
from sync.mapping.patient import build_patient, claim_patient
from sync.model import PatientRow, StudyRef
from tests.mapping_rows import SETTINGS, STUDY, row


def claim(*rows, study=STUDY):
    return claim_patient(study, rows or (row(),), SETTINGS)


def patient_row(uid="1.2.3", study_date="2024-01-17", **attributes):
    said = {"PatientID": ["4711"], **attributes}
    return PatientRow(patient_key="k", study=StudyRef(study_instance_uid=uid), study_date=study_date, attributes=said)


def built(*rows):
    return build_patient("k", rows, SETTINGS)


def codes(study):
    return [(f.keyword, f.code) for f in study.findings]


def test_a_claim_holds_identity_display_and_nothing_but_demographics():
    made = claim()
    assert (made.system, made.value) == ("urn:dicom-fhir-sync:patient-id", "4711")
    assert made.display == "Dr. Tina Maria Testmann"
    assert made.study_date == "2024-01-17"
    assert set(made.attributes) == {"PatientID", "PatientName", "PatientSex", "PatientBirthDate"}
    assert made.findings == ()


def test_the_key_follows_issuer_and_id_only():
    assert claim(row(StudyDate=["19990101"])).key == claim(row(PatientName=["Other^Name"])).key
    assert claim(row(PatientID=["4712"])).key != claim().key
    assert claim(row(IssuerOfPatientID=["HOSP"])).key != claim().key


def test_two_studies_without_patient_id_never_share_a_patient():
    one = claim(row(without=("PatientID",)))
    other = StudyRef(study_instance_uid="1.2.840.99999.2")
    two = claim(row(study=other, PatientID=[" "]), study=other)
    elsewhere = StudyRef(study_instance_uid=STUDY.study_instance_uid, partition="p2")
    three = claim(row(study=elsewhere, without=("PatientID",)), study=elsewhere)
    assert len({one.key, two.key, three.key}) == 3
    assert one.value is None
    assert one.system is None
    assert codes(one) == [("PatientID", "patient.no_id")]


def test_the_majority_decides_who_the_patient_is_and_the_others_have_no_say():
    rows = [row(1), row(2), row(3, PatientID=["9"], PatientName=["Wrong^Person"], PatientSex=["M"])]
    made = claim(*rows)
    assert made.value == "4711"
    assert made.attributes["PatientName"] == ["Testmann^Tina Maria^^Dr.^"]
    assert codes(made) == [("PatientID", "study.conflicting_values")]


def test_without_a_majority_the_smallest_wins():
    assert claim(row(1, PatientID=["B"]), row(2, PatientID=["A"])).value == "A"


def test_instances_that_say_nothing_have_no_vote():
    made = claim(row(1, PatientID=[]), row(2, without=("PatientID", "PatientSex")), row(3))
    assert made.value == "4711"
    assert made.attributes["PatientSex"] == ["F"]
    assert made.findings == ()


def test_an_id_never_gets_the_issuer_of_another_id():
    rows = [row(1), row(2), row(3, PatientID=["9"], IssuerOfPatientID=["HOSP"])]
    assert claim(*rows).system == "urn:dicom-fhir-sync:patient-id"


def test_a_patient_is_built_from_one_study():
    made = built(patient_row(**claim().attributes))
    assert made.resource == {
        "resourceType": "Patient",
        "id": "pt-k",
        "identifier": [
            {
                "use": "usual",
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "system": "urn:dicom-fhir-sync:patient-id",
                "value": "4711",
            }
        ],
        "name": [
            {
                "use": "usual",
                "text": "Dr. Tina Maria Testmann",
                "family": "Testmann",
                "given": ["Tina", "Maria"],
                "prefix": ["Dr."],
            }
        ],
        "gender": "female",
        "birthDate": "1952-11-03",
    }
    assert made.findings == ()


def test_the_latest_study_wins_element_by_element():
    made = built(
        patient_row("1.2.1", "2020-01-01", PatientName=["Old^Name"], PatientBirthDate=["19500101"]),
        patient_row("1.2.2", "2024-01-01", PatientName=["New^Name"], PatientBirthDate=[]),
    )
    assert made.resource["name"][0]["family"] == "New"
    assert made.resource["birthDate"] == "1950-01-01"
    assert codes(made) == [("PatientName", "patient.conflicting_values")]


def test_an_unusable_value_never_hides_a_usable_one():
    made = built(
        patient_row("1.2.1", "2020-01-01", PatientBirthDate=["19500101"]),
        patient_row("1.2.2", "2024-01-01", PatientBirthDate=["19500231"]),
    )
    assert made.resource["birthDate"] == "1950-01-01"
    assert codes(made) == [("PatientBirthDate", "date.impossible")]


def test_of_two_studies_of_one_day_the_greater_uid_wins():
    rows = [patient_row("1.2.1", PatientSex=["M"]), patient_row("1.2.2", PatientSex=["F"])]
    assert built(*rows).resource["gender"] == built(*reversed(rows)).resource["gender"] == "female"


def test_sex_is_mapped_and_never_invented():
    for stated, gender in [("M", "male"), ("f", "female"), ("O", "other"), ("X", "unknown"), ("U", "unknown")]:
        assert built(patient_row(PatientSex=[stated])).resource["gender"] == gender
    assert "gender" not in built(patient_row(PatientSex=[])).resource
    assert codes(built(patient_row(PatientSex=["X"]))) == [("PatientSex", "sex.unknown")]


def test_other_ids_are_a_union_without_wrist_bands_and_repeats():
    item = {"PatientID": ["B2"], "IssuerOfPatientID": ["OTHER"]}
    band = {"PatientID": ["999"], "TypeOfPatientID": ["BARCODE"]}
    own = {"PatientID": ["4711"]}
    made = built(
        patient_row("1.2.1", OtherPatientIDsSequence=[item, band, own]),
        patient_row("1.2.2", OtherPatientIDsSequence=[item, {"PatientID": ["A1"]}]),
    )
    assert [i["value"] for i in made.resource["identifier"]] == ["4711", "B2", "A1"]
    assert [i["use"] for i in made.resource["identifier"]] == ["usual", "secondary", "secondary"]


def test_removed_identity_is_a_security_label():
    label = built(patient_row(PatientIdentityRemoved=["YES"])).resource["meta"]["security"][0]
    assert label["code"] == "PSEUDED"
    anonymous = PatientRow(patient_key="k", study=STUDY, study_date="", attributes={"PatientIdentityRemoved": ["YES"]})
    assert built(anonymous).resource["meta"]["security"][0]["code"] == "ANONYED"
    assert "meta" not in built(patient_row(PatientIdentityRemoved=["NO"])).resource


def test_a_patient_without_anything_is_still_valid():
    unnamed = PatientRow(patient_key="k", study=STUDY, study_date="", attributes={})
    assert built(unnamed).resource == {"resourceType": "Patient", "id": "pt-k"}


BORN = {"PatientBirthDate": ["19521103"], "PatientBirthTime": ["0415"]}


def test_a_time_of_birth_needs_an_offset():
    (birth,) = built(patient_row(**BORN, TimezoneOffsetFromUTC=["+0100"])).resource["_birthDate"]["extension"]
    assert birth == {
        "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
        "valueDateTime": "1952-11-03T04:15:00+01:00",
    }
    without = built(patient_row(**BORN))
    assert "_birthDate" not in without.resource
    assert codes(without) == [("PatientBirthTime", "time.no_offset")]


def test_a_time_of_birth_belongs_to_its_own_date():
    later = patient_row("1.2.9", "2025-01-01", PatientBirthDate=["19521104"])
    earlier = patient_row("1.2.3", "2024-01-01", **BORN, TimezoneOffsetFromUTC=["+0100"])
    made = built(earlier, later).resource
    assert made["birthDate"] == "1952-11-04"
    assert "_birthDate" not in made


def test_the_offset_of_the_images_is_kept_for_a_time_of_birth_only():
    assert "TimezoneOffsetFromUTC" not in claim(row()).attributes
    assert "TimezoneOffsetFromUTC" in claim(row(PatientBirthTime=["0415"])).attributes


@pytest.mark.parametrize("placeholder", ["UNKNOWN", "anonymous", "0", "00000", " N/A ", "?", "--", "^", "."])
def test_a_placeholder_joins_no_two_people(placeholder):
    other = StudyRef(study_instance_uid="1.2.3")
    one = claim_patient(STUDY, [row(PatientID=[placeholder])], SETTINGS)
    two = claim_patient(other, [row(PatientID=[placeholder], study=other)], SETTINGS)
    assert one.key != two.key
    assert (one.system, one.value) == (None, None)
    assert ("PatientID", "patient.placeholder_id") in codes(one)
    made = build_patient(
        "k", [PatientRow(patient_key="k", study=STUDY, study_date="", attributes=one.attributes)], SETTINGS
    )
    assert "identifier" not in made.resource


def test_placeholders_are_a_setting():
    free = MappingSettings(placeholder_patient_ids=())
    assert claim_patient(STUDY, [row(PatientID=["UNKNOWN"])], free).value == "UNKNOWN"


@pytest.mark.parametrize(
    ("born", "code"),
    [
        ("00010101", "patient.implausible_age"),
        ("18900101", "patient.implausible_age"),
        ("20240118", "patient.birth_after_study"),
    ],
)
def test_a_birth_that_cannot_be_right_is_kept_and_told(born, code):
    made = claim_patient(STUDY, [row(PatientBirthDate=[born])], SETTINGS)
    assert codes(made) == [("PatientBirthDate", code)]
    assert made.attributes["PatientBirthDate"] == [born]


OPEN = MappingSettings(patient_other_names=True, patient_species=True)
SPECIES = [{"CodeValue": ["448771007"], "CodingSchemeDesignator": ["SCT"], "CodeMeaning": ["Canis familiaris"]}]
MORE = {
    "OtherPatientNames": ["Alias^Ann", "Other^Olga"],
    "PatientBirthName": ["Geboren^Gerda"],
    "PatientSpeciesCodeSequence": SPECIES,
}


def test_other_names_and_species_are_not_even_kept_unless_they_are_asked_for():
    assert not set(MORE) & set(claim(row(**MORE)).attributes)
    assert set(MORE) <= set(claim_patient(STUDY, [row(**MORE)], OPEN).attributes)


def test_other_names_follow_the_one_in_use():
    made = build_patient("k", [patient_row(PatientName=["Testmann^Tina"], **MORE)], OPEN).resource
    assert [(name["family"], name.get("use")) for name in made["name"]] == [
        ("Testmann", "usual"),
        ("Alias", None),
        ("Other", None),
        ("Geboren", "maiden"),
    ]


def test_a_species_is_an_extension():
    (animal,) = build_patient("k", [patient_row(**MORE)], OPEN).resource["extension"]
    assert animal["url"] == "http://hl7.org/fhir/StructureDefinition/patient-animal"
    assert animal["extension"][0]["url"] == "species"
    assert animal["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "448771007"
