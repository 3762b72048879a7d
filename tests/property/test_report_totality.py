"""Whatever stands in a report's tree: valid resources or findings, never an exception, the same for any order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.attributes import CONTENT, REPORT_CLASSES
from sync.dicom.header import parse_header
from sync.errors import UnreadableObject
from sync.mapping.bundle import build_bundle
from sync.mapping.imaging_study import build_study
from sync.mapping.ownership import DERIVED_ELEMENTS
from sync.mapping.resource import canonical
from sync.model import LedgerRow, ObjectKey
from tests import reports as r
from tests.mapping_rows import STUDY, row
from tests.property import examples

SENTINEL = "Zzsentinel"
MAPPING = MappingSettings(timezone="Europe/Berlin", dicomweb_url="https://pacs.example/dicom-web")

NUMBERS = ["NaN", "inf", "-Infinity", "1e999", "1E+15", "1e-15", "9" * 60, "0.1", "12", "-3.50", "\u0663"]
TIMES = ["20260102", "20260102101500.123456+0100", "99999999", "2026"]
UNITS = ["mGycm", "Gym2", "uAs", "mm", "{x", "[hnsf'U]", "furlong"]
WORDS = ["", " ", "\x00", "\x07", "a\\b", "x" * 400, "\ud800", "<b>&amp;</b>", "\u202eabc", SENTINEL]
ODD = st.sampled_from([*NUMBERS, *TIMES, *UNITS, *WORDS])
TEXTS = st.lists(ODD | st.text(max_size=8), max_size=2)
KNOWN = st.sampled_from(
    [
        *("113701", "113500", "126000", "126010", "125007", "113702", "113811", "113502", "113722", "113813", "113507"),
        *("121071", "121077", "121076", "112039", "112040", "113764", "121058", "113870", "113875", "113850", "121008"),
        *("121012", "121014", "111001", "111003", "123003", "113809", "112"),
    ]
)
SNOMED = st.sampled_from(
    ["363698007", "272741003", "106233006", "370129005", "276214006", "349358000", "89457008", "410675002"]
)
SCHEMES = st.sampled_from(["DCM", "SCT", "SRT", "LN", "UCUM", "UCM", "99X", "", SENTINEL])


def entry(values):
    designator, value, meaning = values
    return {"CodeValue": [value], "CodingSchemeDesignator": [designator], "CodeMeaning": [meaning]}


CODES = (
    st.tuples(st.just("DCM"), KNOWN, ODD).map(entry)
    | st.tuples(st.just("SCT"), SNOMED, ODD).map(entry)
    | st.tuples(SCHEMES, ODD, ODD).map(entry)
    | st.just({})
)
MEASURED = st.fixed_dictionaries(
    {}, optional={"NumericValue": TEXTS, "MeasurementUnitsCodeSequence": st.lists(CODES, max_size=2)}
)
KINDS = ("CONTAINER", "NUM", "CODE", "TEXT", "PNAME", "UIDREF", "DATETIME", "DATE", "X")
ELEMENTS = {
    "ConceptNameCodeSequence": st.lists(CODES, max_size=2),
    "ConceptCodeSequence": st.lists(CODES, max_size=2),
    "MeasuredValueSequence": st.lists(MEASURED, max_size=2),
    **{row.keyword: TEXTS for row in CONTENT.children if row.vr != "SQ"},
    "ValueType": st.sampled_from(
        [[kind] for kind in ["CONTAINER", "NUM", "CODE", "TEXT", "PNAME", "UIDREF", "DATETIME", "DATE", "X"]]
    ),
    "RelationshipType": st.sampled_from([["CONTAINS"], ["HAS CONCEPT MOD"], ["HAS OBS CONTEXT"], ["HAS PROPERTIES"]]),
}
ITEMS = st.recursive(
    st.fixed_dictionaries({}, optional=ELEMENTS),
    lambda inner: st.builds(
        lambda said, held: {**said, "ContentSequence": held},
        st.fixed_dictionaries({}, optional=ELEMENTS),
        st.lists(inner, max_size=4),
    ),
    max_leaves=25,
)
FLAGS = dict.fromkeys(("CompletionFlag", "VerificationFlag", "PreliminaryFlag", "ContentDate", "ContentTime"), TEXTS)
REPORTS = st.builds(
    lambda said, title, held, sop_class: {
        **said,
        "ConceptNameCodeSequence": [title],
        "ContentSequence": held,
        "SOPClassUID": [sop_class],
    },
    st.fixed_dictionaries({}, optional=FLAGS),
    CODES,
    st.lists(ITEMS, max_size=5),
    st.sampled_from(sorted(REPORT_CLASSES)),
)


@given(st.lists(REPORTS, min_size=1, max_size=3))
@settings(max_examples=examples(150), deadline=None)
def test_any_tree_makes_valid_resources_or_findings(reports):
    rows = [row(n, key=str(n), **said) for n, said in enumerate(reports, 1)]
    bundle, findings = build_bundle(STUDY, rows, MAPPING)
    assert "derived.invalid" not in {finding.code for finding in findings}
    assert SENTINEL not in repr(findings)
    for entry_ in bundle["entry"]:
        ours = DERIVED_ELEMENTS.get(entry_["resource"]["resourceType"])
        assert ours is None or set(entry_["resource"]) - {"resourceType", "id"} <= ours
    ids = [(entry_["resource"]["resourceType"], entry_["resource"]["id"]) for entry_ in bundle["entry"]]
    assert len(set(ids)) == len(ids)


@given(st.lists(REPORTS, min_size=2, max_size=3), st.randoms())
@settings(max_examples=examples(40), deadline=None)
def test_order_and_repeats_give_the_same_bytes(reports, rng):
    rows = [row(n, key=str(n), **said) for n, said in enumerate(reports, 1)]
    again = [*rows, *rows]
    rng.shuffle(again)
    assert canonical(build_bundle(STUDY, rows, MAPPING)[0]) == canonical(build_bundle(STUDY, again, MAPPING)[0])


def test_a_tree_of_the_greatest_depth_is_walked():
    held: dict = {"ValueType": ["TEXT"], "TextValue": ["bottom"]}
    for _ in range(32):
        held = {"ValueType": ["CONTAINER"], "ContentSequence": [held]}
    said = {"ContentSequence": [held], "SOPClassUID": [min(REPORT_CLASSES)]}
    report = build_study(STUDY, [row(**said)], MAPPING).derived[0]
    assert "bottom" in report["text"]["div"]


FILES = [make() for make in (r.ct_dose, r.projection_dose, r.nuclear_dose, r.measurements, r.text_report)]
DAMAGE = st.lists(st.tuples(st.floats(0.1, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=6)


@given(st.sampled_from(FILES), DAMAGE, st.floats(0.3, 1))
@settings(max_examples=examples(150), deadline=None)
def test_a_damaged_report_is_refused_or_mapped(data, damage, kept):
    broken = bytearray(data)
    for place, overwritten in damage:
        at = int(place * len(broken))
        broken[at : at + len(overwritten)] = overwritten
    cut = bytes(broken[: int(kept * len(broken))])
    try:
        record = parse_header(cut, size=len(cut), limits=HeaderLimits())
    except UnreadableObject:
        return
    ledger_row = LedgerRow(object_key=ObjectKey("a", "b"), record=record, order="")
    _, findings = build_bundle(record.study, [ledger_row], MAPPING)
    assert "derived.invalid" not in {finding.code for finding in findings}
