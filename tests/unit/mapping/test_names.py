import pytest

from sync.mapping.names import EN_REPRESENTATION, human_names, printable_name
from sync.mapping.values import Findings


def names(raw):
    return human_names(raw, "PatientName", Findings())


def test_the_five_components_go_where_fhir_has_them():
    assert names("Adams^John Robert^Quincy^Rev.^B.A. M.Div.") == [
        {
            "use": "usual",
            "text": "Rev. John Robert Quincy Adams B.A. M.Div.",
            "family": "Adams",
            "given": ["John", "Robert", "Quincy"],
            "prefix": ["Rev."],
            "suffix": ["B.A. M.Div."],
        }
    ]


@pytest.mark.parametrize("raw", [None, "", "^", "^^^^", " ^ ^", "=", "^=^=^", "\x00"])
def test_an_empty_name_gives_no_element(raw):
    assert names(raw) == []
    assert printable_name(raw, "PatientName", Findings()) is None


def test_each_group_is_a_name_of_its_own_and_says_how_it_is_spelled():
    made = names("Yamada^Tarou=山田^太郎=やまだ^たろう")
    assert [name["family"] for name in made] == ["Yamada", "山田", "やまだ"]
    assert [name["extension"] for name in made] == [
        [{"url": EN_REPRESENTATION, "valueCode": representation}] for representation in ("ABC", "IDE", "SYL")
    ]
    assert [name["text"] for name in made] == ["Tarou Yamada", "山田 太郎", "やまだ たろう"]


def test_a_lone_ideographic_group_says_that_it_is_one():
    assert names("=山田^太郎")[0]["extension"] == [{"url": EN_REPRESENTATION, "valueCode": "IDE"}]


def test_a_lone_alphabetic_group_needs_no_representation():
    assert "extension" not in names("Yamada^Tarou")[0]
    assert "extension" not in names("Yamada^Tarou==")[0]


def test_a_name_may_lack_its_family():
    assert names("^Cher") == [{"use": "usual", "text": "Cher", "given": ["Cher"]}]


@pytest.mark.parametrize(("raw", "code"), [("a=b=c=d", "name.extra_group"), ("a^b^c^d^e^f", "name.extra_component")])
def test_what_a_name_cannot_hold_is_a_finding(raw, code):
    findings = Findings()
    human_names(raw, "PatientName", findings)
    assert [f.code for f in findings.all()] == [code]


def test_delimiters_behind_the_last_component_are_no_finding():
    findings = Findings()
    human_names("a^b^c^d^e^^=^^^==", "PatientName", findings)
    assert findings.all() == ()
