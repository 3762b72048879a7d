import pytest

from sync.config import MappingSettings
from sync.mapping.identifiers import UNKNOWN_ISSUER, patient_identifier
from sync.mapping.values import Findings


def identified(item, settings=None, **options):
    findings = Findings()
    made = patient_identifier({"PatientID": ["4711"], **item}, settings or MappingSettings(), findings, **options)
    return made, [(f.keyword, f.code) for f in findings.all()]


def qualified(universal, kind):
    return {
        "IssuerOfPatientIDQualifiersSequence": [{"UniversalEntityID": [universal], "UniversalEntityIDType": [kind]}]
    }


@pytest.mark.parametrize(
    ("universal", "kind", "system"),
    [
        ("1.2.276.0.76", "ISO", "urn:oid:1.2.276.0.76"),
        ("C757873D-EC9A-4326-A141-556F43239520", "UUID", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
        ("https://hospital.example/ids", "URI", "https://hospital.example/ids"),
    ],
)
def test_a_universal_id_makes_the_system(universal, kind, system):
    made, findings = identified({"IssuerOfPatientID": ["HOSP"], **qualified(universal, kind)})
    assert made == {
        "use": "usual",
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
        "system": system,
        "value": "4711",
        "assigner": {"display": "HOSP"},
    }
    assert findings == []


def test_a_configured_issuer_has_the_configured_system():
    settings = MappingSettings(issuers={"HOSP": "https://hospital.example/ids"})
    made, findings = identified({"IssuerOfPatientID": ["HOSP "]}, settings)
    assert made["system"] == "https://hospital.example/ids"
    assert findings == []


def test_an_unknown_issuer_gets_a_system_of_its_own_and_a_missing_one_the_default():
    one, findings = identified({"IssuerOfPatientID": ["HOSP A"]})
    other, _ = identified({"IssuerOfPatientID": ["HOSP B"]})
    missing, _ = identified({})
    assert one["system"].startswith(UNKNOWN_ISSUER)
    assert one["assigner"] == {"display": "HOSP A"}
    assert "HOSP" not in one["system"]
    assert len({one["system"], other["system"], missing["system"]}) == 3
    assert missing["system"] == "urn:dicom-fhir-sync:patient-id"
    assert findings == [("IssuerOfPatientID", "issuer.unknown")]


@pytest.mark.parametrize(
    ("universal", "kind"),
    [
        ("not an oid", "ISO"),
        ("1.2.03", "ISO"),
        ("xyz", "UUID"),
        ("no scheme", "URI"),
        ("hospital.example", "DNS"),
        ("1.2.3", ""),
    ],
)
def test_a_universal_id_that_makes_no_uri_still_keeps_issuers_apart(universal, kind):
    made, findings = identified(qualified(universal, kind))
    assert made["system"].startswith(UNKNOWN_ISSUER)
    assert ("UniversalEntityID", "issuer.no_uri") in findings


def test_the_type_is_taken_from_the_qualifiers_if_table_0203_has_it():
    known, findings = identified({"IssuerOfPatientIDQualifiersSequence": [{"IdentifierTypeCode": ["PI"]}]})
    assert known["type"]["coding"][0]["code"] == "PI"
    assert findings == []
    unknown, findings = identified({"IssuerOfPatientIDQualifiersSequence": [{"IdentifierTypeCode": ["ZZZ"]}]})
    assert unknown["type"]["coding"][0]["code"] == "MR"
    assert findings == [("IdentifierTypeCode", "identifier.unknown_type")]


def test_without_a_patient_id_there_is_no_identifier():
    assert patient_identifier({"IssuerOfPatientID": ["HOSP"]}, MappingSettings(), Findings()) is None


def test_an_empty_default_system_falls_back_to_ours():
    made, _ = identified({}, MappingSettings(patient_system=""))
    assert made["system"] == "urn:dicom-fhir-sync:patient-id"
