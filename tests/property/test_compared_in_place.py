"""Comparing in place decides as canonical text does, and checking in pieces finds what the whole model finds."""

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.adapters.azure.tables.ledger import ledger_from, ledger_row
from sync.mapping.ownership import _TIMES, differs
from sync.mapping.resource import canonical
from sync.mapping.timestamps import without_trailing_zeros
from sync.mapping.validation import _fault_of_model, _first_fault, _model
from tests.mapping_rows import row
from tests.property import examples

NAMES = st.sampled_from(["started", "number", "code", "note", "series"])
TEXTS = st.sampled_from(
    ["", "a", "2024-01-01T10:00:00.500Z", "2024-01-01T10:00:00.5Z", "2024-01-01T10:00:00Z", "\ud800", "?"]
)
LEAVES = st.one_of(TEXTS, st.integers(-2, 2), st.sampled_from([0.0, 1.0, 1.5, -2.0]), st.booleans(), st.none())
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
RESOURCES = st.dictionaries(NAMES, JSON, max_size=4)


def by_value(node, element=""):
    """One spelling of each value, in a copy: the definition."""
    if isinstance(node, dict):
        return {name: by_value(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return [by_value(value, element) for value in node]
    if isinstance(node, float):
        return int(node) if node.is_integer() else node
    return without_trailing_zeros(node) if isinstance(node, str) and element in _TIMES else node


@st.composite
def pairs(draw):
    """Two resources, often nearly the same."""
    one = draw(RESOURCES)
    if draw(st.booleans()):
        return one, draw(RESOURCES)
    other = copy.deepcopy(one)
    if other and draw(st.booleans()):
        other[draw(st.sampled_from(sorted(other)))] = draw(JSON)
    return one, other


@settings(max_examples=examples(300), deadline=None)
@given(pairs())
def test_two_resources_differ_as_their_canonical_texts_do(pair):
    one, other = pair
    assert differs(one, other) == (canonical(by_value(one)) != canonical(by_value(other)))


INSTANCE = {"uid": "1.2.3", "sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2"}, "number": 1}
WRONG = st.sampled_from(
    [
        {"uid": None},
        {"sopClass": None},
        {"number": "x"},
        {"title": ["a"]},
        {"other": 1},
        {"extension": [{"url": "u", "valueString": "a", "valueInteger": 1}]},
        {"sopClass": {"code": 5}},
        {},
    ]
)
SERIES = {"uid": "1.2", "modality": {"code": "CT"}}


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.lists(WRONG, max_size=3), min_size=1, max_size=2),
    st.sampled_from(["uid", "modality", "instance", ""]),
    st.sampled_from(["series", "status", ""]),
)
def test_a_study_is_refused_piece_by_piece_where_the_whole_model_refuses_it(changes, broken, broken_above):
    series = [
        {**SERIES, "instance": [{k: v for k, v in {**INSTANCE, **wrong}.items() if v is not None} for wrong in wrongs]}
        for wrongs in changes
    ]
    if broken:
        series[0][broken] = 7
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": {"display": "X"}, "series": series}
    if broken_above:
        study[broken_above] = 7
    pieces, whole = _fault_of_model("ImagingStudy", study), _first_fault(_model("ImagingStudy"), study)
    assert (pieces is None) == (whole is None)
    if not broken and not broken_above:
        assert pieces == whole


VALUES = st.sampled_from(
    [["A"], ["B"], [1], [1.0], [True], ["A", 1], ["A", 1.0], [], [{"Code": ["A"]}], [{"Code": [1.0]}]]
)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.dictionaries(st.sampled_from(["A", "B", "C"]), VALUES), st.dictionaries(st.sampled_from(["A", "B", "C"]), VALUES)
)
def test_a_row_that_shares_values_with_another_says_the_same_to_the_letter(said, before):
    stored = ledger_row(row(1, **said))
    alone, sharing = ledger_from(stored), ledger_from(stored, like=before)
    assert json.dumps(sharing.record.attributes) == json.dumps(alone.record.attributes)
    assert sharing == alone
