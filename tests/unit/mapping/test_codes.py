"""Items of code sequences: what they become, and what they never become."""

import pytest

from sync.config import MappingSettings
from sync.mapping.codes import best_coding, concept, concepts, with_declared_schemes
from sync.mapping.terminology import CODING_SCHEMES
from sync.mapping.values import Findings, absolute_uri

SETTINGS = MappingSettings()
SCT, SRT = "http://snomed.info/sct", "http://snomed.info/srt"


def item(value, designator, meaning="Meaning", **more):
    return {"CodeValue": [value], "CodingSchemeDesignator": [designator], "CodeMeaning": [meaning], **more}


def made(said, build=concept, settings=SETTINGS):
    findings = Findings()
    return build(said, "ProcedureCodeSequence", settings, findings), [f.code for f in findings.all()]


def test_every_scheme_has_an_absolute_uri():
    assert all(absolute_uri(uri) == uri for uri in CODING_SCHEMES.values())


@pytest.mark.parametrize(
    ("designator", "system"),
    [
        ("SCT", SCT),
        ("LN", "http://loinc.org"),
        ("RADLEX", "http://www.radlex.org"),
        ("I10P", "http://www.cms.gov/Medicare/Coding/ICD10"),
        ("CPT4", "http://www.ama-assn.org/go/cpt"),
        ("MDC", "urn:iso:std:iso:11073:10101"),
    ],
)
def test_a_known_scheme_gives_its_system(designator, system):
    made_concept, codes = made(item("1", designator))
    assert made_concept == {"coding": [{"system": system, "code": "1", "display": "Meaning"}], "text": "Meaning"}
    assert codes == []


def test_an_unknown_designator_is_never_a_system():
    made_concept, codes = made(item("1", "99LOCAL", CodingSchemeVersion=["3"]))
    assert made_concept["coding"] == [{"version": "3", "code": "1", "display": "Meaning"}]
    assert codes == ["coding.unknown_scheme"]


@pytest.mark.parametrize("designator", ["SRT", "SNM3", "99SDM"])
def test_retired_snomed_is_translated_and_kept(designator):
    made_concept, _ = made(item("T-D4000", designator, "Abdomen"))
    assert [(one["system"], one["code"]) for one in made_concept["coding"]] == [(SRT, "T-D4000"), (SCT, "113345001")]
    assert made(item("T-D4000", designator), best_coding)[0]["system"] == SCT


def test_retired_snomed_without_a_translation_stays_as_it_is():
    made_concept, _ = made(item("T-NONE", "SRT"))
    assert [one["code"] for one in made_concept["coding"]] == ["T-NONE"]


def test_equivalent_codes_are_further_codings_each_once():
    same = item("1", "LN")
    made_concept, _ = made(item("1", "LN", EquivalentCodeSequence=[same, item("RPID1", "RADLEX"), {}]))
    assert [(one["system"], one["code"]) for one in made_concept["coding"]] == [
        ("http://loinc.org", "1"),
        ("http://www.radlex.org", "RPID1"),
    ]


def test_codes_of_dicom_have_one_system_whether_r4_has_a_copy_of_them_or_not():
    assert made(item("110180", "DCM"))[0]["coding"][0]["system"] == "http://dicom.nema.org/resources/ontology/DCM"
    assert made(item("130001", "DCM"))[0]["coding"][0]["system"] == "http://dicom.nema.org/resources/ontology/DCM"


@pytest.mark.parametrize(
    "scheme", ["IBSI", "RADELEMENT", "UBERON", "RO", "I11", "ITIS_TSN", "PUBCHEM_CID", "FMA", "NEU"]
)
def test_a_standard_scheme_has_a_system(scheme):
    made_concept, codes = made(item("1", scheme))
    assert "system" in made_concept["coding"][0]
    assert codes == []


def test_what_is_no_unit_is_not_called_one_of_ucum():
    assert made(item("mGy.cm", "UCUM"))[0]["coding"][0]["system"] == "http://unitsofmeasure.org"
    made_concept, codes = made(item("LN", "UCUM"))
    assert "system" not in made_concept["coding"][0]
    assert codes == ["coding.unknown_unit"]


def test_a_long_code_value_is_a_code():
    said = {"LongCodeValue": ["x" * 100], "CodingSchemeDesignator": ["LN"]}
    assert made(said)[0] == {"coding": [{"system": "http://loinc.org", "code": "x" * 100}]}


def test_a_urn_is_a_code_if_it_is_a_uri():
    assert made({"URNCodeValue": ["urn:oid:1.2"]})[0] == {
        "coding": [{"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2"}]
    }
    assert made({"URNCodeValue": ["urn: a b"], "CodeMeaning": ["Left"]}) == ({"text": "Left"}, ["coding.no_uri"])


@pytest.mark.parametrize("said", [{}, {"CodeValue": [""], "CodeMeaning": [" "]}, {"CodingSchemeDesignator": ["SCT"]}])
def test_an_item_that_says_nothing_is_nothing(said):
    assert made(said)[0] is None
    assert made(said, best_coding)[0] is None


def test_a_meaning_alone_is_a_text():
    assert made({"CodeMeaning": ["Knee"]}) == ({"text": "Knee"}, [])
    assert made({"CodeMeaning": ["Knee"]}, best_coding)[0] == {"display": "Knee"}


def test_the_best_coding_has_a_system():
    assert made(item("1", "99L", EquivalentCodeSequence=[item("2", "LN")]), best_coding)[0]["code"] == "2"
    assert made(item("1", "99L"), best_coding)[0] == {"code": "1", "display": "Meaning"}


def test_concepts_are_each_once():
    one = item("1", "LN")
    assert len(concepts([one, {}, one, item("2", "LN")], "ProcedureCodeSequence", SETTINGS, Findings())) == 2


def declared(*pairs, settings=SETTINGS):
    findings = Findings()
    said = [{"CodingSchemeDesignator": [name], "CodingSchemeUID": [uid]} for name, uid in pairs]
    return with_declared_schemes(settings, said, findings).coding_schemes, [f.code for f in findings.all()]


def test_a_scheme_that_a_file_declares_has_its_uid_as_system():
    schemes, codes = declared(("99LOCAL", "2.16.840.3"), ("99LOCAL", "2.16.840.3"), ("", "1.2"), ("99X", "not a uid"))
    assert (schemes, codes) == ({"99LOCAL": "urn:oid:2.16.840.3"}, ["uid.unusable"])
    assert made(item("1", "99LOCAL"), settings=with_declared_schemes(SETTINGS, [], Findings())) != schemes


def test_a_scheme_that_is_known_or_configured_stays_as_it_is():
    settings = MappingSettings(coding_schemes={"99LOCAL": "https://hospital.example/codes"})
    schemes, _ = declared(("99LOCAL", "2.16.840.3"), ("SCT", "2.16.840.4"), settings=settings)
    assert schemes == {"99LOCAL": "https://hospital.example/codes"}


def test_a_scheme_that_is_declared_in_two_ways_is_not_believed():
    assert declared(("99LOCAL", "2.16.840.3"), ("99LOCAL", "2.16.840.4")) == ({}, ["coding.conflicting_scheme"])
