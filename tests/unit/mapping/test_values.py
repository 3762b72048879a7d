import pytest

from sync.config import MappingSettings
from sync.mapping.values import (
    MAX_TEXT_BYTES,
    Findings,
    absolute_uri,
    clean,
    code,
    coding,
    is_strict_uid,
    number,
    text,
    uid,
)


def codes(findings):
    return [(f.keyword, f.code) for f in findings.all()]


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (" CT Thorax ", "CT Thorax"),
        ("a\x00b\x1b[31m", "ab[31m"),
        ("line one\r\nline two\t.", "line one\r\nline two\t."),
        ("\u3000\u200b \ufeff", ""),
        ("\u202eevil\u202c", "evil"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("山田^太郎", "山田^太郎"),
    ],
)
def test_text_loses_controls_and_the_blanks_around_it(raw, cleaned):
    assert clean(raw) == cleaned


def test_padding_is_no_finding_but_a_control_character_is():
    findings = Findings()
    assert text("CHEST \x00", "BodyPartExamined", findings) == "CHEST"
    assert not codes(findings)
    assert text("CH\x07EST", "BodyPartExamined", findings) == "CHEST"
    assert codes(findings) == [("BodyPartExamined", "text.control_characters")]


def test_text_beyond_a_megabyte_is_cut_between_characters():
    findings = Findings()
    cut = text("ä" * MAX_TEXT_BYTES, "StudyDescription", findings)
    assert len(cut.encode()) == MAX_TEXT_BYTES
    assert codes(findings) == [("StudyDescription", "text.too_long")]


def test_text_is_none_rather_than_empty():
    assert text(" \x00", "StudyDescription", Findings()) is None
    assert text(None, "StudyDescription", Findings()) is None


def test_a_code_has_single_blanks_only():
    assert code("  C   T ", "Modality", Findings()) == "C T"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("+7", 7),
        ("1.0", 1),
        ("1E1", 10),
        ("007", 7),
        ("0", 0),
        ("2147483647", 2**31 - 1),
        (12, 12),
    ],
)
def test_whole_numbers_are_read_in_any_form(raw, expected):
    findings = Findings()
    assert number({"SeriesNumber": [raw]}, "SeriesNumber", findings) == expected
    assert not codes(findings)


@pytest.mark.parametrize(
    "raw",
    [
        "-1",
        "1.5",
        "abc",
        "2147483648",
        "1E400",
        "1E9999",
        "NaN",
        "Infinity",
        "\N{ARABIC-INDIC DIGIT SEVEN}",
        "0x10",
        "1_000",
        -1,
        2**31,
        True,
        "9" * 41,
    ],
)
def test_other_numbers_are_left_out_with_a_finding(raw):
    findings = Findings()
    assert number({"SeriesNumber": [raw]}, "SeriesNumber", findings) is None
    assert codes(findings) == [("SeriesNumber", "number.invalid")]


@pytest.mark.parametrize("values", [None, [], [""], ["  "]])
def test_an_absent_number_is_neither_zero_nor_a_finding(values):
    findings = Findings()
    assert number({} if values is None else {"InstanceNumber": values}, "InstanceNumber", findings) is None
    assert not codes(findings)


def test_a_uid_loses_its_padding_and_is_never_repaired():
    assert uid("1.2.03.4\x00") == "1.2.03.4"
    assert not is_strict_uid("1.2.03.4")
    assert is_strict_uid("2.25.123")
    assert uid("1.2 3") is None
    assert uid("1" * 65) is None
    assert uid(None) is None


@pytest.mark.parametrize(
    "good", ["urn:oid:1.2.3", "https://hospital.example/ids?x=1", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"]
)
def test_absolute_uris_pass(good):
    assert absolute_uri(good) == good


@pytest.mark.parametrize("bad", ["HOSPITAL", "a b:c", "//host/x", "urn:x y", "http://ä.example", "", None, "x:"])
def test_what_is_no_absolute_uri_is_refused(bad):
    assert absolute_uri(bad) is None


def test_a_coded_item_keeps_code_meaning_and_system():
    item = {
        "CodeValue": ["51185008"],
        "CodingSchemeDesignator": ["SCT"],
        "CodingSchemeVersion": ["2021"],
        "CodeMeaning": ["Thorax"],
    }
    assert coding(item, "AnatomicRegionSequence", MappingSettings(), Findings()) == {
        "system": "http://snomed.info/sct",
        "code": "51185008",
        "display": "Thorax",
    }


def test_an_unknown_designator_never_becomes_a_system():
    findings = Findings()
    item = {"CodeValue": ["X1"], "CodingSchemeDesignator": ["99LOCAL"], "CodeMeaning": ["Local"]}
    assert coding(item, "AnatomicRegionSequence", MappingSettings(), findings) == {"code": "X1", "display": "Local"}
    assert codes(findings) == [("AnatomicRegionSequence", "coding.unknown_scheme")]


def test_a_private_designator_can_be_configured():
    item = {"CodeValue": ["X1"], "CodingSchemeDesignator": ["99LOCAL"], "CodingSchemeVersion": ["3"]}
    settings = MappingSettings(coding_schemes={"99LOCAL": "https://hospital.example/codes"})
    assert coding(item, "AnatomicRegionSequence", settings, Findings()) == {
        "system": "https://hospital.example/codes",
        "version": "3",
        "code": "X1",
    }


def test_a_urn_code_has_the_system_of_uris():
    item = {"URNCodeValue": ["urn:oid:1.2.3"]}
    assert coding(item, "AnatomicRegionSequence", MappingSettings(), Findings()) == {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.3",
    }


def test_an_item_without_code_and_meaning_is_dropped():
    assert coding({"CodingSchemeDesignator": ["SCT"]}, "AnatomicRegionSequence", MappingSettings(), Findings()) is None


def test_a_meaning_without_code_is_shown_only():
    assert coding({"CodeMeaning": ["Knee"]}, "AnatomicRegionSequence", MappingSettings(), Findings()) == {
        "display": "Knee"
    }
